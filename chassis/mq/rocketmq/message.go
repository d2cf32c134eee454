package rocketmq

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"example.com/fourfold/chassis/mq"
)

// message returns e as a message: the JSON of CloudEvents as the body, the type as tag, subject and id as keys, and what filters may ask for as
// properties.
func message(topic string, e mq.Event) (*primitive.Message, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", mq.ErrRefused, err)
	}
	m := primitive.NewMessage(topic, body).WithTag(e.Type)
	keys := []string{e.ID}
	if e.Subject != "" && !strings.Contains(e.Subject, " ") { // the broker separates keys by spaces
		keys = append(keys, e.Subject)
	}
	m.WithKeys(keys)
	m.WithShardingKey(e.Subject)
	for name, value := range e.Properties() {
		m.WithProperty(name, value)
	}
	return m, nil
}

// deliverAt makes the broker hold m back until at: at most three days, to the second.
func deliverAt(m *primitive.Message, at time.Time) {
	m.WithProperty(primitive.PropertyTimerDeliverMS, strconv.FormatInt(at.UnixMilli(), 10))
}

// bySubject puts all events of a subject into the same queue, in whatever order the client has the queues.
type bySubject struct{}

func (bySubject) Select(m *primitive.Message, queues []*primitive.MessageQueue, _ string) *primitive.MessageQueue {
	sorted := inOrder(queues)
	return sorted[mq.Spread(m.GetShardingKey(), m.GetProperty("id"), len(sorted))]
}

// inOrder returns queues in an order that is the same in every process.
func inOrder(queues []*primitive.MessageQueue) []*primitive.MessageQueue {
	return slices.SortedFunc(slices.Values(queues), func(a, b *primitive.MessageQueue) int {
		return cmp.Or(cmp.Compare(a.BrokerName, b.BrokerName), cmp.Compare(a.QueueId, b.QueueId))
	})
}
