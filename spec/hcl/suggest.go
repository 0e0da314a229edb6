package hcl

import (
	"fmt"
	"strings"

	"github.com/stowage/stowage/spec"
)

// didYouMean returns ` Did you mean "x"?` with a leading space, or "".
func didYouMean(given string, candidates []string) string {
	if c := spec.Closest(given, candidates); c != "" {
		return fmt.Sprintf(" Did you mean %q?", c)
	}
	return ""
}

// list prints names as a person would: "a, b and c", cut after a few.
func list(names []string) string {
	const most = 12
	switch n := len(names); {
	case n == 0:
		return "none"
	case n == 1:
		return names[0]
	case n > most:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), n-most)
	default:
		return strings.Join(names[:n-1], ", ") + " and " + names[n-1]
	}
}

// either prints alternatives: "a, b or c", each quoted.
func either(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = fmt.Sprintf("%q", n)
	}
	if len(quoted) < 2 {
		return strings.Join(quoted, "")
	}
	return strings.Join(quoted[:len(quoted)-1], ", ") + " or " + quoted[len(quoted)-1]
}
