// Package participant lists the services that take part in a payment and its refund besides order itself. Checkout, reconciliation,
// configuration and the answers to shoppers read this one list: a new participant is added to All, and nowhere else in order.
package participant

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"example.com/fourfold/chassis/mtls"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/order/internal/order"
)

// All are the participants in the order of the transaction's branches, after order's own.
func All() []Participant { return []Participant{inventory(), credit(), wms()} }

// Participant is a service other than order that takes part.
type Participant struct {
	// Name is the service's name, and its key under peers in config.yaml.
	Name string
	// Payment and Refund are what it does in each kind of transaction.
	Payment, Refund Branch
	// Settled says for people what its rows about a paid order read.
	Settled string
	// Facts returns what its books should say about a paid order, sorted.
	Facts func(order.Record) []string
	// Stages are what its one fact about a paid order says, one after another, when the order follows it; else nil.
	Stages []string
}

// Branch is a participant's part in one kind of transaction.
type Branch struct {
	// Try, which checkout calls, and Confirm and Cancel, which the coordinator calls, are full method names of generated code: a typo cannot
	// make a Cancel that never runs.
	Try, Confirm, Cancel string
	// Request makes the message that all three are called with.
	Request func(order.Order) proto.Message
	// Refusals are the reasons for which Try refuses, each with the sentence that the shopper reads.
	Refusals map[order.Reason]string
	// Otherwise is the reason of a refusal that names none of them.
	Otherwise order.Reason
}

// Of returns the participant's branch in a transaction of kind.
func (p Participant) Of(kind order.Kind) Branch {
	if kind == order.Refund {
		return p.Refund
	}
	return p.Payment
}

// Refusal returns the sentence for a refusal of kind for reason, and false when no participant refuses for that reason.
func Refusal(kind order.Kind, reason order.Reason) (string, bool) {
	for _, p := range All() {
		if text, ok := p.Of(kind).Refusals[reason]; ok {
			return text, true
		}
	}
	return "", false
}

// Peer is a participant with the address at which this process reaches it.
type Peer struct {
	Participant
	// Addr is where the coordinator reaches it.
	Addr string
	Conn grpc.ClientConnInterface
}

// Peers are all participants.
type Peers []Peer

// Dial makes the peers at addrs, host:port by name, each a list where several instances run. It connects with the first call. It fails for a
// participant without an address and for an address of no participant.
func Dial(addrs map[string]string, tls mtls.Config) (Peers, error) {
	unknown := maps.Clone(addrs)
	var peers Peers
	var failed []error
	for _, p := range All() {
		delete(unknown, p.Name)
		conn, err := service.Dial(addrs[p.Name], tls)
		if err != nil {
			failed = append(failed, fmt.Errorf("peers.%s: %w", p.Name, err))
		}
		peers = append(peers, Peer{p, addrs[p.Name], conn})
	}
	for _, name := range slices.Sorted(maps.Keys(unknown)) {
		failed = append(failed, fmt.Errorf("peers.%s: no participant has this name", name))
	}
	return peers, errors.Join(failed...)
}

// Conn is the connection to the participant called name; nil when there is none.
func (p Peers) Conn(name string) grpc.ClientConnInterface {
	for _, peer := range p {
		if peer.Name == name {
			return peer.Conn
		}
	}
	return nil
}
