// Package view turns values into text for people: plans, tables, stories. Symbols and words carry the meaning; colour
// only helps, and is left out when NO_COLOR is set or the output is no terminal.
package view

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/stowage/stowage/spec"
)

// Page is where a view is printed: how wide it may be and whether it has colours.
type Page struct {
	Out    io.Writer
	Width  int // columns; 0 is as wide as needed
	Colour bool
	Now    spec.Time // for ages
}

// Line prints a line. Much of what it is made of was chosen by tasks and by nodes, and any of these may be hostile: nothing but the page's
// own colours is left in it that a terminal obeys.
func (p *Page) Line(format string, args ...any) {
	fmt.Fprintln(p.Out, strings.TrimRight(p.printable(fmt.Sprintf(format, args...)), " "))
}

// colours are the escape sequences that paint makes.
var colours = regexp.MustCompile("\x1b\\[(0|1|2|31|32|33|34)m")

const plain = "\x1b[0m"

// printable takes from a line what a terminal obeys, but for colours if the page has them, which end with the line.
func (p *Page) printable(text string) string {
	if !p.Colour {
		return spec.Printable(text)
	}
	var b strings.Builder
	last := plain
	for {
		at := colours.FindStringIndex(text)
		if at == nil {
			break
		}
		last = text[at[0]:at[1]]
		b.WriteString(spec.Printable(text[:at[0]]) + last)
		text = text[at[1]:]
	}
	b.WriteString(spec.Printable(text))
	if last != plain {
		b.WriteString(plain)
	}
	return b.String()
}

// The colours in use, as SGR parameters.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	blue   = "34"
)

func (p *Page) paint(sgr, text string) string {
	if !p.Colour || text == "" || sgr == "" {
		return text
	}
	return "\x1b[" + sgr + "m" + text + plain
}

// width counts the characters that a text takes on a terminal, without its colours.
func width(text string) int {
	n, escape := 0, false
	for _, r := range text {
		switch {
		case r == '\x1b':
			escape = true
		case escape:
			escape = r != 'm'
		default:
			n++
		}
	}
	return n
}

func pad(text string, to int) string {
	if n := to - width(text); n > 0 {
		return text + strings.Repeat(" ", n)
	}
	return text
}

// cut shortens a text without colours to n characters, with an ellipsis.
func cut(text string, n int) string {
	if n < 1 || utf8.RuneCountInString(text) <= n {
		return text
	}
	runes := []rune(text)
	return string(runes[:n-1]) + "…"
}

// Table prints rows under a head, each column as wide as it needs. When the page is narrower, the widest columns give
// way, down to a few characters.
func (p *Page) Table(head []string, rows [][]string) {
	widths := make([]int, len(head))
	for i, h := range head {
		widths[i] = width(h)
	}
	for _, r := range rows {
		for i, c := range r {
			widths[i] = max(widths[i], width(c))
		}
	}
	p.fit(widths)
	print := func(cells []string, sgr string) {
		var b strings.Builder
		for i, c := range cells {
			c = cut(c, widths[i])
			if i < len(cells)-1 {
				c = pad(c, widths[i]) + gap
			}
			b.WriteString(c)
		}
		p.Line("%s", p.paint(sgr, strings.TrimRight(b.String(), " ")))
	}
	print(head, bold)
	for _, r := range rows {
		print(r, "")
	}
}

const (
	gap       = "  "
	minColumn = 8
)

// fit shrinks the widest columns until the table fits the page.
func (p *Page) fit(widths []int) {
	if p.Width == 0 {
		return
	}
	total := len(gap) * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for total > p.Width {
		widest := 0
		for i, w := range widths {
			if w > widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= minColumn {
			return
		}
		widths[widest]--
		total--
	}
}

// Age says how long ago a moment was: "12s", "5m", "3h", "2d".
func (p *Page) Age(t spec.Time) string {
	if t == 0 {
		return "-"
	}
	d := p.Now.Sub(t)
	if d < spec.Second {
		return "now"
	}
	return age(d)
}

// age says how long something lasts, from a second on.
func age(d spec.Duration) string {
	switch {
	case d < 2*spec.Minute:
		return fmt.Sprintf("%ds", d/spec.Second)
	case d < 2*spec.Hour:
		return fmt.Sprintf("%dm", d/spec.Minute)
	case d < 48*spec.Hour:
		return fmt.Sprintf("%dh", d/spec.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*spec.Hour))
}

// clock is a moment as the clock on the wall shows it, with the day when that is another one.
func (p *Page) clock(t spec.Time) string {
	at := t.Std().Local()
	if now := p.Now.Std().Local(); at.YearDay() != now.YearDay() || at.Year() != now.Year() {
		return at.Format("2006-01-02 15:04:05")
	}
	return at.Format("15:04:05")
}

// Ago is Age in a sentence: "now", "12s ago".
func (p *Page) Ago(t spec.Time) string {
	age := p.Age(t)
	if t == 0 || age == "now" {
		return age
	}
	return age + " ago"
}
