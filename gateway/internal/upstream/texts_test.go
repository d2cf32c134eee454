package upstream_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	accessv1 "example.com/fourfold/api/access/v1"
	textv1 "example.com/fourfold/api/text/v1"
	"example.com/fourfold/chassis/identity"
	"example.com/fourfold/gateway/internal/upstream"
)

// unseen are texts in requests that people are not shown, or that have a form of their own: names of things that are there, keys, secrets.
var unseen = map[string]bool{
	"id": true, "order_id": true, "member_id": true, "event_id": true, "sku": true, "skus": true, "group": true, "topic": true, "service": true, "source": true,
	"subject": true, "generation": true, "page_token": true, "position": true, "q": true, "login": true, "password": true, "phone": true, "email": true,
	"status": true, "state": true, "to": true, "channel": true, "point": true, "action": true, "as": true, "gid": true, "recipient": true,
}

// TestTextsForPeople tests that each text of a request is either held to what people can see, or known to be none that they are shown.
func TestTextsForPeople(t *testing.T) {
	t.Parallel()
	held := 0
	seen := map[protoreflect.FullName]bool{}
	var visit func(protoreflect.MessageDescriptor)
	visit = func(m protoreflect.MessageDescriptor) {
		if seen[m.FullName()] {
			return
		}
		seen[m.FullName()] = true
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			switch {
			case f.Message() != nil:
				visit(f.Message())
			case f.Kind() == protoreflect.StringKind && proto.HasExtension(f.Options(), textv1.E_Shown):
				held++
			case f.Kind() == protoreflect.StringKind:
				assert.True(t, unseen[string(f.Name())], "%s: say with (text.v1.shown) how people see it, or add it to the list", f.FullName())
			}
		}
	}
	for _, file := range upstream.Files() {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				// A branch repeats what the shopper's request said.
				m := methods.Get(j)
				if identity.LevelOf(string(m.Parent().FullName())+"/"+string(m.Name())) != accessv1.Level_BRANCH {
					visit(m.Input())
				}
			}
		}
	}
	assert.GreaterOrEqual(t, held, 5)
}
