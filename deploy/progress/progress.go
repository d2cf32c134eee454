// Package progress shows a person what a command is doing: one line for each step, with the seconds it took. On a terminal the line of the step
// under way is rewritten in place.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	titleWidth = 10
	lineWidth  = 76
	// quiet is how long a step may say nothing when there is no terminal.
	quiet = 15 * time.Second
)

// Log writes steps to one writer.
type Log struct {
	w        io.Writer
	terminal bool
}

// New returns a Log that writes to w, or nowhere when w is nil.
func New(w io.Writer) *Log {
	if w == nil {
		w = io.Discard
	}
	return &Log{w: w, terminal: Terminal(w)}
}

// Terminal reports whether w is a terminal.
func Terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" || os.Getenv("CI") != "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

// Color reports whether w shows colors: it is a terminal, and NO_COLOR is not set (no-color.org).
func Color(w io.Writer) bool { return Terminal(w) && os.Getenv("NO_COLOR") == "" }

// Warn writes a line about something that ends nothing yet. No step may be under way.
func (l *Log) Warn(text string) {
	mark := "!"
	if Color(l.w) {
		mark = "\033[33m!\033[0m"
	}
	_, _ = fmt.Fprintf(l.w, "  %s %s\n", mark, text)
}

// Say writes a line about a step that is to come or under way, as how much it downloads.
func (l *Log) Say(title, format string, args ...any) {
	clear := ""
	if l.terminal {
		clear = "\r\033[K"
	}
	_, _ = fmt.Fprintf(l.w, "%s  · %-*s %s\n", clear, titleWidth, title, fmt.Sprintf(format, args...))
}

// Step is one step under way. Its methods may be called from any goroutine.
type Step struct {
	log   *Log
	title string
	start time.Time
	done  chan struct{}

	mu   sync.Mutex
	note string
}

// Step begins a step. End it with Done or Fail.
func (l *Log) Step(title string) *Step {
	s := &Step{log: l, title: title, start: time.Now(), done: make(chan struct{})}
	if l.terminal {
		go s.every(100*time.Millisecond, func(i int) { _, _ = fmt.Fprint(l.w, "\r\033[K", s.line(frames[i%len(frames)], s.note)) })
	} else {
		go s.every(quiet, func(int) { _, _ = fmt.Fprintln(l.w, s.line("…", s.note)) })
	}
	return s
}

// Note shows what the step is doing.
func (s *Step) Note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.note = fmt.Sprintf(format, args...)
}

// Done ends the step with its result.
func (s *Step) Done(format string, args ...any) {
	s.end("✓", "\033[32m✓\033[0m", fmt.Sprintf(format, args...))
}

// Fail ends the step. The caller shows the error.
func (s *Step) Fail() { s.end("✗", "\033[31m✗\033[0m", "failed") }

func (s *Step) end(mark, colored, text string) {
	close(s.done)
	s.mu.Lock()
	defer s.mu.Unlock()
	line := s.line(mark, text)
	if s.log.terminal {
		if Color(s.log.w) {
			line = strings.Replace(line, mark, colored, 1)
		}
		line = "\r\033[K" + line
	}
	_, _ = fmt.Fprintln(s.log.w, line)
}

var frames = strings.Split("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "")

// every calls show with 0, 1, … at each pause until the step has ended.
func (s *Step) every(pause time.Duration, show func(i int)) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-s.done:
			return
		case <-tick.C:
		}
		s.mu.Lock()
		select {
		case <-s.done: // end waited for the lock and writes the last line
		default:
			show(i)
		}
		s.mu.Unlock()
	}
}

// line is "  ✓ title      text          1.2 s", cut to one terminal line.
func (s *Step) line(mark, text string) string {
	seconds := fmt.Sprintf("%.1f s", time.Since(s.start).Seconds())
	line := fmt.Sprintf("  %s %-*s ", mark, titleWidth, s.title)
	room := lineWidth - utf8.RuneCountInString(line) - 1 - len(seconds)
	if r := []rune(text); len(r) > room {
		text = string(r[:room-1]) + "…"
	}
	return line + text + strings.Repeat(" ", room-utf8.RuneCountInString(text)+1) + seconds
}

// Tail returns the last n lines of text.
func Tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
