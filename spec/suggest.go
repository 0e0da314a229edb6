package spec

import (
	"slices"
	"strings"
)

// Closest returns the candidate that was most likely meant by given, or "". Candidates at the same distance are taken in
// order of the alphabet, so that the answer is always the same.
func Closest(given string, candidates []string) string {
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
		// At the same distance what is written with too much wins: "==" is meant to be "=" rather than "!=".
		if d < len(given) && (d < bestDistance || d == bestDistance && best != "" && strings.HasPrefix(given, c) && !strings.HasPrefix(given, best)) {
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
