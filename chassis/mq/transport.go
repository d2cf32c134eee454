package mq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

var (
	// ErrUnavailable means that the transport did not say that it has the event. It may have it nevertheless; sending it again with the same id
	// is harmless.
	ErrUnavailable = errors.New("the broker is not available")
	// ErrRefused means that the event or its topic is not valid: sending it again fails too.
	ErrRefused = errors.New("the event is refused")
	// ErrNoRoute is an ErrUnavailable: nobody tells where the topic is. It says nothing about the other topics, nor about the broker.
	ErrNoRoute = fmt.Errorf("%w: no name server knows the topic", ErrUnavailable)
	// ErrHeld means that the transport does not take this event now, because of its time or its subject, and takes others: the relay keeps it.
	ErrHeld = errors.New("the event is not taken now")
)

// MaxAhead is how long a transport must be able to hold an event back; what is due later is not sent yet.
const MaxAhead = 72 * time.Hour

// Transport moves events from publishers to the groups that subscribe. It may deliver an event twice, late or out of order: that is the inbox's
// business. It must not lose an event for which Send returned nil. Every transport must pass package mqlaws.
//
// Its methods may be called by any number of goroutines.
type Transport interface {
	// Send hands e to the transport. e may be delivered from at on, at once when at is zero; at is at most MaxAhead from now. nil means that e
	// is stored and will be delivered to every group of topic. Any error is ErrUnavailable, ErrRefused or ErrHeld; a transport that holds
	// nothing back answers ErrHeld until at. Send does not retry. ctx bounds the call.
	Send(ctx context.Context, topic string, e Event, at time.Time) error
	// Listen calls take for each message to s.Group that s wants, until ctx ends; it returns after every take has returned. Up to s.Workers
	// calls are under way at a time, those of a subject one after another. take reports whether the message is settled; one that is not is
	// delivered again, here or to another instance of the group. Listen waits for a topic or a broker that is not there yet; it fails only on a
	// subscription that can never work.
	Listen(ctx context.Context, s Subscription, take func(Delivery) bool) error
	// Tail calls f for each event of v from now until ctx ends, in every process that calls it, those of a subject one after another. It
	// remembers nothing: what comes while no process looks is missed, so it is for what a process shows, not for what it does. Like Listen it
	// waits for a topic that is not there yet.
	Tail(ctx context.Context, v View, f func(context.Context, Event)) error
}

// View is what Tail looks at.
type View struct {
	Topic string
	// Types are the event types wanted, all when empty.
	Types []string
	// Watched reports whether somebody is shown the events now; nil is always. While nobody is, a transport that must ask for them asks seldom.
	Watched func() bool
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
	// Half stores e as a half message, then calls local in the same goroutine and ends the message as local returns. After Unknown, or when the
	// end is lost, the transport asks later. born is the database's time before the local transaction, and comes back with that question. An
	// error is ErrUnavailable or ErrRefused, and means that local was not called. ctx bounds only the storing.
	Half(ctx context.Context, topic string, e Event, born time.Time, local func() Verdict) error
	// Answer registers this process with the transport as one that can be asked about the half messages that other processes of the service
	// left, until ctx ends. Any topic of the service will do.
	Answer(ctx context.Context, topic string) error
}

// Check returns what became of the local transaction of the event id, which goes to topic.
type Check func(topic, id string, born time.Time) Verdict

// Verdict is how a half message ends.
type Verdict int

const (
	// Unknown leaves the message as it is: the transport asks again.
	Unknown Verdict = iota
	// Commit delivers the message.
	Commit
	// Rollback drops the message.
	Rollback
)

// History is a Transport that keeps for a while what it delivered.
type History interface {
	Transport
	// Replay calls f for each message that topic took between from and to and still has, those of a subject in order, until f fails or ctx
	// ends. It begins at position, or at the beginning when that is empty, and returns the position to continue at, which is empty when there
	// is no more. When f fails, Replay returns f's error, and the message comes again at the position returned. Consumers are not affected.
	// ErrRefused means that position is not one of this topic.
	Replay(ctx context.Context, topic string, from, to time.Time, position string, f func(Delivery) error) (next string, err error)
}

// Disk is a Transport that stores what it takes on a disk, which may become full.
type Disk interface {
	Transport
	// DiskUsed returns which part of that disk is used, from 0 to 1: of several, the fullest one's. Any error is ErrUnavailable.
	DiskUsed(ctx context.Context) (float64, error)
}

// Detour is a Transport that has another way for events while its broker is away.
type Detour interface {
	Transport
	// Undisturbed returns for how long events have not had to take it, 0 while they do: what was sent before may lie in the broker that was
	// away.
	Undisturbed() time.Duration
	// Moved returns a channel that is closed when events begin to go another way than now.
	Moved() <-chan struct{}
	// Direct returns the usual way alone, for what may be lost, or has arrived by another way: it is ErrUnavailable while the broker is away.
	Direct() Transport
}

// Delivery is a message as it came.
type Delivery struct {
	Event Event
	// Broken says why the body is not an event, nil when it is one. Then only ID and Body are meaningful.
	Broken error
	// ID is the transport's own, for its log.
	ID   string
	Body []byte
}

// Received returns the Delivery of a message with that body.
func Received(id string, body []byte) Delivery {
	d := Delivery{ID: id, Body: body}
	d.Broken = json.Unmarshal(body, &d.Event)
	return d
}
