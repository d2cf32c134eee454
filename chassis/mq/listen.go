package mq

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// delivered is a message as it came.
type delivered struct {
	event Event
	// broken says why the body is no event; id and body are then what there is.
	broken error
	id     string
	body   []byte
}

// listener is a started consumer of the client's. It may deliver any message again, in any order.
type listener struct {
	consumer rocketmq.PushConsumer
	mu       sync.Mutex
	closed   bool
	inside   sync.WaitGroup
}

// listen starts a consumer. take is called for several messages at a time, those of a subject one after another, and tells
// whether the message is settled; what is not settled is not acknowledged. It fails when the topic does not exist or no broker answers.
func (b *Broker) listen(s Subscription, take func(delivered) bool) (*listener, error) {
	l := &listener{}
	c, err := rocketmq.NewPushConsumer(
		consumer.WithNameServer(primitive.NamesrvAddr(b.names)),
		consumer.WithGroupName(s.Group),
		consumer.WithInstance(b.instance("consumer")),
		consumer.WithConsumerModel(consumer.Clustering),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
		consumer.WithPullBatchSize(pullBatch),
		consumer.WithConsumeMessageBatchMaxSize(pullBatch),
		consumer.WithConsumeGoroutineNums(4*s.Workers),
		// What waits for the database stays here: after this time the client would hand it to the broker's own retries and dead letters.
		consumer.WithConsumeTimeout(365*24*time.Hour),
	)
	if err != nil {
		return nil, fmt.Errorf("mq: %w", err)
	}
	l.consumer = c
	slots := make(chan struct{}, s.Workers)
	err = c.Subscribe(s.Topic, s.selector(), func(_ context.Context, ms ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		// Neither of the client's answers leaves a message as it is. A goroutine that ends does, and the client clears up behind it.
		if !l.enter() {
			runtime.Goexit()
		}
		defer l.inside.Done()
		if !takeAll(ms, slots, take) {
			runtime.Goexit()
		}
		return consumer.ConsumeSuccess, nil
	})
	if err != nil {
		return nil, fmt.Errorf("mq: %w", err)
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return l, nil
}

const pullBatch = 32

// takeAll takes the messages of a subject in their order, those of different ones at the same time.
func takeAll(ms []*primitive.MessageExt, slots chan struct{}, take func(delivered) bool) bool {
	var subjects []string
	bySubject := map[string][]delivered{}
	for _, m := range ms {
		d := delivered{id: m.MsgId, body: m.Body}
		d.broken = json.Unmarshal(m.Body, &d.event)
		key := d.event.Subject
		if d.broken != nil || key == "" {
			key = "\x00" + m.MsgId
		}
		if _, seen := bySubject[key]; !seen {
			subjects = append(subjects, key)
		}
		bySubject[key] = append(bySubject[key], d)
	}
	settled := make(chan bool, len(subjects))
	for _, subject := range subjects {
		slots <- struct{}{}
		go func() {
			defer func() { <-slots }()
			for _, d := range bySubject[subject] {
				if !take(d) {
					settled <- false
					return
				}
			}
			settled <- true
		}()
	}
	all := true
	for range subjects {
		all = <-settled && all
	}
	return all
}

// enter tells whether a delivery may begin; inside.Done ends it.
func (l *listener) enter() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.inside.Add(1)
	return true
}

// close lets no delivery begin, waits for those under way and tells the broker what is acknowledged.
func (l *listener) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.inside.Wait()
	_ = l.consumer.Shutdown()
}

func (s Subscription) selector() consumer.MessageSelector {
	tags := strings.Join(s.Types, " || ")
	switch {
	case s.Filter == "" && tags == "":
		tags = "*"
		fallthrough
	case s.Filter == "":
		return consumer.MessageSelector{Type: consumer.TAG, Expression: tags}
	case tags == "":
		return consumer.MessageSelector{Type: consumer.SQL92, Expression: s.Filter}
	}
	return consumer.MessageSelector{Type: consumer.SQL92,
		Expression: "(type IN ('" + strings.Join(s.Types, "','") + "')) AND (" + s.Filter + ")"}
}
