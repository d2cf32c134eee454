package rocketmq

import (
	"context"
	"sync"
	"time"
)

// lazy is a client that is started when it is first needed, and anew after it was stopped or is outdated.
type lazy[C any] struct {
	start    func() (C, error)
	shutdown func(C)
	// change returns a channel that is closed when a client that is started now is outdated. It may be nil.
	change func() <-chan struct{}

	mu       sync.Mutex
	running  bool
	client   C
	outdated <-chan struct{}
	starting chan struct{} // closed when the start under way has ended; nil when none is
	failed   error         // of the last start
	at       time.Time     // when that was
}

// again is how long after a failed start get returns its error instead of starting anew: a start may wait for a name that cannot be looked up.
const again = time.Second

// get returns the started client, or an ErrUnavailable when it cannot be started now or before ctx ends.
func (l *lazy[C]) get(ctx context.Context) (C, error) {
	var none C
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replace()
	if !l.running && l.starting == nil && (l.failed == nil || time.Since(l.at) > again) {
		l.starting = make(chan struct{})
		go l.run(l.starting)
	}
	if started := l.starting; started != nil {
		l.mu.Unlock()
		select {
		case <-started:
		case <-ctx.Done():
		}
		l.mu.Lock()
	}
	switch {
	case l.running:
		return l.client, nil
	case ctx.Err() != nil:
		return none, unavailable(ctx.Err())
	}
	return none, unavailable(l.failed)
}

// replace shuts an outdated client down, in the background: it may say goodbye to a server that is not there any more. It is called with mu
// held.
func (l *lazy[C]) replace() {
	if !l.running {
		return
	}
	select {
	case <-l.outdated:
		go l.shutdown(l.client)
		l.running = false
	default:
	}
}

func (l *lazy[C]) run(started chan struct{}) {
	var outdated <-chan struct{}
	if l.change != nil {
		outdated = l.change() // before the client learns of what may change
	}
	client, err := l.start()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.outdated = outdated
	l.client, l.running, l.failed, l.at, l.starting = client, err == nil, err, time.Now(), nil
	close(started)
}

// stop ends the client, if it runs or is being started.
func (l *lazy[C]) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.starting != nil { // another may begin while this waits
		started := l.starting
		l.mu.Unlock()
		<-started
		l.mu.Lock()
	}
	if l.running {
		l.shutdown(l.client)
	}
	l.running = false
}
