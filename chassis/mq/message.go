package mq

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
)

// message gives e its form on the wire: CloudEvents' JSON as the body, the type as tag, subject and id as keys, and what filters may
// ask for as properties.
func message(topic string, e Event) (*primitive.Message, error) {
	if topic == "" || len(topic) > maxTopic || strings.ContainsFunc(topic, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_%", r)
	}) {
		return nil, fmt.Errorf("%w: topic %q: 1 to %d of a-z, A-Z, 0-9, -, _", ErrRefused, topic, maxTopic)
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	body, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	m := primitive.NewMessage(topic, body).WithTag(e.Type)
	keys := []string{e.ID}
	if e.Subject != "" && !strings.Contains(e.Subject, " ") { // the broker separates keys by blanks
		keys = append(keys, e.Subject)
	}
	m.WithKeys(keys)
	m.WithShardingKey(e.Subject)
	m.WithProperty("id", e.ID)
	m.WithProperty("source", e.Source)
	m.WithProperty("type", e.Type)
	m.WithProperty("subject", e.Subject)
	m.WithProperty("sequence", strconv.FormatInt(e.Sequence, 10))
	for name, value := range e.Attributes {
		m.WithProperty(name, value)
	}
	return m, nil
}

// deliverAt lets the broker keep m until then: at most three days, to the second.
func deliverAt(m *primitive.Message, at time.Time) {
	m.WithProperty(primitive.PropertyTimerDeliverMS, strconv.FormatInt(at.UnixMilli(), 10))
}

// bySubject puts all events of a subject into the same queue, whatever order the client has the queues in.
type bySubject struct{}

func (bySubject) Select(m *primitive.Message, queues []*primitive.MessageQueue, _ string) *primitive.MessageQueue {
	sorted := slices.SortedFunc(slices.Values(queues), func(a, b *primitive.MessageQueue) int {
		return cmp.Or(cmp.Compare(a.BrokerName, b.BrokerName), cmp.Compare(a.QueueId, b.QueueId))
	})
	key := m.GetShardingKey()
	if key == "" {
		key = m.GetProperty("id")
	}
	h := fnv.New32a()
	_, _ = h.Write([]byte(key))
	return sorted[h.Sum32()%uint32(len(sorted))]
}
