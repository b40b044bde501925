package view

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/text/unicode/bidi"
)

// maxText bounds what is shown of one text, in cells: a value may have 64 KiB.
const maxText = 200

// Text makes a text of the store safe to print within a line, and not too long.
func Text(s string) string { return isolate(cut(Escape(s), maxText)) }

// Escape replaces what is not printable, such as control characters, those that
// change the direction of writing, and invalid UTF-8, by escapes as Go has them.
func Escape(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !printable(r) }) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if part := s[:n]; printable(r) {
			b.WriteString(part)
		} else {
			quoted := strconv.QuoteToASCII(part)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[n:]
	}
	return b.String()
}

func printable(r rune) bool { return r != utf8.RuneError && unicode.IsPrint(r) }

// cut shortens an escaped text to so many cells.
func cut(s string, cells int) string { return ansi.Truncate(s, cells, "…") }

// The marks of an isolate (Unicode Standard Annex #9).
const (
	firstStrongIsolate    = "\u2068"
	popDirectionalIsolate = "\u2069"
)

// isolate keeps text that is written from right to left from turning around what
// stands beside it, where a terminal can turn it at all.
func isolate(s string) string {
	for _, r := range s {
		properties, _ := bidi.LookupRune(r)
		switch properties.Class() {
		case bidi.R, bidi.AL, bidi.AN:
			return firstStrongIsolate + s + popDirectionalIsolate
		}
	}
	return s
}

// Fit shortens a line that is safe to print to so many cells.
func Fit(line string, cells int) string {
	line = cut(line, cells)
	if strings.Count(line, firstStrongIsolate) > strings.Count(line, popDirectionalIsolate) {
		line += popDirectionalIsolate
	}
	return line
}
