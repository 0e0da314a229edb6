package sim_test

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/sim"
	"github.com/stowage/stowage/spec"
)

var (
	seeds = flag.Int("seeds", 50, "how many random scenarios are played")
	first = flag.Uint64("first", 0, "the seed of the first one")
	seed  = flag.Int64("seed", -1, "play only this random scenario, and show it")
	input = flag.String("input", "", "the file for the input of the plan that went wrong, for stowage plan --input")
	short = flag.Bool("shorten", true, "look for the shortest scenario that goes wrong in the same way")
)

// garbage is how much more than what is in use may lie about, in percent: a random scenario lives in a few megabytes, and at
// Go's 100 a third of the processor's time went into collecting.
const garbage = 800

// TestSeeds plays random scenarios: no invariant is violated, and once all faults are over everything comes to rest.
// More of them: go test ./reconcile/sim -run Seeds -seeds 1000 -first 5000, or STOWAGE_SIM_SEEDS=1000 and
// STOWAGE_SIM_FIRST=5000 in the environment.
func TestSeeds(t *testing.T) {
	if *seed >= 0 {
		t.Logf("%s", sim.RandomScenario(sim.SmallShape, uint64(*seed)))
		play(t, uint64(*seed))
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(garbage))
	n, from := uint64(*seeds), *first
	if testing.Short() {
		n = min(n, 20)
	}
	n, from = fromEnvironment(t, "STOWAGE_SIM_SEEDS", n), fromEnvironment(t, "STOWAGE_SIM_FIRST", from)
	work := make(chan uint64)
	var players sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		players.Go(func() {
			for s := range work {
				play(t, s)
			}
		})
	}
	for s := range n {
		work <- from + s
	}
	close(work)
	players.Wait()
}

func fromEnvironment(t *testing.T, name string, fallback uint64) uint64 {
	text := os.Getenv(name)
	if text == "" {
		return fallback
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s is %q: want a number", name, text)
	}
	return n
}

// shortened are the ways to go wrong of which the shortest scenario was looked for: once for each, as it takes time.
var shortened sync.Map

func play(t *testing.T, s uint64) {
	t.Helper()
	o := sim.Options{Seed: s, Load: load}
	r := sim.Random(sim.SmallShape, o)
	if r.Err == nil {
		return
	}
	t.Errorf("seed %d: %v\n%s", s, r.Err, r.Last)
	if r.Input != nil && *input != "" {
		save(t, *input, r.Input)
	}
	if _, again := shortened.LoadOrStore(r.Broke, true); *short && !again {
		text, _, err := sim.MinimiseRandom(sim.SmallShape, o)
		t.Errorf("seed %d, the shortest scenario that goes wrong so (%v):\n%s", s, err, text)
	}
}

func save(t *testing.T, file string, in *reconcile.Saved) {
	t.Helper()
	text, err := json.MarshalIndent(in, "", "  ")
	if err == nil {
		err = os.WriteFile(file, text, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestRandomScenarioIsAFile plays random scenarios, and the same written down as files: what happens is the same.
func TestRandomScenarioIsAFile(t *testing.T) {
	for s := range uint64(12) {
		text := sim.RandomScenario(sim.SmallShape, s)
		made, read := sim.Random(sim.SmallShape, sim.Options{Seed: s}), sim.Run([]byte(text), sim.Options{Seed: s, Load: load})
		if read.Err != nil || made.Events != read.Events || !reflect.DeepEqual(made.Figures, read.Figures) {
			t.Errorf("seed %d: %d events made up, %d read: %v\n%s", s, made.Events, read.Events, read.Err, text)
		}
	}
}

// TestRandomScenarioIsReadable has the language read what random scenarios commit: what is written down of one is never refused,
// but for the commits that are meant to be.
func TestRandomScenarioIsReadable(t *testing.T) {
	commits := 0
	for s := range uint64(150) {
		folders := map[string]*txtar.Archive{}
		for _, f := range txtar.Parse([]byte(sim.RandomScenario(sim.SmallShape, s))).Files {
			name, path, _ := strings.Cut(f.Name, "/")
			folders[name] = &txtar.Archive{Files: []txtar.File{{Name: path, Data: f.Data}}}
		}
		for name, archive := range folders {
			fsys, err := txtar.FS(archive)
			if err != nil {
				t.Fatal(err)
			}
			commits++
			_, ds := load(fsys)
			for _, d := range ds {
				if text := string(archive.Files[0].Data); d.Severity == spec.SeverityError && strings.Count(text, "\n") > 1 {
					t.Errorf("seed %d, commit %s: %s line %d: %s: %s\n%s", s, name, d.Pos.File, d.Pos.Line, d.Summary, d.Detail, text)
				}
			}
		}
	}
	if commits < 300 {
		t.Errorf("only %d commits were read", commits)
	}
}

// TestSeedsRepeat plays a few random scenarios twice: the traces are the same.
func TestSeedsRepeat(t *testing.T) {
	for s := range uint64(5) {
		a := sim.Random(sim.SmallShape, sim.Options{Seed: s})
		b := sim.Random(sim.SmallShape, sim.Options{Seed: s})
		if a.Trace != b.Trace {
			t.Errorf("seed %d: traces %s and %s", s, a.Trace, b.Trace)
		}
		if c := sim.Random(sim.SmallShape, sim.Options{Seed: s + 1000}); c.Trace == a.Trace {
			t.Errorf("seeds %d and %d have the same trace", s, s+1000)
		}
	}
}
