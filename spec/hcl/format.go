package hcl

import (
	"bytes"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"

	"github.com/stowage/stowage/spec"
)

// Format returns the file in the standard layout: indentation, aligned equals signs, spaces, one newline at the end. A
// file that cannot be parsed is not touched: the bytes are then nil and the diagnostics say why. Formatting what was
// formatted changes nothing.
func Format(filename string, src []byte) ([]byte, []spec.Diagnostic) {
	c := newComplaints(func(string) []byte { return src })
	if !new(guard).admit(src, filename, false, func(r hcl.Range, summary, detail string) { c.at(r, "", summary, detail) }) {
		return nil, c.sorted()
	}
	if _, diags := hclsyntax.ParseConfig(src, filename, hcl.InitialPos); diags.HasErrors() {
		d := &decoder{complaints: c}
		d.hclErrors(diags, env{})
		return nil, c.sorted()
	}
	// The library's formatter is not always done after one pass, where comments stand between brackets.
	const passes = 8
	out := layout(src)
	for range passes {
		next := layout(out)
		if bytes.Equal(next, out) {
			return out, nil
		}
		out = next
	}
	return src, nil
}

func layout(src []byte) []byte {
	out := bytes.TrimRight(hclwrite.Format(src), " \t\r\n")
	if len(out) == 0 {
		return out
	}
	return append(out, '\n')
}
