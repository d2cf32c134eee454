// Command conserve asks a running stack whether its books add up, and shows what each check found.
//
//	conserve [-demo var/demo.json] [-open 60s]
//
// It exits with 0 when the books add up, 1 when they do not, and 2 when it could not find out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"example.com/fourfold/e2e/internal/api"
)

func main() {
	demo := flag.String("demo", "var/demo.json", "what `make up` wrote about the stack")
	open := flag.Duration("open", time.Minute, "how long something may be on its way before it counts as wrong")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	report, err := ask(ctx, *demo, *open)
	if err != nil {
		fmt.Fprintln(os.Stderr, "conserve:", err)
		os.Exit(2)
	}
	report.write(os.Stdout)
	if !report.OK {
		os.Exit(1)
	}
}

// report is the answer of GET /v1/ops/conservation.
type report struct {
	OK     bool    `json:"ok"`
	TookMS int64   `json:"took_ms"`
	Checks []check `json:"checks"`
}

type check struct {
	Name       string   `json:"name"`
	OK         bool     `json:"ok"`
	Checked    int64    `json:"checked"`
	Violations []string `json:"violations"`
}

// ask makes the stack that the file demo describes check its books.
func ask(ctx context.Context, demo string, open time.Duration) (report, error) {
	c, err := api.Operator(ctx, demo)
	if err != nil {
		return report{}, err
	}
	var r report
	if err := c.Call(ctx, http.MethodGet, fmt.Sprintf("/v1/ops/conservation?open_seconds=%d", max(1, int(open.Seconds()))), nil,
		&r); err != nil {
		return report{}, err
	}
	if len(r.Checks) == 0 {
		return report{}, errors.New("the answer holds no check")
	}
	return r, nil
}

// write writes one line for each check, and under it the rows that break it.
func (r report) write(w io.Writer) {
	name, number := 0, 0
	for _, c := range r.Checks {
		name = max(name, utf8.RuneCountInString(c.Name))
		number = max(number, len(grouped(c.Checked)))
	}
	_, _ = fmt.Fprintf(w, "\n    %-*s  %*s\n  %s\n", name, "check", max(number, len("rows")), "rows", strings.Repeat("─", name+max(number, 4)+4))
	broken := 0
	for _, c := range r.Checks {
		mark := "✓"
		if !c.OK {
			mark = "✗"
			broken++
		}
		_, _ = fmt.Fprintf(w, "  %s %-*s  %*s\n", mark, name, c.Name, max(number, len("rows")), grouped(c.Checked))
		for _, v := range c.Violations {
			_, _ = fmt.Fprintf(w, "      %s\n", v)
		}
	}
	took := time.Duration(r.TookMS) * time.Millisecond
	if r.OK {
		_, _ = fmt.Fprintf(w, "\n  The books add up: %d checks in %s.\n", len(r.Checks), took)
		return
	}
	_, _ = fmt.Fprintf(w, "\n  The books do not add up: %d of %d checks found something, in %s.\n", broken, len(r.Checks), took)
}

// grouped formats n in groups of three digits.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
