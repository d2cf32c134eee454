package tcclaws

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"example.com/fourfold/chassis/mac"
	"example.com/fourfold/chassis/tcc"
)

var phases = []string{"try", "confirm", "cancel"}

// refuses requires that every phase of the branch refuses what forge makes of its call and headers.
func (s branch) refuses(t *testing.T, forge func(c *tcc.Call, headers map[string]string), what string, args ...any) {
	t.Helper()
	what = fmt.Sprintf(what, args...)
	for _, op := range phases {
		c := s.of(op)
		headers := c.Headers(s.Keys)
		forge(&c, headers)
		err := s.send(c, headers)
		assert.Equal(t, 403, kerrors.Code(err), "%s %s: %v", op, what, err)
		assert.Equal(t, "BRANCH_FORGED", kerrors.Reason(err), "%s %s", op, what)
	}
}

// forged runs law, which makes forged calls only, before the branch's Try and after it: they leave nothing behind, not even in the barrier.
func (s branch) forged(t *testing.T, law func()) {
	t.Helper()
	law()
	s.reads(t, s.Before, "forged calls")
	s.must(t, "try")
	law()
	s.reads(t, s.Tried, "forged calls")
	var rows int
	require.NoError(t, s.DB.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM barrier WHERE gid = ?", s.GID).Scan(&rows))
	assert.Equal(t, 1, rows, "the Try's place in the barrier, and no other")
	s.must(t, "confirm")
	s.reads(t, s.Confirmed, "the real Confirm")
}

func wrongMAC(t *testing.T, s branch) {
	stranger, err := mac.Parse("k1:ffffffffffffffffffffffffffffffff")
	require.NoError(t, err)
	s.forged(t, func() {
		instead := func(text string) func(*tcc.Call, map[string]string) {
			return func(_ *tcc.Call, headers map[string]string) { headers["x-branch-mac-"+branchID] = text }
		}
		of := func(keys mac.Keys, change func(*tcc.Call)) func(*tcc.Call, map[string]string) {
			return func(c *tcc.Call, headers map[string]string) {
				signed := *c
				change(&signed)
				headers["x-branch-mac-"+branchID] = signed.Headers(keys)["x-branch-mac-"+branchID]
			}
		}
		for name, forge := range map[string]func(*tcc.Call, map[string]string){
			"none":                    func(_ *tcc.Call, headers map[string]string) { delete(headers, "x-branch-mac-"+branchID) },
			"of another subject":      of(s.Keys, func(c *tcc.Call) { c.Subject = "another-" + c.Subject }),
			"of another transaction":  of(s.Keys, func(c *tcc.Call) { c.GID = "another-" + c.GID }),
			"by somebody else's key":  of(stranger, func(*tcc.Call) {}),
			"of a key nobody knows":   instead("k9.00"),
			"without a key":           instead(".00"),
			"that is no MAC":          instead("k1.zz"),
			"with the parts run over": of(s.Keys, func(c *tcc.Call) { c.GID, c.Branch = c.GID+c.Branch[:1], c.Branch[1:] }),
			"for the books": func(_ *tcc.Call, headers map[string]string) {
				for _, text := range s.Keys.CallHeaders(s.GID, s.request(s.Subject)) {
					headers["x-branch-mac-"+branchID] = text
				}
			},
		} {
			s.refuses(t, forge, "with a MAC %s", name)
		}
	})
}

// wrongPhase: the headers' op must be the method's, otherwise one phase's barrier row would be written by another.
func wrongPhase(t *testing.T, s branch) {
	s.forged(t, func() {
		for _, said := range []string{"try", "confirm", "cancel", "action", ""} {
			for _, op := range phases {
				if op == said {
					continue
				}
				c := s.of(op)
				signed := c
				signed.Phase = tcc.Phase(said)
				err := s.send(c, signed.Headers(s.Keys))
				assert.Equal(t, 403, kerrors.Code(err), "%s called as %q: %v", op, said, err)
			}
		}
		long := s.of("try")
		long.GID = fmt.Sprintf("%065d", 1)
		assert.Equal(t, 403, kerrors.Code(s.sign(long)), "a gid that the barrier would cut")
	})
}

// anotherBranch: what is signed for one branch id is refused under any other. The barrier has a place for each id, so under a new one a call
// would not be a repetition: it would run.
func anotherBranch(t *testing.T, s branch) {
	s.forged(t, func() {
		for _, id := range []string{"02", "99", "0", "001", "x", "", "01 ", "01/../02"} {
			s.refuses(t, func(_ *tcc.Call, headers map[string]string) {
				headers["dtm-branch_id"] = id
				if !strings.ContainsAny(id, " /") { // which no header's name has
					headers["x-branch-mac-"+id] = headers["x-branch-mac-"+branchID]
				}
			}, "as branch %q", id)
		}
	})
}

// anotherService: what is signed for one service is refused by every other, even when both have the same request, as the payment and the refund
// of credit do.
func anotherService(t *testing.T, s branch) {
	s.forged(t, func() {
		for _, service := range []string{"", "another." + s.service, s.service + "2"} {
			s.refuses(t, func(c *tcc.Call, headers map[string]string) {
				signed := *c
				signed.Service = service
				maps.Copy(headers, signed.Headers(s.Keys))
			}, "with a MAC for %q", service)
		}
	})
}

// anotherClass: who sees a Try can neither confirm nor cancel, and who reads the coordinator's log cannot try.
func anotherClass(t *testing.T, s branch) {
	s.forged(t, func() {
		s.refuses(t, func(c *tcc.Call, headers map[string]string) {
			signed := *c
			signed.Phase = map[tcc.Phase]tcc.Phase{tcc.Try: tcc.Confirm, tcc.Confirm: tcc.Try, tcc.Cancel: tcc.Try}[c.Phase]
			headers["x-branch-mac-"+branchID] = signed.Headers(s.Keys)["x-branch-mac-"+branchID]
		}, "with a MAC of the other class")
	})
}

// anotherPayload: every change of the request is refused, and so are other bytes that mean the same.
func anotherPayload(t *testing.T, s branch) {
	s.forged(t, func() {
		original := s.of("try").Payload
		changed := map[string][]byte{
			"a field more":       protowire.AppendVarint(protowire.AppendTag(slices.Clone(original), 1000, protowire.VarintType), 1),
			"its fields twice":   append(slices.Clone(original), original...),
			"in other bytes":     reencoded(t, original),
			"nothing":            nil,
			"of another subject": s.call("try", s.GID, s.Subject, s.request("another-"+s.Subject)).Payload,
		}
		for name, m := range changes(s.request(s.Subject)) {
			payload, err := proto.Marshal(m)
			require.NoError(t, err)
			changed[name] = payload
		}
		for name, payload := range changed {
			require.NotEqual(t, string(original), string(payload), name)
			for _, op := range phases {
				c := s.of(op)
				headers := c.Headers(s.Keys)
				c.Payload = payload
				err := s.send(c, headers)
				assert.Contains(t, []int{400, 403}, kerrors.Code(err), "%s with %s: %v", op, name, err)
			}
		}
	})
}

// changes returns copies of m, each with one change of a field: of m's own, or of a message in one of its lists.
func changes(m proto.Message) map[string]proto.Message {
	all := map[string]proto.Message{}
	var visit func(of func(protoreflect.Message) protoreflect.Message, at protoreflect.Message, path string)
	visit = func(of func(protoreflect.Message) protoreflect.Message, at protoreflect.Message, path string) {
		for i := range at.Descriptor().Fields().Len() {
			f := at.Descriptor().Fields().Get(i)
			name := path + string(f.Name())
			change := func(what string, set func(protoreflect.Message)) {
				c := proto.Clone(m)
				set(of(c.ProtoReflect()))
				all[name+" "+what] = c
			}
			switch {
			case f.IsList() && f.Message() != nil:
				change("longer", func(x protoreflect.Message) { list := x.Mutable(f).List(); list.Append(list.Get(0)) })
				change("shorter", func(x protoreflect.Message) { x.Mutable(f).List().Truncate(at.Get(f).List().Len() - 1) })
				for j := range at.Get(f).List().Len() {
					visit(func(x protoreflect.Message) protoreflect.Message { return of(x).Mutable(f).List().Get(j).Message() },
						at.Get(f).List().Get(j).Message(), fmt.Sprintf("%s[%d].", name, j))
				}
			case f.Kind() == protoreflect.StringKind:
				change("another", func(x protoreflect.Message) { x.Set(f, protoreflect.ValueOfString(x.Get(f).String()+"x")) })
				change("left out", func(x protoreflect.Message) { x.Clear(f) })
			case f.Kind() == protoreflect.Int64Kind:
				change("one more", func(x protoreflect.Message) { x.Set(f, protoreflect.ValueOfInt64(x.Get(f).Int()+1)) })
			case f.Kind() == protoreflect.Int32Kind:
				change("one more", func(x protoreflect.Message) { x.Set(f, protoreflect.ValueOfInt32(int32(x.Get(f).Int()+1))) })
			default:
				panic(fmt.Sprintf("%s is a %s: say here how to change one", f.FullName(), f.Kind()))
			}
		}
	}
	visit(func(x protoreflect.Message) protoreflect.Message { return x }, m.ProtoReflect(), "")
	return all
}

// foreignEncoding: an initiator may encode a request in other bytes than this program would. What counts is that the bytes received are those
// that were signed.
func foreignEncoding(t *testing.T, s branch) {
	for _, op := range []string{"try", "confirm"} {
		c := s.of(op)
		c.Payload = reencoded(t, c.Payload)
		require.NoError(t, s.sign(c), op)
	}
	s.reads(t, s.Confirmed, "calls in other bytes")
}

// reencoded returns other bytes that decode to the same message: the fields in reverse order, each number in more bytes than it needs.
func reencoded(t *testing.T, payload []byte) []byte {
	t.Helper()
	var fields [][]byte
	for rest := payload; len(rest) > 0; {
		number, kind, n := protowire.ConsumeTag(rest)
		require.Positive(t, n)
		size := protowire.ConsumeFieldValue(number, kind, rest[n:])
		require.Positive(t, size)
		tag := protowire.AppendTag(nil, number, kind)
		tag[len(tag)-1] |= 0x80
		fields = append(fields, slices.Concat(tag, []byte{0}, rest[n:n+size]))
		rest = rest[n+size:]
	}
	// What a list holds stays in its order.
	slices.SortStableFunc(fields, func(a, b []byte) int { return int(b[0]) - int(a[0]) })
	other := slices.Concat(fields...)
	require.NotEqual(t, string(payload), string(other))
	return other
}
