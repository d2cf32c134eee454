// Package notification holds the rules of what members and operators are told: no I/O.
package notification

import (
	"errors"
	"strings"
	"time"
)

var (
	// ErrInvalid means that a field is not usable; the text says which and what it has to be.
	ErrInvalid = errors.New("invalid")
	// ErrRefused means that a provider will never accept the notification. Another try would not help.
	ErrRefused = errors.New("refused for good")
	// ErrUnknown means that a provider was given the notification and did not say whether it has it.
	ErrUnknown = errors.New("the provider may have it")
)

// LaterError is a provider's answer that names a time before which it does not want to be asked again.
type LaterError struct {
	After time.Duration
	Err   error
}

func (e LaterError) Error() string { return e.Err.Error() }

func (e LaterError) Unwrap() error { return e.Err }

// Channel is a way to reach somebody.
type Channel string

// The channels.
const (
	SMS   Channel = "SMS"
	Email Channel = "EMAIL"
)

// State is where a notification is.
//
//	(none) --event--> PENDING --the provider has it--> SENT
//	    \                |  \--it refused it for good, or GiveUp is over--> FAILED
//	     \               \--GiveUp was over before the first try--> STALE
//	      \--the event was too old--> STALE
//	       \--the day's budget is spent--> DROPPED
type State string

// The states. Only PENDING is left again.
const (
	Pending State = "PENDING"
	Sent    State = "SENT"
	Failed  State = "FAILED"
	Stale   State = "STALE"
	Dropped State = "DROPPED"
)

// Notification is one text for one recipient on one channel, because of one event.
type Notification struct {
	// ID is a UUIDv7, and the key by which a provider recognizes a second try.
	ID      string
	Channel Channel
	// To is a phone number (E.164) or an e-mail address.
	To string
	// Subject is empty for SMS.
	Subject, Text string
	State         State
	// Tries is how often a sender took it to send it.
	Tries     int32
	LastError string
	// Source and EventID name the event.
	Source, EventID, EventType string
	CreatedAt                  time.Time
	// ClosedAt is zero while it is PENDING.
	ClosedAt time.Time
}

// Received is a message in the demo's inbox.
type Received struct {
	// No counts arrivals.
	No int64
	// ID is the notification's id.
	ID            string
	Channel       Channel
	To            string
	Subject, Text string
	At            time.Time
}

// Contact is where a member is reached.
type Contact struct{ MemberID, Phone, Email, Name string }

// Budget is how many SMS that cost money may be written on a day (UTC); 0 is no limit.
type Budget struct {
	// PerDay is for all together, PerCountry for the numbers of one country that is not Home.
	PerDay     int `yaml:"per_day"`
	PerCountry int `yaml:"per_country"`
	// Home is the calling code of the country whose numbers only PerDay bounds: 86.
	Home string `yaml:"home"`
}

// Of returns how many may be written to the numbers of country, 0 for any number.
func (b Budget) Of(country string) int {
	if country == b.Home {
		return 0
	}
	return b.PerCountry
}

// Country returns the calling code of a number in E.164, as the ITU gives them out: "1", "86", "852".
func Country(phone string) string {
	digits := strings.TrimPrefix(phone, "+")
	length := 3
	switch {
	case digits == "":
		return ""
	case digits[0] == '1' || digits[0] == '7':
		length = 1
	case len(digits) > 1 && strings.Contains(twoDigits, " "+digits[:2]+" "):
		length = 2
	}
	return digits[:min(length, len(digits))]
}

const twoDigits = " 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 95 98 "

// First returns the state of a new notification about an event of this age: Stale, which is never sent, if the event is older than stale.
func First(age, stale time.Duration) State {
	if age > stale {
		return Stale
	}
	return Pending
}

// GivenUp returns the state of a PENDING notification of this age, taken for the nth time. It stays PENDING until it is older than giveUp.
func GivenUp(age, giveUp time.Duration, n int32) State {
	switch {
	case age <= giveUp:
		return Pending
	case n <= 1: // no sender was able to try it
		return Stale
	}
	return Failed
}

// Pause returns the pause after the nth failure: 1 s, doubled each time, up to longest.
func Pause(n int32, longest time.Duration) time.Duration {
	return min(time.Second<<min(max(n-1, 0), 20), longest)
}

// PauseUnknown returns the pause after a provider was given a notification for the nth time without an answer: first, doubled each time. It is
// longer than the others, since each further try may be one too many: with 30 min it is given six times in 24 h.
func PauseUnknown(n int32, first time.Duration) time.Duration { return first << min(max(n-1, 0), 10) }
