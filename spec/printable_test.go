package spec

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"plain, größer, 日本":         "plain, größer, 日本",
		"\x1b[2J\x1b]0;title\x07":   "\uFFFD[2J\uFFFD]0;title\uFFFD",
		"a\u009b31mb":               "a\uFFFD31mb",
		"a\tb\u00a0c":               "a b c",
		"a\r\nb\x00":                "a\uFFFD\uFFFDb\uFFFD",
		"\xff\xfea":                 "\uFFFD\uFFFDa",
		"abc\u202eexe.\u2066\u200b": "abc\uFFFDexe.\uFFFD\uFFFD",
	} {
		if got := Printable(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{strings.Repeat("\x1b", 1000), strings.Repeat("é", 1000), "x" + strings.Repeat("é", 1000), strings.Repeat("\xe3\x80\x80", 9000), "short", ""} {
		got := Saying(text, 200)
		if len(got) > 200 || !utf8.ValidString(got) || len(text) >= 200 && len(got) < 198 {
			t.Errorf("%.20q…: %d bytes, %q", text, len(got), got)
		}
		if !strings.HasPrefix(Printable(text), got) {
			t.Errorf("%.20q…: %q is not its beginning", text, got)
		}
	}
}
