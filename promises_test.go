package stowage

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryPromiseIsShown wants each line of docs/shown.md to name tests, and each of those to exist.
func TestEveryPromiseIsShown(t *testing.T) {
	page, err := os.ReadFile("docs/shown.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([^` ]+)`")
	promises := 0
	for _, line := range strings.Split(string(page), "\n") {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) < 2 || cells[len(cells)-1] == "shown by" {
			continue
		}
		promises++
		tests := named.FindAllStringSubmatch(cells[len(cells)-1], -1)
		if len(tests) == 0 {
			t.Errorf("nothing shows: %s", cells[0])
		}
		for _, test := range tests {
			if !exists(t, test[1]) {
				t.Errorf("%s: there is no %s", cells[0], test[1])
			}
		}
	}
	if promises < 20 {
		t.Errorf("%d promises are listed, want at least 20", promises)
	}
}

// exists finds a scenario, or a test written as its folder, a point and its name.
func exists(t *testing.T, name string) bool {
	if strings.HasSuffix(name, ".txtar") {
		_, err := os.Stat(filepath.Join("reconcile/sim/testdata", name))
		return err == nil
	}
	folder, test, _ := strings.Cut(name, ".")
	files, err := filepath.Glob(filepath.Join(folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+test+"(t *testing.T) {") {
			return true
		}
	}
	return false
}
