package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// ErrBooks is returned by Tell and Outage when the books of the four services do not add up.
var ErrBooks = errors.New("the books do not add up: `make conserve` shows all checks")

// report is the answer of GET /v1/ops/conservation.
type report struct {
	OK     bool  `json:"ok"`
	TookMS int64 `json:"took_ms"`
	Checks []struct {
		Name       string   `json:"name"`
		OK         bool     `json:"ok"`
		Checked    int64    `json:"checked"`
		Violations []string `json:"violations"`
	} `json:"checks"`
}

// close shows the numbers and the books as they are now.
func (d *Demo) close(ctx context.Context, p page) error {
	var now Numbers
	if err := d.balances(ctx, &now); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(p.w, "\n  %s    %s\n", p.in(bold, "Now"), now)
	return d.books(ctx, p)
}

// books shows whether the books add up.
func (d *Demo) books(ctx context.Context, p page) error {
	var r report
	if err := d.operator.do(ctx, http.MethodGet, "/v1/ops/conservation", nil, &r); err != nil {
		return err
	}
	return r.write(p)
}

// write writes one line when the books add up. Otherwise it writes the rows that are wrong and returns ErrBooks.
func (r report) write(p page) error {
	var rows int64
	failed := 0
	for _, c := range r.Checks {
		rows += c.Checked
		if !c.OK {
			failed++
		}
	}
	if r.OK && failed == 0 && len(r.Checks) > 0 {
		p.line("%s  %s %d checks over %d rows of all four services in %d ms",
			p.in(bold, "Books"), p.in(green, "every one ok:"), len(r.Checks), rows, r.TookMS)
		return nil
	}
	p.line("%s  %s %d of %d checks over %d rows", p.in(bold, "Books"), p.in(red, "WRONG:"), failed, len(r.Checks), rows)
	for _, c := range r.Checks {
		for _, v := range c.Violations {
			p.line("       %s: %s", c.Name, v)
		}
	}
	return ErrBooks
}
