package failover

import (
	"errors"
	"sync"
	"time"

	"example.com/fourfold/chassis/mq"
)

// starved is how much longer than its deadline a send may take until this process is the one that is too slow: its failure says nothing about
// the broker.
const starved = 150 * time.Millisecond

// sends is what this process' sends say about the broker.
type sends struct {
	kick chan struct{} // told of the first failure

	mu       sync.Mutex
	failures int       // in a row
	first    time.Time // of these
	last     error
	worked   time.Time // when one last worked
	topic    string    // that the last one went to
}

// told records how a send by the broker ended. Only what says that the broker is away counts as a failure: not an event that is refused, nor a
// topic that nobody knows, which a name server alone can bring about.
func (s *sends) told(topic string, err error, slow bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil, errors.Is(err, mq.ErrRefused):
		s.failures, s.worked, s.topic = 0, time.Now(), topic
		return
	case slow, errors.Is(err, mq.ErrNoRoute), !errors.Is(err, mq.ErrUnavailable):
		return
	}
	if s.failures == 0 {
		s.first = time.Now()
	}
	s.failures++
	s.last = err
	if s.topic == "" {
		s.topic = topic
	}
	s.wake()
}

// goesTo notes that an event to topic went by Redis: should nobody know of one that the broker took, probes go there.
func (s *sends) goesTo(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.topic = topic
}

// suspect has the broker probed at once.
func (s *sends) suspect(topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.worked = time.Time{}
	if s.topic == "" {
		s.topic = topic
	}
	s.wake()
}

func (s *sends) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// look returns what the sends say.
func (s *sends) look() (failures int, for_ time.Duration, last error, worked time.Time, topic string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failures > 0 {
		for_ = time.Since(s.first)
	}
	return s.failures, for_, s.last, s.worked, s.topic
}

// forget begins to count anew.
func (s *sends) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = 0
}
