package spec

import (
	"strings"
	"unicode"
)

// Printable is a text that others chose, as one line that can be shown on a terminal: what has no shape of its own, such as the beginning of an
// escape sequence, a line end, a mark that turns the direction, and every byte that is not UTF-8, becomes U+FFFD, and every kind of space a space.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r):
			return r
		case r == '\t' || unicode.Is(unicode.Zs, r):
			return ' '
		}
		return unicode.ReplacementChar
	}, text)
}

// Saying is Printable of at most so many bytes, cut between characters.
func Saying(text string, most int) string {
	text = Printable(text[:min(len(text), 4*most)]) // no more of it can matter
	for most < len(text) && most > 0 && text[most]&0xC0 == 0x80 {
		most--
	}
	return text[:min(most, len(text))]
}
