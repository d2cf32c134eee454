package mq

import (
	"encoding/json"
	"fmt"
	"mime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Event is something that happened: a CloudEvent 1.0.
type Event struct {
	// ID and Source together identify the event for ever: an event that is sent twice has the same. They are usually left empty; publishing
	// fills them in with a new id and "/" with the service's name, and an empty Time with now.
	ID, Source string
	// Type says what happened, for example order.paid. Subscriptions select by it.
	Type string
	// Subject says what it happened to, for example an order's id. Events of one subject are kept in order.
	Subject string
	Time    time.Time
	// Sequence numbers the events of one source and subject, from 1 and without gaps. 0 means that the event has no number.
	Sequence int64
	// Generation is that of the publisher's database: the numbers of a subject begin at 1 in each. Empty in the first; an Outbox fills it in.
	Generation string
	// Data is the payload, of ContentType; application/json when that is empty.
	Data        []byte
	ContentType string
	// TraceParent is the span that published the event, as a W3C traceparent. Publishing fills it in too.
	TraceParent string
	// Signature proves that a service sent the event. Sending fills it in.
	Signature string
	// Attributes are further properties for filters. Names consist of a-z and 0-9, for example region.
	Attributes map[string]string
}

// Data returns m as an event's data: JSON with the field names of the proto.
func Data(m proto.Message) ([]byte, error) {
	return protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
}

// Read reads the data into m and ignores fields that m does not know, as a newer publisher may send them. Its error is ErrPoison: data that
// cannot be read now cannot be read later.
func (e Event) Read(m proto.Message) error {
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(e.Data, m); err != nil {
		return fmt.Errorf("%w: %w", ErrPoison, err)
	}
	return nil
}

// Properties returns what a filter may ask for: id, source, type, subject, sequence and the attributes.
func (e Event) Properties() map[string]string {
	p := map[string]string{"id": e.ID, "source": e.Source, "type": e.Type, "subject": e.Subject, "sequence": strconv.FormatInt(e.Sequence, 10)}
	for name, value := range e.Attributes {
		p[name] = value
	}
	return p
}

// OneOf reports whether e's type is one of types, or types is empty.
func (e Event) OneOf(types []string) bool { return len(types) == 0 || slices.Contains(types, e.Type) }

// NewID returns a new id for an event.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

// Limits of the tables' columns.
const (
	maxID         = 64
	maxType       = 64
	maxSource     = 128
	maxSubject    = 128
	maxGeneration = 36
	maxTopic      = 127
	maxData       = 1 << 20
)

// check returns an ErrRefused that says what is wrong with e, or nil.
func (e Event) check() error {
	for _, f := range []struct {
		name, value string
		max         int
		optional    bool
	}{
		{"id", e.ID, maxID, false}, {"source", e.Source, maxSource, false}, {"type", e.Type, maxType, false},
		{"subject", e.Subject, maxSubject, true}, {"generation", e.Generation, maxGeneration, true},
	} {
		switch {
		case f.value == "" && !f.optional:
			return fmt.Errorf("%w: the event has no %s", ErrRefused, f.name)
		case len(f.value) > f.max:
			return fmt.Errorf("%w: the event's %s has %d bytes, at most %d", ErrRefused, f.name, len(f.value), f.max)
		case strings.ContainsFunc(f.value, control):
			return fmt.Errorf("%w: the event's %s %q has control characters", ErrRefused, f.name, f.value)
		}
	}
	if strings.ContainsAny(e.Type, "| *'") {
		return fmt.Errorf("%w: the event's type %q has a blank, *, | or '", ErrRefused, e.Type)
	}
	if e.Sequence < 0 || e.Sequence > 0 && e.Subject == "" {
		return fmt.Errorf("%w: sequence %d of subject %q: sequences count the events of a subject from 1", ErrRefused, e.Sequence, e.Subject)
	}
	if len(e.Data) > maxData {
		return fmt.Errorf("%w: the event's data has %d bytes, at most %d", ErrRefused, len(e.Data), maxData)
	}
	if e.isJSON() && len(e.Data) > 0 && !json.Valid(e.Data) {
		return fmt.Errorf("%w: the event's data is not JSON, and its content type says so", ErrRefused)
	}
	for name, value := range e.Attributes {
		if _, taken := reserved[name]; taken || name == "" || strings.ContainsFunc(name, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < '0' || r > '9')
		}) {
			return fmt.Errorf("%w: the attribute %q: names are of a-z and 0-9 and not CloudEvents' own", ErrRefused, name)
		}
		if strings.ContainsFunc(value, control) {
			return fmt.Errorf("%w: the attribute %s has control characters", ErrRefused, name)
		}
	}
	return nil
}

