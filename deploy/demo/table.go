package demo

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// column is one moment.
type column struct {
	title string
	Numbers
}

// row is one number of a participant. It is "" where a record does not have it.
type row struct {
	participant, what string
	of                func(Numbers) string
}

var (
	statusRow   = row{"order", "status", func(n Numbers) string { return n.Order }}
	sellableRow = row{"inventory", "sellable", func(n Numbers) string { return fmt.Sprint(n.Sellable) }}
	frozenRow   = row{"inventory", "frozen", func(n Numbers) string { return fmt.Sprint(n.Frozen) }}
	soldRow     = row{"inventory", "sold", func(n Numbers) string {
		if n.Freeze == "" {
			return ""
		}
		return fmt.Sprint(n.Sold)
	}}
	freezeRow        = row{"inventory", "freeze", func(n Numbers) string { return n.Freeze }}
	creditRow        = row{"credit", "credit", func(n Numbers) string { return fmt.Sprint(n.Credit) }}
	prepareAddRow    = row{"credit", "prepare_add_credit", func(n Numbers) string { return fmt.Sprint(n.PrepareAddCredit) }}
	prepareDeductRow = row{"credit", "prepare_deduct_credit", func(n Numbers) string { return fmt.Sprint(n.PrepareDeductCredit) }}
	slipRow          = row{"wms", "slip", func(n Numbers) string { return n.Slip }}
)

// A table is less than 80 columns wide.
const (
	participantWidth = 11
	whatWidth        = 23
	columnsWidth     = 43
)

// leastWidth is the least width of a column, by how many columns there are.
var leastWidth = map[int]int{3: 14, 4: 9}

const (
	bold  = "\033[1m"
	dim   = "\033[2m"
	green = "\033[32m"
	red   = "\033[31m"
	plain = "\033[0m"
)

// page is what people read. Nothing on it depends on color alone.
type page struct {
	w     io.Writer
	color bool
}

func (p page) in(style, text string) string {
	if !p.color || text == "" {
		return text
	}
	return style + text + plain
}

// line writes one sentence.
func (p page) line(format string, args ...any) {
	_, _ = fmt.Fprintf(p.w, "  "+format+"\n", args...)
}

// columns opens a list of what happened: what, by whom and when.
func (p page) columns(what, by, when string) {
	p.line("%-34s%-26s%s", what, by, when)
	p.line("%s", p.in(dim, strings.Repeat("─", participantWidth+whatWidth+columnsWidth)))
}

// entry writes one line of such a list, and note what belongs to the line above it.
func (p page) entry(who, what, by, when string) {
	p.line("%s", strings.TrimRight(fmt.Sprintf("%-11s%-23s%-26s%s", who, what, by, when), " "))
}
func (p page) note(text string) { p.line("%-11s%s", "", p.in(dim, text)) }

// heading opens a section about one order.
func (p page) heading(title, note, order string) {
	_, _ = fmt.Fprintf(p.w, "\n  %s\n  %s\n  %s\n\n", p.in(bold, title), note, p.in(dim, "order "+order))
}

// outcome writes the order's last status with a sentence about it.
func (p page) outcome(status, text string) {
	style := green
	if status == "CANCELED" {
		style, status = red, status+":"
	} else if !strings.HasPrefix(text, "in ") {
		status += "."
	}
	_, _ = fmt.Fprintf(p.w, "\n  %s %s\n", p.in(style, status), text)
}

// table writes one row for each number and one column for each moment. With color, what changed stands out.
func (p page) table(rows []row, columns ...column) {
	widths := make([]int, len(columns))
	title := p.pad("participant", participantWidth+whatWidth)
	for i, c := range columns {
		widths[i] = max(leastWidth[len(columns)], len(c.title)+1)
		for _, r := range rows {
			widths[i] = max(widths[i], len(r.of(c.Numbers))+2)
		}
		title += p.pad(c.title, widths[i])
	}
	p.line("%s", strings.TrimRight(title, " "))
	p.line("%s", p.in(dim, strings.Repeat("─", participantWidth+whatWidth+columnsWidth)))
	participant := ""
	for _, r := range rows {
		if r.of(columns[0].Numbers) == "" {
			continue
		}
		text := p.pad("", participantWidth)
		if r.participant != participant {
			text, participant = p.pad(r.participant, participantWidth), r.participant
		}
		text += p.pad(r.what, whatWidth)
		for i, c := range columns {
			cell, style := r.of(c.Numbers), ""
			if i > 0 {
				style = dim
				if cell != r.of(columns[i-1].Numbers) {
					style = bold
				}
			}
			space := ""
			if i < len(columns)-1 {
				space = strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			}
			if style != "" {
				cell = p.in(style, cell)
			}
			text += cell + space
		}
		p.line("%s", text)
	}
}

func (p page) pad(text string, width int) string { return fmt.Sprintf("%-*s", width, text) }

func money(cents int64) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }

// millis says how long after an answer something was; what happened while the answer was under way counts as 0.
func millis(d time.Duration) string { return fmt.Sprintf("%d ms", max(0, d.Milliseconds())) }
