package rocketmq

import "sync"

// lazy is a client that is started when it is first needed, and again after it was stopped.
type lazy[C any] struct {
	start func() (C, error)

	mu      sync.Mutex
	running bool
	client  C
}

// get returns the started client. Any error is an ErrUnavailable: the next call tries again.
func (l *lazy[C]) get() (C, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running {
		return l.client, nil
	}
	var none C
	client, err := l.start()
	if err != nil {
		return none, unavailable(err)
	}
	l.client, l.running = client, true
	return client, nil
}

// stop ends the client, if it runs, by shutdown.
func (l *lazy[C]) stop(shutdown func(C)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.running {
		shutdown(l.client)
	}
	l.running = false
}
