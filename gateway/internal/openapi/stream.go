package main

import (
	"fmt"
	"slices"
	"strings"

	"example.com/fourfold/gateway/internal/live"
)

const (
	streamSummary     = "WatchOrder tells what becomes of an order"
	streamDescription = `WatchOrder tells what becomes of an order, by server-sent events: its state now, and then each other one. 200; 204 when the client
has its last state already. For members who are signed in; somebody else's order is 404.

"event: order" has the Order as data, as GET /v1/orders/{id} gives it, and its version as id; the id is empty while the order is
UPDATING or REFUNDING. A version is never followed by an older one. A client that comes back with Last-Event-ID is spared what it has.

"event: end" means that there is nothing to come back for: its data has a reason, FINAL behind the last state, TOKEN_INVALID when the
token has expired. A stream that ends without it is to be opened again, after the time that "retry" said.

A member may have 5 streams open; more are 429. Where too many are open in all it is 503.`
	lastEventID = "The id of the last event that the client has; browsers send it when they come back."
)

// addStream describes live.Path, which is no RPC: a stream of the replies of get, the operation of GetOrder.
func addStream(doc *document) error {
	route, err := live.Route()
	if err != nil {
		return err
	}
	p, _ := doc.Paths.get(route.Path)
	get, ok := p.get("get")
	if !ok {
		return fmt.Errorf("there is no GET %s to describe %s by", route.Path, live.Path)
	}
	ok200, _ := get.Responses.get("200")
	order, _ := ok200.Content.get("application/json")
	op := &operation{
		Tags: get.Tags, Summary: streamSummary, Description: streamDescription, OperationID: "Orders_WatchOrder", Security: get.Security,
		Parameters: append(slices.Clone(get.Parameters), &parameter{
			Name: "Last-Event-ID", In: "header", Description: lastEventID, Schema: &schema{Type: "string"},
		}),
		Responses: ordered[*response]{
			{"200",
				&response{Description: "The events; data of each event order is this.", Content: ordered[media]{{"text/event-stream", order}}}},
			{"204", &response{Description: "The order is final, and the client has it."}},
		},
	}
	for _, e := range get.Responses {
		if !strings.HasPrefix(e.key, "2") {
			op.Responses = append(op.Responses, e)
		}
	}
	at := slices.IndexFunc(doc.Paths, func(e entry[path]) bool { return e.key == route.Path }) + 1
	doc.Paths = slices.Insert(doc.Paths, at, entry[path]{live.Path, path{{"get", op}}})
	return nil
}
