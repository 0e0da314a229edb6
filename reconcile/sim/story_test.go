package sim_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stowage/stowage/reconcile/sim"
	"github.com/stowage/stowage/spec"
)

// TestStory wants a node's crash told in a few lines, with the reasons and the figures.
func TestStory(t *testing.T) {
	data, err := os.ReadFile("testdata/crash-return.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	r := sim.Run(data, sim.Options{Load: load, Story: true, Seed: 1, Out: func(line string) { lines = append(lines, line) }})
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	text := strings.Join(lines, "\n")
	for _, want := range []string{
		"crash n1\n", "n1 unknown: silent for 10s\n", "shop/web[0,3] placed on n2, n3: its node is lost\n", "shop/web[0-5] healthy\n",
		"\navailability 78.", "outages: 2, healed in 31s (median)",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the story does not say %q:\n%s", want, text)
		}
	}
	if f := r.Figures; f.Started != 8 || f.Outages != 2 || f.Wanted < 5_900 || f.Churn < 1_300 || f.Plans == 0 {
		t.Errorf("the figures are %+v", f)
	}
	lines = nil
	sim.Run(data, sim.Options{Load: load, Story: true, JSON: true, Seed: 1, Out: func(line string) { lines = append(lines, line) }})
	placed := false
	for _, line := range lines {
		var v struct {
			Story string
			Lines []struct {
				Who, What, Why string
				Slots          []int
				Times          int
			}
		}
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		for _, l := range v.Lines {
			placed = placed || v.Story == "settle" && l.Who == "shop/web" && l.What == "placed" && l.Why == "its node is lost" && l.Times == 2 && len(l.Slots) == 2
		}
	}
	if !placed {
		t.Errorf("no line says that two were placed anew:\n%s", strings.Join(lines, "\n"))
	}
}

// TestTimesCountFromTheBeginning wants a scenario that begins late to be told and measured as one that begins early, in
// whole milliseconds.
func TestTimesCountFromTheBeginning(t *testing.T) {
	for _, begin := range []string{"", "begin 2026-11-25T12:00:00Z\n"} {
		var out strings.Builder
		script := begin + "nodes n[1-2]\ncommit v1\nsettle\nadvance 1m\nshow allocations\n"
		r := sim.Run([]byte(script+repository), sim.Options{Load: load, Story: true, Out: func(line string) { out.WriteString(line + "\n") }})
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if f := r.Figures; f.For < spec.Minute || f.For > 2*spec.Minute || f.For%spec.Millisecond != 0 || f.Wanted < 1_900 || f.Churn < 1_000 || f.Churn > 1_100 {
			t.Errorf("%q: the figures are %+v", begin, f)
		}
		if !regexp.MustCompile(`(?m)^  web\[0\] .* t=(1\.)?\d+m?s `).MatchString(out.String()) || regexp.MustCompile(`\d{4,}m?s`).MatchString(out.String()) {
			t.Errorf("%q: moments do not count from the beginning, or not in milliseconds:\n%s", begin, out.String())
		}
	}
}
