package sim

import (
	"os"
	"strings"
	"testing"
)

// TestDocumented wants every command and every expectation in a table of the documentation, by its name.
func TestDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/simulator.md")
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{} // the words of the first cells; those after "expect" with it
	for _, line := range strings.Split(string(page), "\n") {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		cell, _, _ := strings.Cut(line[2:], " | ")
		for _, code := range strings.Split(cell, "`") {
			before := ""
			for _, word := range strings.FieldsFunc(code, func(r rune) bool { return strings.ContainsRune(" ,;", r) }) {
				if word == "expect" {
					before = "expect "
				}
				told[before+word] = true
			}
		}
	}
	for _, name := range sortedKeys(handlers) {
		if !told[name] {
			t.Errorf("docs/simulator.md has no row for the command %q", name)
		}
	}
	for _, name := range sortedKeys(expectations) {
		if !told["expect "+name] {
			t.Errorf("docs/simulator.md has no row for the expectation %q", name)
		}
	}
}
