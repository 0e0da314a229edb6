package spec

import "cmp"

// Pos is a place in a file of the repository.
type Pos struct {
	File   string `json:"file,omitempty"`   // slash-separated, relative to the followed folder
	Line   int    `json:"line,omitempty"`   // from 1
	Column int    `json:"column,omitempty"` // from 1, in characters
}

// Compare orders positions by file, line and column.
func (p Pos) Compare(o Pos) int {
	return cmp.Or(cmp.Compare(p.File, o.File), cmp.Compare(p.Line, o.Line), cmp.Compare(p.Column, o.Column))
}

// Severity says whether a diagnostic stops the commit.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"   // the commit is not used
	SeverityWarning Severity = "warning" // the commit is used
)

// Diagnostic is one complaint about what people wrote, with its place and its remedy.
type Diagnostic struct {
	Severity Severity `json:"severity"`
	Summary  string   `json:"summary"`           // a few words: "Unsupported attribute"
	Detail   string   `json:"detail"`            // full sentences, the last says what to do
	Pos      Pos      `json:"pos"`               // where the complaint begins
	End      Pos      `json:"end"`               // where it ends; zero when it is a point
	Context  string   `json:"context,omitempty"` // the block around it: app "shop/web"
	Snippet  string   `json:"snippet,omitempty"` // the source line of Pos, without its newline
	Values   []string `json:"values,omitempty"`  // what the names in the expression stand for, one sentence each
}

// HasErrors reports whether any of the diagnostics is an error.
func HasErrors(ds []Diagnostic) bool {
	for _, d := range ds {
		if d.Severity == SeverityError {
			return true
		}
	}
	return false
}
