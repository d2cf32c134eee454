package payment

import (
	"context"
	"sync"

	"google.golang.org/protobuf/types/known/emptypb"

	"example.com/fourfold/chassis/tcc"
)

// Settled tells those who wait in this process for an order that its Confirm or Cancel was committed by this process. It is a hint that saves
// them from asking the database; another process' Confirm tells nobody here.
type Settled struct {
	mu      sync.Mutex
	waiting map[string][]chan struct{}
}

// Wait returns a channel that is closed at the next Confirm or Cancel of the order. Call leave when nobody waits for it any more.
func (s *Settled) Wait(orderID string) (settled <-chan struct{}, leave func()) {
	own := make(chan struct{})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == nil {
		s.waiting = map[string][]chan struct{}{}
	}
	s.waiting[orderID] = append(s.waiting[orderID], own)
	return own, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		var others []chan struct{}
		for _, c := range s.waiting[orderID] {
			if c != own {
				others = append(others, c)
			}
		}
		if s.waiting[orderID] = others; len(others) == 0 {
			delete(s.waiting, orderID)
		}
	}
}

// settle runs a last phase of the order, and tells those who wait for it.
func (s *Settled) settle(ctx context.Context, phase *tcc.Batched[struct{}], orderID string) (*emptypb.Empty, error) {
	ran, err := phase.Run(ctx, orderID, struct{}{})
	if ran {
		s.tell(orderID)
	}
	return tcc.Reply(ran, err)
}

// tell tells all that wait for the order.
func (s *Settled) tell(orderID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.waiting[orderID] {
		close(c)
	}
	delete(s.waiting, orderID)
}
