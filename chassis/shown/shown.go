// Package shown refuses texts that are not what they look like, in the fields that people see ((text.v1.shown) in the protos).
//
// A text may have letters, marks, numbers, punctuation, symbols and spaces of any script. It may not have what cannot be seen or changes what is
// around it: controls, marks of direction, zero-width characters, fillers, private and unassigned characters; nor marks without a letter, or
// more of them than a script writes. The joiners are let in where they make a difference that is seen: between letters of the scripts that join
// or stack theirs, and in emoji.
//
// An id is a text too: a UUID that is not spelled as this system prints it would be another id to a database, and find nothing.
package shown

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	textv1 "example.com/fourfold/api/text/v1"
)

// mostMarks is how many marks may follow each other: Tibetan and Hebrew with accents come near it.
const mostMarks = 5

const (
	nonJoiner = '\u200c'
	joiner    = '\u200d'
	asEmoji   = '\ufe0f'
)

// joining are scripts in whose words joiners are seen.
var joining = []*unicode.RangeTable{unicode.Arabic, unicode.Syriac, unicode.Mongolian, unicode.Devanagari, unicode.Bengali, unicode.Gurmukhi,
	unicode.Gujarati, unicode.Oriya, unicode.Tamil, unicode.Telugu, unicode.Kannada, unicode.Malayalam, unicode.Sinhala, unicode.Khmer,
	unicode.Myanmar}

// blank are characters that show nothing though they are letters, marks or symbols to Unicode: fillers and selectors.
var blank = &unicode.RangeTable{
	R16: []unicode.Range16{{0x034f, 0x034f, 1}, {0x115f, 0x1160, 1}, {0x17b4, 0x17b5, 1}, {0x180b, 0x180f, 1}, {0x2800, 0x2800, 1},
		{0x3164, 0x3164, 1}, {0xfe00, 0xfe0f, 1}, {0xffa0, 0xffa0, 1}, {0xfffc, 0xfffd, 1}},
	R32: []unicode.Range32{{0x13441, 0x13446, 1}, {0x16fe4, 0x16fe4, 1}, {0x1d159, 0x1d159, 1}, {0xe0100, 0xe01ef, 1}},
}

// Line returns an error that says what is wrong unless s is a text of one line in which something can be seen.
func Line(s string) error {
	if err := clean(s); err != nil {
		return err
	}
	if !strings.ContainsFunc(s, func(r rune) bool { return unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S) }) {
		return fmt.Errorf("there is nothing in it that can be seen")
	}
	return nil
}

// Lines is Line for a text of any number of lines, each of which may be empty.
func Lines(s string) error {
	for line := range strings.SplitSeq(strings.ReplaceAll(s, "\r\n", "\n"), "\n") {
		if err := clean(line); err != nil {
			return err
		}
	}
	return nil
}

func clean(s string) error {
	if !utf8.ValidString(s) {
		return fmt.Errorf("it is not UTF-8")
	}
	r, marks := []rune(s), 0
	for i, c := range r {
		var before, after rune
		if i > 0 {
			before = r[i-1]
		}
		if i+1 < len(r) {
			after = r[i+1]
		}
		if unicode.Is(unicode.M, c) && !unicode.Is(blank, c) {
			marks++
		} else {
			marks = 0
		}
		switch {
		case c == nonJoiner || c == joiner || c == asEmoji:
			if !seen(before, c, after) {
				return fmt.Errorf("character %d, %U, cannot be seen there", i+1, c)
			}
		case c != ' ' && (!unicode.IsGraphic(c) || unicode.Is(blank, c)):
			return fmt.Errorf("character %d, %U, cannot be seen, or changes how others are seen", i+1, c)
		case marks > 0 && (before == 0 || unicode.IsSpace(before)):
			return fmt.Errorf("character %d, %U, is a mark without a letter", i+1, c)
		case marks > mostMarks:
			return fmt.Errorf("character %d, %U, is one mark too many", i+1, c)
		}
	}
	return nil
}

// seen reports whether a joiner or selector c between its neighbours makes a difference that is seen.
func seen(before, c, after rune) bool {
	emoji := func(r rune) bool { return unicode.In(r, unicode.So, unicode.Sk) }
	switch c {
	case asEmoji:
		return emoji(before) || unicode.In(before, unicode.Sm, unicode.Po, unicode.Nd) && before != 0
	case joiner:
		if (emoji(before) || before == asEmoji) && (emoji(after) || unicode.Is(unicode.Sm, after)) {
			return true
		}
	}
	return unicode.In(before, joining...) && unicode.In(after, joining...)
}

// ID returns an error unless s is spelled as ids are: a UUID in small letters, with hyphens and nothing around it; what is no UUID is spelled
// well.
func ID(s string) error {
	if id, err := uuid.Parse(s); err == nil && id.String() != s {
		return fmt.Errorf("the id %s is spelled %s", s, id)
	}
	return nil
}

// Check returns an error that names the field unless all fields of m that people see are what they look like, and its ids are spelled well,
// those of messages in m too.
func Check(m proto.Message) error { return check(m.ProtoReflect(), "") }

func check(m protoreflect.Message, path string) (err error) {
	m.Range(func(fd protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		at := path + string(fd.Name())
		rule, _ := proto.GetExtension(fd.Options(), textv1.E_Shown).(textv1.Shown)
		one := func(v protoreflect.Value, at string) error {
			switch {
			case fd.Message() != nil && !fd.IsMap():
				return check(v.Message(), at+".")
			case rule == textv1.Shown_LINE:
				return named(at, Line(v.String()))
			case rule == textv1.Shown_LINES:
				return named(at, Lines(v.String()))
			case fd.Kind() == protoreflect.StringKind && names(fd.Name()):
				return named(at, ID(v.String()))
			}
			return nil
		}
		switch {
		case fd.IsMap():
		case fd.IsList():
			for i := range v.List().Len() {
				if err = one(v.List().Get(i), fmt.Sprintf("%s[%d]", at, i)); err != nil {
					break
				}
			}
		default:
			err = one(v, at)
		}
		return err == nil
	})
	return err
}

// names reports whether a field of that name has an id. An event's subject may be one, or a SKU, which may look like one.
func names(field protoreflect.Name) bool {
	return field == "id" || strings.HasSuffix(string(field), "_id")
}

func named(field string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", field, err)
}
