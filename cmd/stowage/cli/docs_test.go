package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheStoryOfTheDocumentation plays the scenario that docs/simulator.md begins with: what the page shows of it is what
// comes of it.
func TestTheStoryOfTheDocumentation(t *testing.T) {
	path, err := filepath.Abs(filepath.Join("..", "..", "..", "docs", "simulator.md"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const fence, command, next = "```\n", "    $ stowage sim --story story.txt\n", "\n\n`--story`"
	before, rest, found := strings.Cut(string(page), command)
	_, story, fenced := strings.Cut(before, fence)
	story, _, closed := strings.Cut(story, fence)
	shown, after, ends := strings.Cut(rest, next)
	if !found || !fenced || !closed || !ends {
		t.Fatalf("%s holds no scenario, or not what comes of it", path)
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("story.txt", []byte(story), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := run("sim", "--story", "story.txt")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	out, _, _ = strings.Cut(out, " plans\n") // with what follows it differs with every change of the core
	out = out[:strings.LastIndex(out, "\n")] + "\n…"
	comes := "    " + strings.ReplaceAll(strings.TrimSpace(out), "\n", "\n    ")
	comes = strings.ReplaceAll(comes, "\n    \n", "\n\n")
	if *update {
		if err := os.WriteFile(path, []byte(before+command+comes+next+after), 0o644); err != nil {
			t.Fatal(err)
		}
		shown = comes
	}
	if shown != comes {
		t.Errorf("docs/simulator.md shows\n%s\n\nand what comes of its scenario is\n%s\n\ngo test ./cmd/stowage/cli -update writes it", shown, comes)
	}
}