func control(r rune) bool { return r < ' ' || r == 0x7f }

func (e Event) isJSON() bool {
	if e.ContentType == "" {
		return true
	}
	t, _, err := mime.ParseMediaType(e.ContentType)
	return err == nil && (t == "application/json" || strings.HasSuffix(t, "+json"))
}

// reserved are the members of the JSON form that are not attributes of the publisher.
var reserved = map[string]struct{}{
	"specversion": {}, "id": {}, "source": {}, "type": {}, "subject": {}, "time": {}, "sequence": {}, "sequencetype": {}, "generation": {}, "signature": {},
	"datacontenttype": {}, "traceparent": {}, "data": {},
}

// MarshalJSON returns the structured form of CloudEvents.
func (e Event) MarshalJSON() ([]byte, error) {
	m := map[string]any{"specversion": "1.0", "id": e.ID, "source": e.Source, "type": e.Type}
	for name, value := range e.Attributes {
		m[name] = value
	}
	put := func(name, value string) {
		if value != "" {
			m[name] = value
		}
	}
	put("subject", e.Subject)
	put("generation", e.Generation)
	put("signature", e.Signature)
	put("datacontenttype", e.ContentType)
	put("traceparent", e.TraceParent)
	if !e.Time.IsZero() {
		m["time"] = e.Time.UTC().Format(time.RFC3339Nano)
	}
	if e.Sequence > 0 {
		m["sequence"], m["sequencetype"] = strconv.FormatInt(e.Sequence, 10), "Integer"
	}
	if len(e.Data) > 0 && e.isJSON() {
		m["data"] = json.RawMessage(e.Data)
	} else if len(e.Data) > 0 {
		m["data_base64"] = e.Data
	}
	return json.Marshal(m)
}

// UnmarshalJSON reads the structured form of CloudEvents.
func (e *Event) UnmarshalJSON(text []byte) error {
	var known struct {
		SpecVersion string          `json:"specversion"`
		ID          string          `json:"id"`
		Source      string          `json:"source"`
		Type        string          `json:"type"`
		Subject     string          `json:"subject"`
		Time        time.Time       `json:"time"`
		Sequence    string          `json:"sequence"`
		Generation  string          `json:"generation"`
		Signature   string          `json:"signature"`
		ContentType string          `json:"datacontenttype"`
		TraceParent string          `json:"traceparent"`
		Data        json.RawMessage `json:"data"`
		Base64      []byte          `json:"data_base64"`
	}
	if err := json.Unmarshal(text, &known); err != nil {
		return err
	}
	if known.SpecVersion != "1.0" {
		return fmt.Errorf("specversion %q is not 1.0", known.SpecVersion)
	}
	*e = Event{ID: known.ID, Source: known.Source, Type: known.Type, Subject: known.Subject, Time: known.Time, Generation: known.Generation,
		Signature: known.Signature, ContentType: known.ContentType, TraceParent: known.TraceParent, Data: known.Base64}
	if known.Data != nil {
		e.Data = known.Data
	}
	if known.Sequence != "" {
		var err error
		if e.Sequence, err = strconv.ParseInt(known.Sequence, 10, 64); err != nil {
			return fmt.Errorf("sequence: %w", err)
		}
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	for name, raw := range all {
		var value string
		if _, known := reserved[name]; known || name == "data_base64" || json.Unmarshal(raw, &value) != nil {
			continue
		}
		if e.Attributes == nil {
			e.Attributes = map[string]string{}
		}
		e.Attributes[name] = value
	}
	return e.check()
}
