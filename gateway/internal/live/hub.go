package live

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	kerrors "github.com/go-kratos/kratos/v2/errors"

	eventv1 "example.com/fourfold/api/event/v1"
	"example.com/fourfold/chassis/mq"
)

// Hub knows which orders are watched here, and wakes their watchers.
type Hub struct {
	perMember, perAddress, total int

	mu        sync.Mutex
	orders    map[string]map[*watcher]struct{}
	members   map[string]int
	addresses map[string]int
	open      int
}

// NewHub returns a Hub in which a member, an address and all of them together may watch so often at once as cfg says.
func NewHub(cfg Config) *Hub {
	return &Hub{perMember: cfg.PerMember, perAddress: cfg.PerAddress, total: cfg.Total, orders: map[string]map[*watcher]struct{}{},
		members: map[string]int{}, addresses: map[string]int{}}
}

// watcher is one stream's interest in an order. changed holds at most one signal: a slow watcher may miss how many changes there were, never
// that there was one.
type watcher struct {
	hub                    *Hub
	order, member, address string
	changed                chan struct{}
}

// watch returns an error, 429 or 503, when there are too many watchers.
func (h *Hub) watch(order, member, address string) (*watcher, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case over(h.members[member], h.perMember):
		return nil, kerrors.New(http.StatusTooManyRequests, "TOO_MANY_STREAMS",
			fmt.Sprintf("you watch orders %d times already: close one of them", h.perMember)).
			WithMetadata(map[string]string{"retry_after": "5"})
	case over(h.addresses[address], h.perAddress):
		return nil, kerrors.New(http.StatusTooManyRequests, "TOO_MANY_STREAMS",
			fmt.Sprintf("your address watches orders %d times already: try again, or ask for the order now and then", h.perAddress)).
			WithMetadata(map[string]string{"retry_after": "5"})
	case over(h.open, h.total):
		return nil, kerrors.ServiceUnavailable("TRY_LATER", "too many orders are watched here: try again, or ask for the order now and then").
			WithMetadata(map[string]string{"retry_after": "5"})
	}
	w := &watcher{h, order, member, address, make(chan struct{}, 1)}
	if h.orders[order] == nil {
		h.orders[order] = map[*watcher]struct{}{}
	}
	h.orders[order][w] = struct{}{}
	h.members[member]++
	h.addresses[address]++
	h.open++
	return w, nil
}

// over reports whether there is no room for one more; bound 0 is none.
func over(open, bound int) bool { return bound > 0 && open >= bound }

func (w *watcher) close() {
	h := w.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.orders[w.order], w)
	if len(h.orders[w.order]) == 0 {
		delete(h.orders, w.order)
	}
	if h.members[w.member]--; h.members[w.member] == 0 {
		delete(h.members, w.member)
	}
	if h.addresses[w.address]--; h.addresses[w.address] == 0 {
		delete(h.addresses, w.address)
	}
	h.open--
}

// Changed wakes the watchers of order. It never waits.
func (h *Hub) Changed(order string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.orders[order] {
		select {
		case w.changed <- struct{}{}:
		default: // it is awake
		}
	}
}

// Open returns how many streams there are.
func (h *Hub) Open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open
}

// Events tells what services publish: an mq.Bus.
type Events interface {
	Tail(ctx context.Context, v mq.View, f func(context.Context, mq.Event)) error
}

// Follow wakes the watchers of each order that order-events has an event of, until ctx ends. While the broker is away it waits, and the streams
// look for themselves.
func (h *Hub) Follow(ctx context.Context, events Events) error {
	all := mq.View{Topic: eventv1.TopicOrders, Watched: func() bool { return h.Open() > 0 }}
	for ctx.Err() == nil {
		err := events.Tail(ctx, all, func(_ context.Context, e mq.Event) { h.Changed(e.Subject) })
		if ctx.Err() == nil {
			slog.WarnContext(ctx, "live: no events any more; streams look for themselves meanwhile", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
	}
	return nil
}
