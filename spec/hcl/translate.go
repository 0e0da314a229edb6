package hcl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// untilOpenQuote are errors of a parser up to the first text without an end: from there on quotes open and close in each
// other's place, and what it complains of is not wrong.
func untilOpenQuote(diags hcl.Diagnostics) hcl.Diagnostics {
	first := slices.IndexFunc(diags, func(g *hcl.Diagnostic) bool {
		return g.Summary == "Invalid multi-line string" || g.Summary == "Unterminated template string"
	})
	if first < 0 {
		return diags
	}
	return slices.DeleteFunc(slices.Clone(diags), func(g *hcl.Diagnostic) bool {
		return g != diags[first] && g.Subject != nil && g.Subject.Start.Byte >= diags[first].Subject.Start.Byte
	})
}

// hclErrors reports what the HCL library found, in our words where it has none for the cause or the remedy.
func (d *decoder) hclErrors(diags hcl.Diagnostics, e env) {
	for _, g := range diags {
		if g.Severity != hcl.DiagError || d.meter != nil && d.meter.spent && g.Summary != overdrawn {
			continue
		}
		r := hcl.Range{}
		if g.Subject != nil {
			r = *g.Subject
		} else if g.Expression != nil {
			r = g.Expression.Range()
		}
		if g.Expression != nil && g.EvalContext != nil && d.missingInside(g, e) {
			continue
		}
		var values []string
		if g.Expression != nil && g.EvalContext != nil {
			values = valuesFor(g.Expression, g.EvalContext)
		}
		summary, detail := reword(g)
		d.at(r, e.context, summary, detail, values...)
	}
}

// missingInside reports an attribute that is missing from a value met only during evaluation, such as the variable of a
// for expression.
func (d *decoder) missingInside(g *hcl.Diagnostic, e env) bool {
	for _, t := range g.Expression.Variables() {
		root, found := lookup(g.EvalContext, t.RootName())
		if !found {
			continue
		}
		if step, object, missing := missingStep(root, t); missing {
			d.unknownAttribute(t[:step+1], object, e)
			return true
		}
	}
	return false
}

// rewordings are remedies for errors of the library, by their summary.
var rewordings = map[string]string{
	"Invalid single-argument block definition":        "A block on one line holds at most one argument. Put each argument on a line of its own.",
	"Missing newline after block definition":          "After a block's closing brace the line must end. Put what follows on a line of its own.",
	"Missing newline after argument":                  "After an argument the line must end. Put what follows on a line of its own.",
	"Unclosed configuration block":                    "This block has no closing brace before the end of the file. Add the missing \"}\"; it may belong further up.",
	"Argument or block definition required":           "Here a line must begin with the name of an argument (NAME = VALUE) or of a block (NAME { … }).",
	"Invalid expression":                              "Here a value is missing: a text in quotes, a number, true, false, a list, a map or a reference.",
	"Missing expression":                              "Here a value is missing: a text in quotes, a number, true, false, a list, a map or a reference.",
	"Invalid character encoding":                      "The file is not UTF-8 here. Save it as UTF-8.",
	"Unterminated template string":                    "This text has no closing quote. Add it.",
	"Invalid multi-line string":                       "The closing quote of this text is missing: it ends on the line it begins on. For several lines write \\n in it, or a heredoc: <<-EOT.",
	"Inconsistent conditional result types":           "",
	"Invalid template interpolation value":            "",
	"Iteration over non-iterable value":               "A for expression goes over a list, a set or a map, and this is none.",
	"Iteration over null value":                       "A for expression goes over a list, a set or a map, but here it is null.",
	"Null condition":                                  "The condition is null. It must be true or false.",
	"Unterminated heredoc template":                   "This heredoc has no end. Put its marker on a line of its own.",
	"Attribute redefined":                             "This argument is set in the block already. Keep one of the two.",
	"Missing item separator":                          "Here a comma between two elements is missing, or the bracket that closes the list.",
	"Missing attribute separator":                     "Here a comma or a line end between two elements is missing, or the brace that closes the map.",
	"Unbalanced parentheses":                          "A closing \")\" is missing.",
	"Unterminated tuple constructor expression":       "A closing \"]\" is missing.",
	"Unterminated object constructor expression":      "A closing \"}\" is missing.",
	"Unterminated function call":                      "A closing \")\" is missing.",
	"Unclosed template interpolation sequence":        "After \"${\" the closing \"}\" is missing. For a literal \"${\" write \"$${\".",
	"Extra characters after interpolation expression": "One expression stands between \"${\" and \"}\". For a literal \"${\" write \"$${\".",
}

// reword gives the summary and detail of an error of the library.
func reword(g *hcl.Diagnostic) (summary, detail string) {
	summary, detail = g.Summary, strings.ReplaceAll(g.Detail, "\n", " ")
	if extra, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallUnknownDiagExtra](g); ok {
		name := extra.CalledFunctionName()
		return "Unknown function", fmt.Sprintf("There is no function named %q.%s", shorten(name, 60), didYouMean(name, functionNames))
	}
	if better := rewordings[g.Summary]; better != "" {
		detail = better
	}
	switch g.Summary {
	case "Unsupported attribute":
		if strings.HasPrefix(detail, "Can't access attributes on a primitive-typed value") {
			detail = "What stands before the dot is a text, a number or true or false, which have no attributes. Leave out the dot and what follows it."
		}
	case "Invalid multi-line string":
		summary = "Missing closing quote"
	case "Invalid single-argument block definition":
		summary = "Several arguments on one line"
	case "Attribute redefined":
		summary = "Duplicate argument"
	}
	return summary, sentence(shorten(detail, 1000))
}
