package reconcile

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/fourfold/chassis/ledger"
	"example.com/fourfold/order/internal/order"
	"example.com/fourfold/order/internal/participant"
)

// Peer is a participant with whose books order's are compared.
type Peer struct {
	participant.Participant
	Ledger ledger.Ledger
}

func (p Peer) silent(err error) error {
	if err != nil {
		return Silent{p.Name, err}
	}
	return nil
}

// verdict is the result of judging one order on both sides.
type verdict int

const (
	fits verdict = iota
	// missing: the order is PAID or later, and the peer says something else.
	missing
	// unpaid: the peer has said for at least open that the order is paid, and it is not.
	unpaid
	// behind: the peer is at a later stage, both have not changed for at least open, and the order has not followed.
	behind
	// ahead: the order is at a later stage than the peer, which it follows.
	ahead
)

// judge compares one order with what p says about it.
func (p Peer) judge(r order.Record, facts []ledger.Fact, open time.Duration) verdict {
	var settled []string
	old := false
	for _, f := range facts {
		if f.Settled {
			settled = append(settled, f.Fact)
			old = old || f.Age >= open
		}
	}
	slices.Sort(settled)
	switch {
	case r.Status.Settled():
		want := p.Facts(r)
		switch step := p.stage(settled) - p.stage(want); {
		case slices.Equal(settled, want):
		case p.stage(settled) < 0:
			return missing
		case step < 0:
			return ahead
		case old && r.Age >= open:
			return behind
		}
	case r.Status == order.Refunding: // taken back or not yet
	case old:
		return unpaid
	}
	return fits
}

// stage returns which of p's stages facts are, -1 for none.
func (p Peer) stage(facts []string) int {
	if len(facts) != 1 {
		return -1
	}
	return slices.Index(p.Stages, facts[0])
}

// comparison is the state of the comparison with one peer.
type comparison struct {
	*Comparator
	Peer
	open                         time.Duration
	paidMeans, meanPaid, follows ledger.Check
}

// checks returns the checks that the comparison fills in.
func (k *comparison) checks() []*ledger.Check {
	if k.Stages == nil {
		return []*ledger.Check{&k.paidMeans, &k.meanPaid}
	}
	return []*ledger.Check{&k.paidMeans, &k.meanPaid, &k.follows}
}

// compare compares order's digest, which was read before, with p's, and looks at every order of the buckets that differ.
func (c *Comparator) compare(ctx context.Context, p Peer, ours *ledger.Digest, settled int64, open time.Duration) ([]ledger.Check, error) {
	theirs, err := p.Ledger.Digest(ctx)
	if err != nil {
		return nil, p.silent(err)
	}
	k := comparison{
		Comparator: c, Peer: p, open: open,
		paidMeans: ledger.Check{Name: fmt.Sprintf("order and %s: PAID or later means %s", p.Name, p.Settled), Checked: settled},
		meanPaid:  ledger.Check{Name: fmt.Sprintf("order and %s: %s means PAID or later", p.Name, p.Settled), Checked: theirs.Count()},
	}
	if p.Stages != nil {
		k.follows = ledger.Check{
			Name: fmt.Sprintf("order and %s: the order follows %s", p.Name, strings.Join(p.Stages[1:], ", ")), Checked: settled,
		}
	}
	checks := k.checks()
	for differing := ours.Differing(theirs); len(differing) > 0; {
		n := some(differing, ours, theirs)
		suspects, err := k.suspects(ctx, differing[:n])
		if err == nil {
			err = k.accuse(ctx, suspects)
		}
		if err != nil {
			return nil, err
		}
		differing = differing[n:]
		if len(differing) > 0 && slices.ContainsFunc(checks, (*ledger.Check).Full) {
			for _, c := range checks {
				c.Violate("and maybe more: of %d buckets nothing was read any more", len(differing))
			}
			break
		}
	}
	done := make([]ledger.Check, len(checks))
	for i, c := range checks {
		done[i] = *c
	}
	return done, nil
}

// atOnce is roughly how many rows are read in one call.
const atOnce = 10_000

// some returns how many of the buckets to read at once, at least one.
func some(buckets []int, ours, theirs *ledger.Digest) int {
	rows := int64(0)
	for i, b := range buckets {
		if rows += max(ours[b].Count, theirs[b].Count); rows > atOnce && i > 0 {
			return i
		}
	}
	return len(buckets)
}

// suspect is an order that looks wrong at first sight.
type suspect struct {
	verdict verdict
	record  order.Record
}

// suspects reads the orders of buckets, and after that what the peer says about them.
func (k *comparison) suspects(ctx context.Context, buckets []int) (map[string]suspect, error) {
	records, err := k.store.OfBuckets(ctx, buckets)
	if err != nil {
		return nil, err
	}
	list, err := k.Ledger.OfBuckets(ctx, buckets)
	if err != nil {
		return nil, k.silent(err)
	}
	facts := byOrder(list)
	suspects := map[string]suspect{}
	look := func(id string) {
		if v := k.judge(records[id], facts[id], k.open); v != fits {
			suspects[id] = suspect{v, records[id]}
		}
	}
	for id := range records {
		look(id)
	}
	for id := range facts {
		if _, seen := records[id]; !seen {
			look(id)
		}
	}
	return suspects, nil
}

// accuse reads both sides of the suspects again, the peer's first, and reports those that look the same as before. For these, order said the
// same before and after the peer was read, so it said so at that moment too.
func (k *comparison) accuse(ctx context.Context, suspects map[string]suspect) error {
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(suspects)), ledger.MaxSubjects) {
		list, err := k.Ledger.OfSubjects(ctx, ids)
		if err != nil {
			return k.silent(err)
		}
		records, err := k.store.OfIDs(ctx, ids)
		if err != nil {
			return err
		}
		facts := byOrder(list)
		for _, id := range ids {
			before, now := suspects[id], records[id]
			if k.judge(now, facts[id], k.open) != before.verdict {
				continue
			}
			switch before.verdict {
			case missing:
				k.paidMeans.Violate("order %s: %s with %s; %s has %s", id, now.Status, k.expected(now), k.Name, said(facts[id]))
			case behind, ahead:
				k.follows.Violate("order %s: %s; %s has %s", id, now.Status, k.Name, said(facts[id]))
			case unpaid:
				if now.Status == before.record.Status && now.GID == before.record.GID {
					k.meanPaid.Violate("order %s: %s; %s has %s", id, standing(now.Status), k.Name, said(facts[id]))
				}
			}
		}
	}
	return nil
}

func byOrder(facts []ledger.Fact) map[string][]ledger.Fact {
	m := map[string][]ledger.Fact{}
	for _, f := range facts {
		m[f.Subject] = append(m[f.Subject], f)
	}
	return m
}

// expected and said return texts for people.
func (p Peer) expected(r order.Record) string {
	if text := strings.Join(p.Facts(r), ", "); text != "" {
		return text
	}
	return "a slip"
}

func said(facts []ledger.Fact) string {
	if len(facts) == 0 {
		return "nothing"
	}
	texts := make([]string, len(facts))
	for i, f := range facts {
		texts[i] = f.Status
		if f.Fact != f.Status {
			texts[i] = strings.TrimSpace(f.Fact + " " + f.Status)
		}
	}
	return strings.Join(texts, ", ")
}
