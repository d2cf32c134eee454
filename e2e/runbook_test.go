package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/mq"
	"example.com/fourfold/e2e/internal/runbook"
)

// TestRunbook brings about what alerts are raised for, and runs the commands of docs/runbook.md until it is over. Each command of the page is
// run, and none that is not there.
func TestRunbook(t *testing.T) {
	b := openRunbook(t)
	lost := b.lose(t)
	// Meanwhile the payments grow as old as an alert about them waits for.
	t.Run("dead-letters", b.deadLetters)
	t.Run("messages", b.messages)
	t.Run("outbox-refused", b.refused)
	t.Run("position", b.position)
	t.Run("sms-budget", b.smsBudget)
	t.Run("mq-mode", b.mode)
	t.Run("payment", func(t *testing.T) { b.payment(t, lost) })
	t.Run("branch-not-tried", func(t *testing.T) { b.notTried(t, lost) })
	t.Run("books", b.books)
	t.Run("restored", b.restored)
	requireBooks(t)
	for section, lines := range b.page.Commands {
		for _, line := range lines {
			assert.True(t, b.ran[section+" "+line], "%s: no scenario runs %q", section, line)
		}
	}
}

// smsBudget looks for what the budget of SMS let through, and what it did not.
func (b *book) smsBudget(t *testing.T) {
	shopper(t)
	require.Eventually(t, func() bool {
		return strings.Contains(b.works(t, "sms-budget", "GET /v1/ops/notifications?state=SENT"), `"SMS"`)
	}, patience, 100*time.Millisecond)
	assert.Contains(t, b.works(t, "sms-budget", "GET /v1/ops/notifications?state=DROPPED"), `"notifications":[]`)
}

// book runs the commands of the runbook's sections.
type book struct {
	page runbook.Page
	ran  map[string]bool
}

func openRunbook(t *testing.T) *book {
	t.Helper()
	page, err := runbook.Read("..")
	require.NoError(t, err)
	return &book{page: page, ran: map[string]bool{}}
}

// run runs a line of a section, its placeholders replaced by fills, a name and a value each, and returns what it said and whether it succeeded.
func (b *book) run(t *testing.T, section, line string, fills ...string) (string, bool) {
	t.Helper()
	require.True(t, slices.Contains(b.page.Commands[section], line), "the runbook's section %s has no line %q", section, line)
	b.ran[section+" "+line] = true
	for i := 0; i < len(fills); i += 2 {
		line = strings.ReplaceAll(line, "<"+fills[i]+">", fills[i+1])
	}
	require.NotContains(t, line, "<", "a placeholder that the test does not fill")
	if strings.HasPrefix(line, "make ") {
		return makes(t, line)
	}
	method, rest, _ := strings.Cut(line, " ")
	path, text, _ := strings.Cut(rest, " ")
	var body any
	if text != "" {
		require.NoError(t, json.Unmarshal([]byte(text), &body), line)
	}
	a, err := operator.try(t.Context(), method, path, body)
	require.NoError(t, err, line)
	return a.raw, a.code == 200
}

// makes runs a line that begins with make on the stack, and returns what it said and whether it succeeded.
func makes(t *testing.T, line string) (string, bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", line)
	cmd.Dir = ".."
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS") }),
		"DEMO="+filepath.Join(shared.Dir(), "demo.json"))
	said, err := cmd.CombinedOutput()
	return string(said), err == nil
}

// works is run of a line that must succeed.
func (b *book) works(t *testing.T, section, line string, fills ...string) string {
	t.Helper()
	said, ok := b.run(t, section, line, fills...)
	require.True(t, ok, "%s: %s", line, said)
	return said
}

// alerted waits until operators have a mail about the service's alert key, and returns it.
func alerted(t *testing.T, service, key string) string {
	t.Helper()
	var mail string
	require.Eventually(t, func() bool {
		for _, m := range inbox(t, "operator@example.com") {
			var read struct{ Subject, Text string }
			if json.Unmarshal(m, &read) == nil && read.Subject == "[Fourfold] "+service+" "+key {
				mail = read.Text
			}
		}
		return mail != ""
	}, 60*time.Second, 100*time.Millisecond, "operators are told of %s", key)
	section, _, _ := strings.Cut(key, "/")
	assert.Contains(t, mail, "docs/runbook.md#"+section)
	return mail
}

// over waits until the service's alert key is over.
func over(t *testing.T, service, key string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return one(t, db(t, "shop_"+service), "SELECT COUNT(*) FROM alert WHERE name = ? AND cleared_at IS NULL", key) == "0"
	}, patience, 100*time.Millisecond, "%s is over", key)
}

// lostOrders are orders whose payment hangs, each by its shopper.
type lostOrders struct {
	c *client
	// Of the first three the coordinator has lost the transaction; confirmed and canceled say how a person will decide, refunded is a refund.
	// Of the last credit has lost the row.
	confirmed, canceled, refunded, rowless string
	gids                                   map[string]string
}

