package cli

import (
	"io"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/stowage/stowage/spec"
)

// tame writes what tasks print so that a terminal obeys none of it: it could move the cursor, change the title, or hide what was there.
// Colours are kept if the page has some. What is not shown on a terminal is not touched.
type tame struct {
	out    io.Writer
	colour bool
	held   []byte // of a character or an escape sequence that goes on in the next piece
}

var (
	// colourSequence sets colours and weights (SGR in ECMA-48).
	colourSequence = regexp.MustCompile("\x1b\\[[0-9;:]{0,32}m")
	// unfinished is the beginning of one, or of a line end, at the end of a piece.
	unfinished = regexp.MustCompile("(\r|\x1b(\\[[0-9;:]{0,32})?)$")
)

// tamed returns a stream that is fit for where it goes, and what writes the rest of it.
func (s *shell) tamed(out io.Writer) (io.Writer, func() error) {
	if f, ok := out.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) {
		return out, func() error { return nil }
	}
	t := &tame{out: out, colour: s.colour()}
	return t, t.flush
}

// Write implements io.Writer.
func (t *tame) Write(p []byte) (int, error) {
	text := append(t.held, p...)
	end := len(text)
	if at := unfinished.FindIndex(text); at != nil {
		end = at[0]
	}
	for k := 1; end == len(text) && k < utf8.UTFMax && k <= len(text); k++ {
		if b := text[len(text)-k]; utf8.RuneStart(b) {
			if !utf8.FullRune(text[len(text)-k:]) {
				end = len(text) - k
			}
			break
		}
	}
	t.held = append([]byte(nil), text[end:]...)
	_, err := io.WriteString(t.out, t.harmless(string(text[:end])))
	return len(p), err
}

// flush writes what was held, and lets what is printed next have the terminal's own colours.
func (t *tame) flush() error {
	text := t.harmless(string(t.held))
	if t.held = nil; t.colour {
		text += "\x1b[0m"
	}
	_, err := io.WriteString(t.out, text)
	return err
}

// harmless replaces what a terminal obeys but line ends, tabs and colours. A line that is to be overwritten stays, and the next begins below.
func (t *tame) harmless(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	var b strings.Builder
	for len(text) > 0 {
		at := colourSequence.FindStringIndex(text)
		if at == nil {
			at = []int{len(text), len(text)}
		}
		for i, line := range strings.Split(text[:at[0]], "\n") {
			if i > 0 {
				b.WriteByte('\n')
			}
			for k, part := range strings.Split(line, "\t") {
				if k > 0 {
					b.WriteByte('\t')
				}
				b.WriteString(spec.Printable(part))
			}
		}
		if t.colour {
			b.WriteString(text[at[0]:at[1]])
		}
		text = text[at[1]:]
	}
	return b.String()
}
