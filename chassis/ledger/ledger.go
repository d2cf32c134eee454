// Package ledger opens a service's books to the conservation check: what is wrong within its own database, and what it believes about settled
// orders, in a form that lets two services compare a million orders by 4096 numbers.
package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
)

// Ledger is the books of one service: read from its own database (NewServer serves it), or from another service (NewClient).
type Ledger interface {
	// Check checks the service's own rules against its database. What has been open for at least open is a violation.
	Check(ctx context.Context, open time.Duration) ([]Check, error)
	// Digest returns the sum of the settled facts.
	Digest(ctx context.Context) (*Digest, error)
	// OfBuckets returns the facts of all orders in buckets, by order id.
	OfBuckets(ctx context.Context, buckets []int) ([]Fact, error)
	// OfSubjects returns the facts of up to MaxSubjects orders, by order id.
	OfSubjects(ctx context.Context, ids []string) ([]Fact, error)
}

const (
	// MaxViolations is how many rows a check names at most.
	MaxViolations = 100
	// MaxSubjects is how many orders OfSubjects takes at most.
	MaxSubjects = 1000
)

// Check is one rule and the rows that break it.
type Check struct {
	Name string
	// Checked is how many rows the rule was checked on.
	Checked int64
	// Violations name one row each and what is wrong with it.
	Violations []string
}

// Violate records a row that breaks the rule. After MaxViolations it does nothing.
func (c *Check) Violate(format string, args ...any) {
	if !c.Full() {
		c.Violations = append(c.Violations, fmt.Sprintf(format, args...))
	}
}

// Full reports whether the check names no further rows.
func (c *Check) Full() bool { return len(c.Violations) >= MaxViolations }

// Fact is one row about an order, whatever its status.
type Fact struct {
	Subject string
	// Fact must agree with the order: inventory "sku|quantity", credit the points, wms what the order was told of the parcel.
	Fact   string
	Status string
	// Settled says that the row means a paid and not refunded order. Only such facts are in the digest.
	Settled bool
	// Age is the time since the row last changed, by the database's clock, in whole seconds.
	Age time.Duration
}

// Buckets is how many parts a digest has.
const Buckets = 4096

// Digest is the sum of facts by the bucket of their order. Equal digests were made of the same facts, in any sequence; the chance that they were
// not is 2^-64 a bucket.
type Digest [Buckets]Sum

// Sum is one bucket of a digest.
type Sum struct {
	Count int64
	// Hash is the XOR of the facts' hashes.
	Hash uint64
}

// Bucket returns the bucket of an order. In SQL it is
//
//	CRC32(order_id) & 4095
func Bucket(subject string) int { return int(crc32.ChecksumIEEE([]byte(subject)) % Buckets) }

// Add adds a fact about an order. Its hash can be computed in SQL too, on MariaDB and on MySQL:
//
//	BIT_XOR(CAST(CONV(LEFT(SHA2(CONCAT(order_id, '|', fact), 256), 16), 16, 10) AS UNSIGNED))
//
// It is not CRC32, which is linear: two orders that exchanged their quantities would cancel each other out.
func (d *Digest) Add(subject, fact string) {
	b := make([]byte, 0, 128)
	b = append(append(append(b, subject...), '|'), fact...)
	sum := sha256.Sum256(b)
	s := &d[Bucket(subject)]
	s.Count++
	s.Hash ^= binary.BigEndian.Uint64(sum[:])
}

// Merge adds other, which must hold other facts than d.
func (d *Digest) Merge(other *Digest) {
	for i := range d {
		d[i].Count += other[i].Count
		d[i].Hash ^= other[i].Hash
	}
}

// Count returns how many facts were added.
func (d *Digest) Count() (n int64) {
	for _, s := range d {
		n += s.Count
	}
	return n
}

// Differing returns the buckets in which d and other differ.
func (d *Digest) Differing(other *Digest) []int {
	var buckets []int
	for i := range d {
		if d[i] != other[i] {
			buckets = append(buckets, i)
		}
	}
	return buckets
}
