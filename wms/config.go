package main

import (
	_ "embed"
	"errors"

	"example.com/fourfold/chassis/mysql"
	"example.com/fourfold/chassis/service"
	"example.com/fourfold/chassis/tcc"
	"example.com/fourfold/wms/internal/relay"
)

//go:embed config.yaml
var defaults []byte

type config struct {
	service.Config
	BranchKeys string `json:"branch_keys"`
	// KeepBarrier is tcc.MinKeepBarrier at least, 0 for ever.
	KeepBarrier service.Duration `json:"keep_barrier"`
	// KeepEvents is how long an event stays in the outbox when it has been delivered, 0 for ever. One that has not stays.
	KeepEvents service.Duration `json:"keep_events"`
	MySQL      mysql.Config     `json:"mysql"`
	Peers      struct {
		Order string `json:"order"`
	} `json:"peers"`
	Relay struct {
		Every        service.Duration `json:"every"`
		Call         service.Duration `json:"call"`
		Lease        service.Duration `json:"lease"`
		LongestPause service.Duration `json:"longest_pause"`
		Alert        service.Duration `json:"alert"`
	} `json:"relay"`
}

func (c config) relayTimes() relay.Times {
	return relay.Times{
		Every: c.Relay.Every.D(), Call: c.Relay.Call.D(), Lease: c.Relay.Lease.D(), LongestPause: c.Relay.LongestPause.D(),
		Alert: c.Relay.Alert.D(),
	}
}

// retention is what is deleted when it is old.
func (c config) retention() ([]mysql.Retention, error) {
	barrier, err := tcc.BarrierRetention(c.KeepBarrier.D())
	return []mysql.Retention{barrier, {Table: "outbox", Column: "delivered_at", Keep: c.KeepEvents.D()}}, err
}

// check refuses times under which two relays would send the same event at once.
func (c config) check() error {
	if t := c.relayTimes(); t.Every <= 0 || t.Call <= 0 || t.Lease <= 2*t.Call || t.LongestPause < t.Every {
		return errors.New("relay: every and call above 0, lease above twice call, longest_pause at least every")
	}
	return nil
}
