package demo

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Table is one payment in numbers, all of them read from the running system.
type Table struct {
	Order      string    `json:"order"`
	TotalCents int64     `json:"total_cents"`
	Points     int64     `json:"points"`
	At         time.Time `json:"at"`
	Before     Numbers   `json:"before"`
	Tried      Numbers   `json:"after_try"`
	After      Numbers   `json:"after"`
	// Reason is why the order is CANCELED, else empty.
	Reason string `json:"reason"`
	// Took is how long the payment took without Held, for which it was held still to read the numbers in the middle.
	Took time.Duration `json:"took_ns"`
	Held time.Duration `json:"held_ns"`
}

const (
	tableWidth = 72
	bold       = "\033[1m"
	plain      = "\033[0m"
)

// Write shows the payment under a title; on a terminal with the numbers that changed in bold.
func (t Table) Write(w io.Writer, title string, terminal bool) {
	_, _ = fmt.Fprintf(w, "\n  %s: %d × %s at %s, %d points\n  order %s\n\n",
		title, quantity, sku, money(t.TotalCents/quantity), t.Points, t.Order)
	last := "after Confirm"
	if t.Reason != "" {
		last = "after Cancel"
	}
	line := func(participant, what string, cells ...string) {
		var b strings.Builder
		fmt.Fprintf(&b, "  %-13s%-20s", participant, what)
		for i, cell := range cells {
			padded := fmt.Sprintf("%-13s", cell)
			if terminal && i > 0 && cell != cells[i-1] && participant+what != "participant" {
				padded = bold + padded + plain
			}
			b.WriteString(padded)
		}
		_, _ = fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	count := func(of func(Numbers) int64) (cells []string) {
		for _, n := range []Numbers{t.Before, t.Tried, t.After} {
			cells = append(cells, fmt.Sprint(of(n)))
		}
		return cells
	}
	line("participant", "", "before", "after Try", last)
	_, _ = fmt.Fprintln(w, "  "+strings.Repeat("─", tableWidth))
	line("order", "status", t.Before.Order, t.Tried.Order, t.After.Order)
	line("inventory", "sellable", count(func(n Numbers) int64 { return n.Sellable })...)
	line("", "frozen", count(func(n Numbers) int64 { return n.Frozen })...)
	line("credit", "credit", count(func(n Numbers) int64 { return n.Credit })...)
	line("", "prepare_add_credit", count(func(n Numbers) int64 { return n.PrepareAddCredit })...)
	line("wms", "slip", t.Before.Slip, t.Tried.Slip, t.After.Slip)
	outcome := fmt.Sprintf("%s in %d ms, and %d ms held still to read the column in the middle.",
		t.After.Order, t.Took.Milliseconds(), t.Held.Milliseconds())
	if t.Reason != "" {
		outcome = fmt.Sprintf("%s: %s. All four or none: what was held is given back.", t.After.Order, t.Reason)
	}
	_, _ = fmt.Fprintf(w, "\n  %s\n", outcome)
}

func money(cents int64) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }
