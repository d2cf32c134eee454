// Package books lets a service open its books to the conservation check: what is wrong within its own database, and what it
// believes about settled orders, in a form in which two services compare a million of them by 4096 numbers.
package books

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
)

// Ledger is the books of one service: of its own database (NewServer serves it), or of another service (NewClient).
type Ledger interface {
	// Check holds the service's own rules against its database. What stays open for at least so long is a violation.
	Check(ctx context.Context, open time.Duration) ([]Check, error)
	// Digest sums up the facts that are settled.
	Digest(ctx context.Context) (*Digest, error)
	// OfBuckets gives the facts of all orders in buckets, by order id.
	OfBuckets(ctx context.Context, buckets []int) ([]Fact, error)
	// OfOrders gives the facts of up to MaxOrders orders, by order id.
	OfOrders(ctx context.Context, ids []string) ([]Fact, error)
}

const (
	// MaxViolations is how many rows a check names.
	MaxViolations = 100
	// MaxOrders is how many orders OfOrders takes.
	MaxOrders = 1000
)

// Check is one rule and the rows that break it.
type Check struct {
	Name string
	// Checked is how many rows the rule was held against.
	Checked int64
	// Violations name a row and what is wrong with it.
	Violations []string
}

// Violate notes a row that breaks the rule; beyond MaxViolations none.
func (c *Check) Violate(format string, args ...any) {
	if !c.Full() {
		c.Violations = append(c.Violations, fmt.Sprintf(format, args...))
	}
}

// Full tells that the check names no further rows.
func (c *Check) Full() bool { return len(c.Violations) >= MaxViolations }

// Fact is one row about an order, whatever its status.
type Fact struct {
	OrderID string
	// Fact has to agree with the order: inventory "sku|quantity", credit the points, wms nothing.
	Fact   string
	Status string
	// Settled: the row means that the order is paid and not refunded. It is in the digest.
	Settled bool
	// Age is the time since the row changed last, by the database's clock, in whole seconds.
	Age time.Duration
}

// Buckets is how many parts a digest has.
const Buckets = 4096

// Digest sums up facts by bucket of their order. Two that are equal were made of the same facts, whatever their sequence; that
// they are not has a chance of 2^-64 a bucket.
type Digest [Buckets]Sum

// Sum is one bucket of a digest.
type Sum struct {
	Count int64
	// Hash is the XOR of the facts' hashes.
	Hash uint64
}

// Bucket gives the bucket of an order, in SQL:
//
//	CRC32(order_id) & 4095
func Bucket(orderID string) int { return int(crc32.ChecksumIEEE([]byte(orderID)) % Buckets) }

// Add puts in a fact about an order. The hash is one that SQL knows, on MariaDB and on MySQL:
//
//	BIT_XOR(CAST(CONV(LEFT(SHA2(CONCAT(order_id, '|', fact), 256), 16), 16, 10) AS UNSIGNED))
//
// Not CRC32: it is linear, so that two orders which exchange their quantities would cancel each other out.
func (d *Digest) Add(orderID, fact string) {
	b := make([]byte, 0, 128)
	b = append(append(append(b, orderID...), '|'), fact...)
	sum := sha256.Sum256(b)
	s := &d[Bucket(orderID)]
	s.Count++
	s.Hash ^= binary.BigEndian.Uint64(sum[:])
}

// Merge adds all of other, whose facts are others.
func (d *Digest) Merge(other *Digest) {
	for i := range d {
		d[i].Count += other[i].Count
		d[i].Hash ^= other[i].Hash
	}
}

// Count is how many facts went in.
func (d *Digest) Count() (n int64) {
	for _, s := range d {
		n += s.Count
	}
	return n
}

// Differing gives the buckets in which d and other differ.
func (d *Digest) Differing(other *Digest) []int {
	var buckets []int
	for i := range d {
		if d[i] != other[i] {
			buckets = append(buckets, i)
		}
	}
	return buckets
}