// lose pays three orders and refunds one, and at the moment when all is tried takes rows away: of three all that the coordinator knows, of one
// all that credit does.
func (b *book) lose(t *testing.T) lostOrders {
	t.Helper()
	c := shopper(t)
	sku := product(t, 500, 100)
	l := lostOrders{c: c, refunded: paid(t, c, sku), confirmed: c.order(t, sku, 2), canceled: c.order(t, sku, 2), rowless: c.order(t, sku, 2),
		gids: map[string]string{}}
	fault(t, "checkout/all-tried", "pause")
	fault(t, "refund/all-tried", "pause")
	var calls sync.WaitGroup
	for _, id := range []string{l.confirmed, l.canceled, l.rowless} {
		calls.Go(func() { _, _ = c.try(t.Context(), "POST", "/v1/orders/"+id+"/pay", nil) })
	}
	calls.Go(func() { _, _ = c.try(t.Context(), "POST", "/v1/orders/"+l.refunded+"/refund", nil) })
	for id, all := range map[string]string{l.confirmed: held, l.canceled: held, l.rowless: held, l.refunded: heldRefund} {
		require.Eventually(t, func() bool { return footprint(t, id) == all }, patience, 5*time.Millisecond, "all is tried")
		l.gids[id] = one(t, db(t, "shop_order"), "SELECT gid FROM payment_attempt WHERE order_id = ? AND state = 'OPEN'", id)
	}
	take := func(database string, statements ...string) {
		t.Helper()
		for _, statement := range statements {
			result, err := open(t, shared.DSN(database)).ExecContext(t.Context(), statement)
			require.NoError(t, err, statement)
			n, err := result.RowsAffected()
			require.NoError(t, err)
			require.Positive(t, n, statement)
		}
	}
	for _, id := range []string{l.confirmed, l.canceled, l.refunded} {
		take("shop_dtm", fmt.Sprintf("DELETE FROM trans_global WHERE gid = '%s'", l.gids[id]),
			fmt.Sprintf("DELETE FROM trans_branch_op WHERE gid = '%s'", l.gids[id]))
	}
	gid := l.gids[l.rowless]
	take("shop_credit", fmt.Sprintf("UPDATE credit_account a JOIN credit_entry e ON e.member_id = a.member_id "+
		"SET a.prepare_add_credit = a.prepare_add_credit - e.points WHERE e.gid = '%s'", gid),
		fmt.Sprintf("DELETE FROM credit_entry WHERE gid = '%s'", gid), fmt.Sprintf("DELETE FROM barrier WHERE gid = '%s'", gid))
	require.NoError(t, setFault(t.Context(), "checkout/all-tried", ""))
	require.NoError(t, setFault(t.Context(), "refund/all-tried", ""))
	calls.Wait()
	return l
}

// What an order leaves whose payment, or refund, is tried everywhere.
const (
	held       = `UPDATING | 2 FROZEN | 10 PREPARED | UNKNOWN | OPEN`
	heldRefund = `REFUNDING | 2 RETURNING | 10 DEDUCTING | HELD | DONE,OPEN`
)

// payment: the coordinator's log is lost in the middle of two payments and a refund. The alert asks for a decision, the command shows what there
// is to know, and each is ended as decided, in all services.
func (b *book) payment(t *testing.T, l lostOrders) {
	const show = "make settle ORDER=<order>"
	for id, all := range map[string]string{l.confirmed: held, l.canceled: held, l.refunded: heldRefund} {
		mail := alerted(t, "order", "payment/"+l.gids[id])
		assert.Contains(t, mail, "needs a decision")
		assert.Contains(t, mail, "make settle ORDER="+id)
		assert.NotRegexp(t, `by\s+itself`, mail)
		assert.Equal(t, all, footprint(t, id), "nothing was touched")
	}
	said := b.works(t, "payment", show, "order", l.confirmed)
	for _, line := range []string{`coordinator +unknown`, `order +TRIED`, `inventory +TRIED`, `credit +TRIED`, `wms +TRIED`, `AS=confirm +possible`,
		`AS=cancel +possible`, `AS=try +not possible`} {
		assert.Regexp(t, `(?m)^ +`+line, said)
	}
	assert.Contains(t, b.works(t, "payment", "GET /v1/ops/orders/<order>/settlement", "order", l.canceled), l.gids[l.canceled])
	assert.Equal(t, held, footprint(t, l.confirmed), "to look changes nothing")
	stranger := shopper(t).must(t, 403, "POST", "/v1/ops/orders/"+l.confirmed+"/settlement", map[string]any{"decision": "CANCEL"})
	assert.Equal(t, "OPERATOR_ONLY", stranger.Body.Reason)

	b.works(t, "payment", "make settle ORDER=<order> AS=confirm", "order", l.confirmed)
	b.works(t, "payment", "make settle ORDER=<order> AS=confirm", "order", l.refunded)
	b.works(t, "payment", "make settle ORDER=<order> AS=cancel", "order", l.canceled)
	assert.Equal(t, paidOnce, footprint(t, l.confirmed))
	assert.Equal(t, timedOut, footprint(t, l.canceled))
	assert.Equal(t, refunded, footprint(t, l.refunded))
	for _, id := range []string{l.confirmed, l.canceled, l.refunded} {
		over(t, "order", "payment/"+l.gids[id])
	}
	assert.Contains(t, b.works(t, "payment", show, "order", l.confirmed), "the order reads PAID, and nothing is open")
	said, ok := b.run(t, "payment", "make settle ORDER=<order> AS=cancel", "order", l.confirmed)
	assert.False(t, ok, said)
	assert.Contains(t, said, "409: nothing is open")

	log, err := os.ReadFile(shared.LogFile("order"))
	require.NoError(t, err)
	me := one(t, db(t, "shop_member"), "SELECT id FROM member WHERE email = 'operator@example.com'")
	who := regexp.MustCompile(`"level":"WARN".*settled by hand.*"operator":"` + me + `"`)
	assert.Regexp(t, who, string(log), "each use is logged, with who")
}

