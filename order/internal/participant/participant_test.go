package participant_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/internal/participant"
)

// TestAll tests that every participant has all that checkout, reconciliation and the answers to shoppers need of it.
func TestAll(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, p := range participant.All() {
		assert.NotEmpty(t, p.Name)
		assert.NotEmpty(t, p.Settled, p.Name)
		assert.NotNil(t, p.Facts, p.Name)
		for _, kind := range []order.Kind{order.Payment, order.Refund} {
			b := p.Of(kind)
			require.NotNil(t, b.Request, "%s %s", p.Name, kind)
			request := b.Request(order.Order{ID: "o"}).ProtoReflect().Descriptor()
			for phase, method := range map[string]string{"Try": b.Try, "Confirm": b.Confirm, "Cancel": b.Cancel} {
				require.NotEmpty(t, method, "%s %s", p.Name, kind)
				assert.False(t, seen[method], "%s is called twice", method)
				seen[method] = true
				name := protoreflect.FullName(strings.ReplaceAll(strings.TrimPrefix(method, "/"), "/", "."))
				d, err := protoregistry.GlobalFiles.FindDescriptorByName(name)
				require.NoError(t, err, method)
				assert.EqualValues(t, phase, d.Name(), method)
				assert.Equal(t, request.FullName(), d.(protoreflect.MethodDescriptor).Input().FullName(), method)
			}
			assert.Contains(t, b.Refusals, b.Otherwise, "%s %s: the shopper reads why", p.Name, kind)
		}
	}
}

// TestDial tests that each participant needs an address, and that no other name may have one.
func TestDial(t *testing.T) {
	t.Parallel()
	addrs := map[string]string{}
	for _, p := range participant.All() {
		addrs[p.Name] = "127.0.0.1:1"
	}
	peers, err := participant.Dial(addrs, mtls.Config{})
	require.NoError(t, err)
	assert.Len(t, peers, len(participant.All()))
	assert.NotNil(t, peers.Conn(participant.Inventory))
	assert.Nil(t, peers.Conn("nobody"))

	addrs["credti"] = addrs["credit"]
	delete(addrs, "credit")
	_, err = participant.Dial(addrs, mtls.Config{})
	require.ErrorContains(t, err, "peers.credti: no participant has this name")
	assert.ErrorContains(t, err, "peers.credit: ")
}
