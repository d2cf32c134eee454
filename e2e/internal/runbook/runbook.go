// Package runbook reads docs/runbook.md, and which alerts the services raise, so that tests hold the two together.
package runbook

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
)

// Page is the runbook.
type Page struct {
	// Sections are the headings as links name them.
	Sections []string
	// Commands are the lines of a section's fenced blocks.
	Commands map[string][]string
}

// Read reads the runbook of the repository at root.
func Read(root string) (Page, error) {
	f, err := os.Open(filepath.Join(root, "docs", "runbook.md"))
	if err != nil {
		return Page{}, err
	}
	defer func() { _ = f.Close() }()
	p := Page{Commands: map[string][]string{}}
	section, fenced := "", false
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := lines.Text()
		heading, isHeading := strings.CutPrefix(line, "## ")
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
		case fenced && line != "":
			p.Commands[section] = append(p.Commands[section], line)
		case isHeading:
			section = strings.ReplaceAll(strings.ToLower(heading), " ", "-")
			p.Sections = append(p.Sections, section)
		}
	}
	return p, lines.Err()
}
