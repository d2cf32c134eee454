package mq

import "context"

// CommittedHalves gives the ids of the events in topic whose messages came as half messages.
func (b *Broker) CommittedHalves(ctx context.Context, topic string) (ids []string, err error) {
	c, queues, err := b.reader(ctx, topic)
	if c == nil {
		return nil, err
	}
	defer func() { _ = c.Shutdown() }()
	for _, q := range queues {
		last, err := end(c, q)
		if err != nil {
			return nil, err
		}
		for at := int64(0); at < last; {
			ms, next, err := pull(ctx, c, q, at)
			if err != nil {
				return nil, err
			}
			at = next
			for _, m := range ms {
				if m.GetProperty(bornProperty) != "" {
					ids = append(ids, m.GetProperty("id"))
				}
			}
		}
	}
	return ids, nil
}
