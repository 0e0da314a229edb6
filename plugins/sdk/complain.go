package sdk

import "github.com/stowage/stowage/spec"

// Complain makes an error that points at an argument of the block (nested ones joined by "."), or at the block itself
// when the argument is not written there. The summary is a few words; the detail is full sentences, of which the last
// says what to do.
func Complain(block spec.Framework, argument, summary, detail string) spec.Diagnostic {
	pos, ok := block.Places[argument]
	if !ok {
		pos = block.Pos
	}
	return spec.Diagnostic{Severity: spec.SeverityError, Summary: summary, Detail: detail, Pos: pos,
		Context: `framework "` + block.Driver + `" "` + string(block.Name) + `"`}
}