// notTried: credit has lost what it tried, and the coordinator repeats its Confirm. The alert names the order; once the Try is made again, the
// payment settles by itself.
func (b *book) notTried(t *testing.T, l lostOrders) {
	const show = "make settle ORDER=<order>"
	assert.Contains(t, alerted(t, "credit", "branch-not-tried"), l.rowless)
	said := b.works(t, "branch-not-tried", show, "order", l.rowless)
	for _, line := range []string{`coordinator +submitted`, `credit +NONE`, `wms +CONFIRMED`, `AS=confirm +not possible`, `AS=cancel +not possible`,
		`AS=try +possible`} {
		assert.Regexp(t, `(?m)^ +`+line, said)
	}
	b.works(t, "branch-not-tried", "make settle ORDER=<order> AS=try", "order", l.rowless)
	l.c.settled(t, l.rowless, "PAID")
	assert.Equal(t, paidOnce, footprint(t, l.rowless))
	over(t, "credit", "branch-not-tried")
	b.works(t, "branch-not-tried", "make conserve")
}

// deadLetters: an event that nobody can handle is found, tried again, and discarded.
func (b *book) deadLetters(t *testing.T) {
	bad := mq.Event{ID: mq.NewID(), Source: "/member", Type: eventv1.TypeMemberRegistered, Subject: "nobody", Time: time.Now(),
		Data: []byte(`{"member_id":7}`)}
	publish(t, "member", eventv1.TopicMembers, bad)
	groups := map[string]string{"credit-registration": "credit", "notify-sms": "notify", "notify-email": "notify"}
	for group, service := range groups {
		const list, look = "GET /v1/ops/dead-letters?group=<group>", "GET /v1/ops/dead-letters/<letter>"
		alerted(t, service, "dead-letters/"+group)
		letter := func() (id string) {
			t.Helper()
			require.Eventually(t, func() bool {
				var reply struct {
					DeadLetters []deadLetter `json:"dead_letters"`
				}
				require.NoError(t, json.Unmarshal([]byte(b.works(t, "dead-letters", list, "group", group)), &reply))
				if len(reply.DeadLetters) == 1 {
					id = reply.DeadLetters[0].ID
				}
				return id != ""
			}, patience, 50*time.Millisecond, "%s gives up", group)
			return id
		}
		assert.Contains(t, b.works(t, "dead-letters", look, "letter", letter()), bad.ID)
		b.works(t, "dead-letters", "POST /v1/ops/dead-letters/<letter>/redrive", "letter", letter())
		letter()
		b.works(t, "dead-letters", `POST /v1/ops/dead-letters/redrive {"group": "<group>"}`, "group", group)
		b.works(t, "dead-letters", "POST /v1/ops/dead-letters/<letter>/discard", "letter", letter())
		over(t, service, "dead-letters/"+group)
	}
}

// books: a row that somebody changed is found, and that it was put right.
func (b *book) books(t *testing.T) {
	c := shopper(t)
	id := paid(t, c, product(t, 500, 100))
	b.works(t, "books", "make conserve")
	points := func(by int) {
		t.Helper()
		_, err := open(t, shared.DSN("shop_credit")).ExecContext(t.Context(), "UPDATE credit_entry SET points = points + ? WHERE source = ?", by, id)
		require.NoError(t, err)
	}
	points(1)
	said, ok := b.run(t, "books", "make conserve")
	assert.False(t, ok, said)
	assert.Contains(t, said, id)
	assert.Contains(t, b.works(t, "books", "GET /v1/ops/conservation"), id)
	assert.Contains(t, b.works(t, "books", "GET /v1/ops/messages?order_id=<order>", "order", id), "order.paid")
	points(-1)
	b.works(t, "books", "make conserve")
}
