package hcl

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/stowage/stowage/spec"
)

// complaints collects the diagnostics of one load.
type complaints struct {
	list    []spec.Diagnostic
	seen    map[complaintKey]bool
	dropped int
	source  func(file string) []byte
}

// complaintKey tells complaints apart: one place is blamed once for one thing, however often for_each visits it.
type complaintKey struct {
	pos     spec.Pos
	summary string
}

func newComplaints(source func(file string) []byte) *complaints {
	return &complaints{seen: map[complaintKey]bool{}, source: source}
}

// add records a diagnostic unless its place was blamed for the same already.
func (c *complaints) add(d spec.Diagnostic) {
	key := complaintKey{d.Pos, d.Summary}
	if d.Pos != (spec.Pos{}) {
		if c.seen[key] {
			return
		}
		c.seen[key] = true
	}
	if len(c.list) >= MaxDiagnostics {
		c.dropped++
		return
	}
	if d.Snippet == "" && d.Pos.Line > 0 && c.source != nil {
		d.Snippet = snippet(c.source(d.Pos.File), d.Pos.Line)
	}
	c.list = append(c.list, d)
}

// at records an error at a range.
func (c *complaints) at(r hcl.Range, context, summary, detail string, values ...string) {
	c.add(spec.Diagnostic{
		Severity: spec.SeverityError, Summary: summary, Detail: detail,
		Pos: position(r), End: end(r), Context: context, Values: values,
	})
}

// sorted returns everything, by place; what was dropped is told at the end.
func (c *complaints) sorted() []spec.Diagnostic {
	slices.SortStableFunc(c.list, func(a, b spec.Diagnostic) int {
		if n := a.Pos.Compare(b.Pos); n != 0 {
			return n
		}
		return strings.Compare(a.Summary, b.Summary)
	})
	if c.dropped > 0 {
		c.list = append(c.list, spec.Diagnostic{
			Severity: spec.SeverityError, Summary: "Too many errors",
			Detail: fmt.Sprintf("%s not shown. Mend those above first.", spec.Plural(c.dropped, "more error")+" "+map[bool]string{true: "is", false: "are"}[c.dropped == 1]),
		})
		c.dropped = 0
	}
	return c.list
}

func position(r hcl.Range) spec.Pos {
	return spec.Pos{File: r.Filename, Line: r.Start.Line, Column: r.Start.Column}
}

func end(r hcl.Range) spec.Pos {
	if r.Empty() {
		return spec.Pos{}
	}
	return spec.Pos{File: r.Filename, Line: r.End.Line, Column: r.End.Column}
}

// where prints a position as people refer to it: vars.hcl:7.
func where(p spec.Pos) string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// snippet returns a line of the source, without its newline; very long ones are cut at the end.
func snippet(src []byte, line int) string {
	for n := 1; n < line; n++ {
		i := bytes.IndexByte(src, '\n')
		if i < 0 {
			return ""
		}
		src = src[i+1:]
	}
	if i := bytes.IndexByte(src, '\n'); i >= 0 {
		src = src[:i]
	}
	if len(src) > MaxSnippet {
		src = src[:MaxSnippet]
	}
	return strings.ToValidUTF8(strings.TrimSuffix(string(src), "\r"), "\uFFFD")
}
