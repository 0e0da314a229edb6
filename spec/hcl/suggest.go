package hcl

import (
	"fmt"
	"slices"
	"strings"
)

// closest returns the candidate that was most likely meant by given, or "". Candidates at the same distance are taken in
// order of the alphabet, so that the answer is always the same.
func closest(given string, candidates []string) string {
	best, bestDistance := "", max(1, min(3, (len(given)+1)/3))+1
	if len(given) > 100 || len(candidates) > 20_000 {
		return ""
	}
	sorted := slices.Sorted(slices.Values(candidates))
	for _, c := range sorted {
		if c == given || len(c) > 200 {
			continue
		}
		d := editDistance(strings.ToLower(given), strings.ToLower(c), bestDistance)
		if d < bestDistance && d < len(given) {
			best, bestDistance = c, d
		}
	}
	if best != "" || len(given) < 3 {
		return best
	}
	for _, c := range sorted {
		if low, high := strings.ToLower(given), strings.ToLower(c); len(c) >= 3 && c != given && (strings.HasPrefix(low, high) || strings.HasPrefix(high, low) || strings.HasSuffix(high, low)) {
			return c
		}
	}
	return ""
}

// editDistance counts insertions, deletions, replacements and swaps of neighbours between two texts, giving up at limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// didYouMean returns ` Did you mean "x"?` with a leading space, or "".
func didYouMean(given string, candidates []string) string {
	if c := closest(given, candidates); c != "" {
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

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
