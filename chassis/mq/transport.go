package mq

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

var (
	// ErrUnavailable: the transport did not say that it has the event. It may have it all the same; sending it again, with the
	// same id, is harmless.
	ErrUnavailable = errors.New("the broker is not available")
	// ErrRefused: the event or its topic is wrong, and will be the next time.
	ErrRefused = errors.New("the event is refused")
)

// MaxAhead is how far ahead a transport must be able to deliver; what is due later is not sent yet.
const MaxAhead = 72 * time.Hour

// Transport moves events from those who publish to the groups that subscribe. It may deliver an event twice, late and out of
// order: that is the inbox's business. It must not lose one that Send said it has. Package mqlaws is what each must pass.
//
// Its methods may be called by any number of goroutines.
type Transport interface {
	// Send hands e over; at is when it may be delivered, at once when zero, at most MaxAhead from now. nil says that e is stored and will
	// be delivered to every group of topic. Any error is ErrUnavailable or ErrRefused. Nothing is repeated here. ctx bounds the call.
	Send(ctx context.Context, topic string, e Event, at time.Time) error
	// Listen calls take for each message to s.Group that s wants, until ctx ends; then it returns, after every take has. Up to
	// s.Workers are under way at a time, those of a subject one after another. take reports whether the message is settled:
	// what is not is delivered again, here or to another instance of the group. Listen waits for a topic or a broker that
	// is not there yet; it fails only on a subscription that can never work.
	Listen(ctx context.Context, s Subscription, take func(Delivery) bool) error
	// Tail calls f for each event of topic from now on until ctx ends, in every process that calls it, those of a subject one
	// after another. types are the events wanted, all when empty. It keeps no account: what comes while nobody looks is missed, so it is
	// for what a process shows, not for what it does. Like Listen it waits for a topic that is not there.
	Tail(ctx context.Context, topic string, types []string, f func(context.Context, Event)) error
}

// Halves is a Transport that can hold an event back until a local transaction is decided.
type Halves interface {
	Transport
	// Transactions returns the sender of half messages of one outbox. check answers for the outbox when the transport asks what
	// became of a local transaction; it returns in time, and does not panic.
	Transactions(check Check) Transactions
}

// Transactions sends half messages.
type Transactions interface {
	// Half stores e as a half message, then calls local in the same goroutine and ends the message as local says. Unknown, or
	// an end that is lost, is asked about later. born is the database's time before the local transaction, and comes back with
	// that question. An error is ErrUnavailable or ErrRefused, and says that local was not called. ctx bounds the storing only.
	Half(ctx context.Context, topic string, e Event, born time.Time, local func() Verdict) error
	// Answer lets the transport ask this process about the half messages that other processes of the service left, until ctx
	// ends. topic is any of the service's.
	Answer(ctx context.Context, topic string) error
}

// Check says what became of the local transaction of the event id, which goes to topic.
type Check func(topic, id string, born time.Time) Verdict

// Verdict is how a half message ends.
type Verdict int

const (
	// Unknown leaves the message as it is: the transport asks again.
	Unknown Verdict = iota
	// Commit delivers it.
	Commit
	// Rollback forgets it.
	Rollback
)

// History is a Transport that keeps for a while what it delivered.
type History interface {
	Transport
	// Replay calls f for each message that topic took from from until to and still has, those of a subject in order, until f
	// fails or ctx ends. It begins at position, at the beginning when that is empty, and returns the position to go on at, which
	// is empty when there is no more. Consumers are not touched. A message that f failed on comes again at the position
	// returned, with f's error. ErrRefused: the position is not one of this topic.
	Replay(ctx context.Context, topic string, from, to time.Time, position string, f func(Delivery) error) (next string, err error)
}

// Delivery is a message as it came.
type Delivery struct {
	Event Event
	// Broken says why the body is no event; ID and Body are then what there is.
	Broken error
	// ID is the transport's own, for its log.
	ID   string
	Body []byte
}

// Received reads a message's body.
func Received(id string, body []byte) Delivery {
	d := Delivery{ID: id, Body: body}
	d.Broken = json.Unmarshal(body, &d.Event)
	return d
}
