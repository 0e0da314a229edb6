package cli

import (
	"strings"
	"testing"
)

// What tasks print does nothing to a terminal, however it is cut into pieces; letters, line ends, tabs and colours stay.
func TestATerminalObeysNothingThatTasksPrint(t *testing.T) {
	for text, want := range map[string]string{
		"plain\ttext é\n":                  "plain\ttext é\n",
		"\x1b[31;1mred\x1b[0m\n":           "\x1b[31;1mred\x1b[0m\n",
		"\x1b]0;title\a\x1b[2Jgone\x1b[H":  "\uFFFD]0;title\uFFFD\uFFFD[2Jgone\uFFFD[H",
		"one\r\ntwo\rthree":                "one\ntwo\nthree",
		"a\u009b1mb \xff \u202eback":       "a\uFFFD1mb \uFFFD \uFFFDback",
		"the end of a sequence \x1b[38;5;": "the end of a sequence \uFFFD[38;5;",
	} {
		for _, size := range []int{1, 2, 3, 5, len(text)} {
			var out strings.Builder
			w := &tame{out: &out, colour: true}
			for rest := text; rest != ""; {
				n := min(size, len(rest))
				if k, err := w.Write([]byte(rest[:n])); k != n || err != nil {
					t.Fatal(k, err)
				}
				rest = rest[n:]
			}
			if err := w.flush(); err != nil || out.String() != want+"\x1b[0m" {
				t.Errorf("%q in pieces of %d is %q, not %q", text, size, out.String(), want)
			}
		}
	}
	var out strings.Builder
	w := &tame{out: &out}
	if _, _ = w.Write([]byte("\x1b[31mred\x1b[0m")); out.String() != "red" {
		t.Errorf("without colours: %q", out.String())
	}
	var s shell
	if same, _ := s.tamed(&out); same != &out {
		t.Error("what is no terminal gets something else")
	}
}
