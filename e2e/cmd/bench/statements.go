package main

import (
	"context"
	"database/sql"
	"errors"
	"regexp"
	"slices"
	"strings"
)

// said is a statement that a service or the coordinator sent to its database, as it was sent.
type said struct{ database, text string }

// listen returns what the services and the coordinator say to their databases while f runs: of statements that differ only in their values the
// first, and the longest, because the plan for many rows may be another one.
func (s *shop) listen(ctx context.Context, f func() error) (all []said, err error) {
	for _, statement := range []string{"SET GLOBAL log_output = 'TABLE'", "TRUNCATE mysql.general_log", "SET GLOBAL general_log = ON"} {
		if _, err := s.root.ExecContext(ctx, statement); err != nil {
			return nil, err
		}
	}
	err = f()
	_, off := s.root.ExecContext(context.WithoutCancel(ctx), "SET GLOBAL general_log = OFF")
	if err = errors.Join(err, off); err != nil {
		return nil, err
	}
	rows, err := s.root.QueryContext(ctx, `SELECT SUBSTRING_INDEX(user_host, '[', 1), argument FROM mysql.general_log
		WHERE command_type IN ('Query', 'Execute') AND user_host NOT LIKE 'root[%'`)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	first, longest := map[said]string{}, map[said]string{} // by digest
	for rows.Next() {
		var user string
		var packet sql.RawBytes
		if err := rows.Scan(&user, &packet); err != nil {
			return nil, err
		}
		for _, text := range split(string(packet)) {
			k := said{"shop_" + user, digest(text)}
			if first[k] == "" {
				first[k] = text
			}
			if len(text) > len(longest[k]) {
				longest[k] = text
			}
		}
	}
	for k, text := range first {
		all = append(all, said{k.database, text})
		if longest[k] != text {
			all = append(all, said{k.database, longest[k]})
		}
	}
	slices.SortFunc(all, func(a, b said) int {
		return strings.Compare(a.database+digest(a.text)+a.text, b.database+digest(b.text)+b.text)
	})
	return all, rows.Err()
}

// split returns the statements of a packet, without what separates them.
func split(packet string) (all []string) {
	from, quote := 0, byte(0)
	add := func(text string) {
		if text = strings.TrimSpace(text); text != "" {
			all = append(all, text)
		}
	}
	for i := 0; i < len(packet); i++ {
		switch c := packet[i]; {
		case quote != 0 && c == '\\' && quote != '`':
			i++
		case quote != 0:
			if c == quote {
				quote = 0 // a doubled one begins the next text at once
			}
		case c == '\'' || c == '"' || c == '`':
			quote = c
		case c == ';':
			add(packet[from:i])
			from = i + 1
		}
	}
	add(packet[from:])
	return all
}

var (
	comment = regexp.MustCompile(`(?s)/\*.*?\*/|--[^\n]*\n`)
	text    = regexp.MustCompile(`(?s)(?:_binary)?'(?:[^'\\]|\\.|'')*'`)
	number  = regexp.MustCompile(`\b\d+(?:\.\d+)?\b`)
	list    = regexp.MustCompile(`\(\s*-?\?(?:\s*,\s*-?\?)*\s*\)`)
	lists   = regexp.MustCompile(`\(…\)(?:\s*,\s*\(…\))+`)
	blanks  = regexp.MustCompile(`\s+`)
)

// digest returns a statement without its values.
func digest(statement string) string {
	for _, r := range []struct {
		what *regexp.Regexp
		by   string
	}{{text, "?"}, {comment, ""}, {number, "?"}, {list, "(…)"}, {lists, "(…)"}, {blanks, " "}} {
		statement = r.what.ReplaceAllString(statement, r.by)
	}
	return strings.TrimSpace(statement)
}
