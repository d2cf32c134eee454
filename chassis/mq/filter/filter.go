// Package filter parses and evaluates conditions on an event's properties, in the part of SQL92 that brokers understand.
package filter

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Filter is a parsed condition.
type Filter struct{ is predicate }

// Matches reports whether the condition is true for properties. A comparison with a missing property is neither true nor false.
func (f Filter) Matches(properties map[string]string) bool { return f.is(properties) == yes }

// truth is a truth value of SQL: a comparison with a missing property is neither true nor false.
type truth int

const (
	no truth = iota
	unknown
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

// predicate is a parsed filter.
type predicate func(properties map[string]string) truth

// Parse reads AND, OR, NOT, parentheses, =, <>, <, <=, >, >=, [NOT] BETWEEN, [NOT] IN and IS [NOT] NULL, over properties, 'strings' and numbers.
// A property that is compared with a number is read as a number. The error says what is wrong with text.
func Parse(text string) (Filter, error) {
	p := &parser{}
	if err := p.split(text); err != nil {
		return Filter{}, fmt.Errorf("filter %s: %w", text, err)
	}
	is, err := p.or()
	if err == nil && p.peek() != "" {
		err = fmt.Errorf("%s is too much", p.peek())
	}
	if err != nil {
		return Filter{}, fmt.Errorf("filter %s: %w", text, err)
	}
	return Filter{is}, nil
}

type parser struct{ tokens []string }

// split cuts text into names, numbers, operators and strings, which keep their first quote.
func (p *parser) split(text string) error {
	for text != "" {
		n := 1
		switch c := text[0]; {
		case c == ' ' || c == '\t' || c == '\n':
			text = text[1:]
			continue
		case c == '\'':
			var value strings.Builder
			for rest := text[1:]; ; {
				i := strings.IndexByte(rest, '\'')
				if i < 0 {
					return errors.New("a string has no end")
				}
				value.WriteString(rest[:i])
				if rest = rest[i+1:]; !strings.HasPrefix(rest, "'") {
					n = len(text) - len(rest)
					break
				}
				value.WriteByte('\'')
				rest = rest[1:]
			}
			p.tokens = append(p.tokens, "'"+value.String())
			text = text[n:]
			continue
		case wordly(c) || c == '-':
			for n < len(text) && wordly(text[n]) {
				n++
			}
		case strings.HasPrefix(text, "<>") || strings.HasPrefix(text, "<=") || strings.HasPrefix(text, ">="):
			n = 2
		case !strings.ContainsRune("()=<>,", rune(c)):
			return fmt.Errorf("%q is not understood", c)
		}
		p.tokens = append(p.tokens, text[:n])
		text = text[n:]
	}
	return nil
}

func wordly(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '$'
}

func (p *parser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

// accept consumes the next words if they are words.
func (p *parser) accept(words ...string) bool {
	if len(p.tokens) < len(words) {
		return false
	}
	for i, w := range words {
		if !strings.EqualFold(p.tokens[i], w) {
			return false
		}
	}
	p.tokens = p.tokens[len(words):]
	return true
}

func (p *parser) need(word string) error {
	if !p.accept(word) {
		return fmt.Errorf("%s is missing before %q", word, p.peek())
	}
	return nil
}

func (p *parser) or() (predicate, error) {
	return p.joined("OR", p.and, func(a, b truth) truth { return max(a, b) })
}
func (p *parser) and() (predicate, error) {
	return p.joined("AND", p.not, func(a, b truth) truth { return min(a, b) })
}

// joined parses operands with word between them.
func (p *parser) joined(word string, operand func() (predicate, error), join func(a, b truth) truth) (predicate, error) {
	is, err := operand()
	for err == nil && p.accept(word) {
		var right predicate
		left := is
		right, err = operand()
		is = func(of map[string]string) truth { return join(left(of), right(of)) }
	}
	return is, err
}

func (p *parser) not() (predicate, error) {
	switch {
	case p.accept("NOT"):
		is, err := p.not()
		return negated(is), err
	case p.accept("("):
		is, err := p.or()
		return is, errors.Join(err, p.need(")"))
	}
	return p.comparison()
}

func negated(is predicate) predicate { return func(of map[string]string) truth { return yes - is(of) } }

func (p *parser) comparison() (predicate, error) {
	left, err := p.operand()
	if err != nil {
		return nil, err
	}
	switch {
	case p.accept("IS", "NOT", "NULL"):
		return func(of map[string]string) truth { _, there := left.of(of); return truthOf(there) }, nil
	case p.accept("IS", "NULL"):
		return func(of map[string]string) truth { _, there := left.of(of); return truthOf(!there) }, nil
	case p.accept("NOT", "BETWEEN"):
		is, err := p.between(left)
		return negated(is), err
	case p.accept("BETWEEN"):
		return p.between(left)
	case p.accept("NOT", "IN"):
		is, err := p.in(left)
		return negated(is), err
	case p.accept("IN"):
		return p.in(left)
	}
	operator := p.peek()
	if !slices.Contains([]string{"=", "<>", "<", "<=", ">", ">="}, operator) {
		return nil, fmt.Errorf("%q is no comparison", operator)
	}
	p.tokens = p.tokens[1:]
	right, err := p.operand()
	return compared(operator, left, right), err
}

func (p *parser) between(x operand) (predicate, error) {
	low, err1 := p.operand()
	err2 := p.need("AND")
	high, err3 := p.operand()
	from, to := compared(">=", x, low), compared("<=", x, high)
	return func(of map[string]string) truth { return min(from(of), to(of)) }, errors.Join(err1, err2, err3)
}

func (p *parser) in(x operand) (predicate, error) {
	err := p.need("(")
	var any []predicate
	for err == nil {
		var value operand
		if value, err = p.operand(); err == nil {
			any = append(any, compared("=", x, value))
		}
		if !p.accept(",") {
			break
		}
	}
	return func(of map[string]string) truth {
		is := no
		for _, one := range any {
			is = max(is, one(of))
		}
		return is
	}, errors.Join(err, p.need(")"))
}

// operand is a property or a constant.
type operand struct {
	property, value string
	number          bool // an unquoted number: the other operand must be one too, else the comparison is unknown
}

func (x operand) of(properties map[string]string) (value string, there bool) {
	if x.property == "" {
		return x.value, true
	}
	value, there = properties[x.property]
	return value, there
}

func (p *parser) operand() (operand, error) {
	token := p.peek()
	switch {
	case token == "" || strings.ContainsRune("()=<>,", rune(token[0])) || reserved[strings.ToUpper(token)]:
		return operand{}, fmt.Errorf("a property or a value is missing before %q", token)
	case token[0] == '\'':
		p.tokens = p.tokens[1:]
		return operand{value: token[1:]}, nil
	case strings.EqualFold(token, "TRUE") || strings.EqualFold(token, "FALSE"):
		p.tokens = p.tokens[1:]
		return operand{value: strings.ToLower(token)}, nil
	case token[0] == '-' || token[0] == '.' || token[0] >= '0' && token[0] <= '9':
		if _, err := strconv.ParseFloat(token, 64); err != nil {
			return operand{}, fmt.Errorf("%s is no number", token)
		}
		p.tokens = p.tokens[1:]
		return operand{value: token, number: true}, nil
	}
	p.tokens = p.tokens[1:]
	return operand{property: token}, nil
}

// reserved are the words that cannot be a property's name.
var reserved = map[string]bool{"AND": true, "OR": true, "NOT": true, "IN": true, "BETWEEN": true, "IS": true, "NULL": true, "LIKE": true,
	"CONTAINS": true, "STARTSWITH": true, "ENDSWITH": true}

// compared compares two operands: as numbers when one of them is written as a number, else as strings, which are only equal or not.
func compared(operator string, a, b operand) predicate {
	return func(properties map[string]string) truth {
		x, there := a.of(properties)
		y, too := b.of(properties)
		if !there || !too {
			return unknown
		}
		if !a.number && !b.number {
			switch operator {
			case "=":
				return truthOf(x == y)
			case "<>":
				return truthOf(x != y)
			}
			return unknown
		}
		m, err1 := strconv.ParseFloat(x, 64)
		n, err2 := strconv.ParseFloat(y, 64)
		if err1 != nil || err2 != nil {
			return unknown
		}
		switch operator {
		case "=":
			return truthOf(m == n)
		case "<>":
			return truthOf(m != n)
		case "<":
			return truthOf(m < n)
		case "<=":
			return truthOf(m <= n)
		case ">":
			return truthOf(m > n)
		}
		return truthOf(m >= n)
	}
}
