package mq

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"
)

// errForged means that an event carries no signature of a known key over all that it says.
var errForged = errors.New("the event is not signed with a key of the services")

// sign puts the signature of the bus' first key on e, which goes to topic. Without keys it does nothing.
func (b *Bus) sign(topic string, e Event) Event {
	if !b.keys.None() {
		e.Signature = b.keys.Sign(e.signed(topic)...)
	}
	return e
}

// verified returns d, Broken when the bus has keys and d's event from topic is not signed with one of them.
func (b *Bus) verified(topic string, d Delivery) Delivery {
	if d.Broken == nil && !b.keys.None() && !b.keys.Made(d.Event.Signature, d.Event.signed(topic)...) {
		d.Broken = errForged
	}
	return d
}

// signed returns what the signature of e is made over: all but the trace, which each sending sets anew.
func (e Event) signed(topic string) []string {
	at := ""
	if !e.Time.IsZero() {
		at = e.Time.UTC().Format(time.RFC3339Nano)
	}
	parts := []string{"event", topic, e.ID, e.Source, e.Type, e.Subject, e.Generation, strconv.FormatInt(e.Sequence, 10), at, e.ContentType,
		e.transported()}
	for _, name := range slices.Sorted(maps.Keys(e.Attributes)) {
		parts = append(parts, name, e.Attributes[name])
	}
	return parts
}

// transported returns the data as it arrives: JSON comes without blanks.
func (e Event) transported() string {
	if e.isJSON() && len(e.Data) > 0 {
		if text, err := json.Marshal(json.RawMessage(e.Data)); err == nil {
			return string(text)
		}
	}
	return string(e.Data)
}
