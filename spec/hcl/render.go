package hcl

import (
	"fmt"
	"io"
	"strings"

	"github.com/stowage/stowage/spec"
)

// The widths of the boxes that Render prints.
const (
	snippetWidth = 100 // characters of a source line; longer ones are cut around the place
	tabWidth     = 4
)

// paint are the escape sequences of a rendering, or nothing.
type paint struct{ red, yellow, bold, reset string }

// Render prints diagnostics for people, one box each. Colour uses the terminal's escape sequences.
func Render(w io.Writer, diags []spec.Diagnostic, colour bool) error {
	p := paint{}
	if colour {
		p = paint{red: "\x1b[31m", yellow: "\x1b[33m", bold: "\x1b[1m", reset: "\x1b[0m"}
	}
	var b strings.Builder
	for _, d := range diags {
		p.box(&b, d)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (p paint) box(b *strings.Builder, d spec.Diagnostic) {
	tint, title := p.red, "Error"
	if d.Severity == spec.SeverityWarning {
		tint, title = p.yellow, "Warning"
	}
	bar := tint + "│" + p.reset
	line := func(format string, args ...any) {
		text := strings.TrimRight(bar+" "+fmt.Sprintf(format, args...), " ")
		b.WriteString(text + "\n")
	}
	b.WriteString(tint + "╷" + p.reset + "\n")
	line("%s%s: %s%s%s%s", tint, title, p.reset, p.bold, spec.Printable(d.Summary), p.reset)
	line("")
	if d.Pos.File != "" {
		place := "on " + spec.Printable(d.Pos.File)
		if d.Pos.Line > 0 {
			place += fmt.Sprintf(" line %d", d.Pos.Line)
		}
		if d.Context != "" {
			place += ", in " + spec.Printable(d.Context)
		}
		if d.Snippet != "" {
			place += ":"
		}
		line("  %s", place)
		if d.Snippet != "" {
			text, marks := quote(d)
			line("%5d: %s", d.Pos.Line, text)
			if marks != "" {
				line("       %s%s%s", tint, marks, p.reset)
			}
		}
	}
	if len(d.Values) > 0 {
		line("    ├────────────────")
		for _, v := range d.Values {
			line("    │ %s", spec.Printable(v))
		}
	}
	if d.Pos.File != "" || len(d.Values) > 0 {
		line("")
	}
	for _, l := range strings.Split(strings.TrimRight(d.Detail, "\n"), "\n") {
		line("%s", spec.Printable(l))
	}
	b.WriteString(tint + "╵" + p.reset + "\n")
}

// quote returns the source line with tabs as spaces, cut around the place if it is long, and the marks below it.
func quote(d spec.Diagnostic) (text, marks string) {
	var cells []rune
	from, to, column := -1, -1, 1
	last := d.End.Column
	switch {
	case d.End == (spec.Pos{}) || d.End.Line == d.Pos.Line && d.End.Column <= d.Pos.Column:
		last = d.Pos.Column + 1
	case d.End.Line > d.Pos.Line:
		last = 1 << 30
	}
	for _, r := range d.Snippet {
		if column == d.Pos.Column {
			from = len(cells)
		}
		if column == last {
			to = len(cells)
		}
		if r == '\t' {
			cells = append(cells, []rune(strings.Repeat(" ", tabWidth-len(cells)%tabWidth))...)
		} else {
			cells = append(cells, []rune(spec.Printable(string(r)))...)
		}
		column++
	}
	if from < 0 && d.Pos.Column == column {
		from = len(cells)
	}
	if from < 0 {
		from, to = 0, 0 // the place lies beyond what the diagnostic quotes
	} else if to < 0 {
		to = max(len(cells), from+1)
	}
	cells, from, to = cut(cells, from, to)
	return string(cells), strings.Repeat(" ", from) + strings.Repeat("~", max(0, to-from))
}

// cut shortens a line around a place.
func cut(cells []rune, from, to int) ([]rune, int, int) {
	if len(cells) <= snippetWidth {
		return cells, from, to
	}
	start := max(0, from-snippetWidth/3)
	stop := min(len(cells), start+snippetWidth)
	out := append([]rune(nil), cells[start:stop]...)
	if start > 0 {
		out[0] = '…'
	}
	if stop < len(cells) {
		out[len(out)-1] = '…'
	}
	return out, from - start, min(to, stop) - start
}
