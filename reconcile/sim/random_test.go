package sim_test

import (
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stowage/stowage/reconcile/sim"
)

var (
	seeds = flag.Int("seeds", 100, "how many random scenarios are played")
	seed  = flag.Int64("seed", -1, "play only this random scenario, and show its script and story")
)

// TestSeeds plays random scenarios: no invariant is violated, and once all faults are over everything comes to rest.
// More of them: go test ./reconcile/sim -run Seeds -seeds 1000, or STOWAGE_SIM_SEEDS=1000 in the environment.
func TestSeeds(t *testing.T) {
	if *seed >= 0 {
		t.Logf("script:\n%s", sim.RandomScript(sim.SmallShape, uint64(*seed)))
		play(t, uint64(*seed))
		return
	}
	n := *seeds
	if text := os.Getenv("STOWAGE_SIM_SEEDS"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 {
			t.Fatalf("STOWAGE_SIM_SEEDS is %q: want a number of scenarios", text)
		}
	} else if testing.Short() {
		n = min(n, 20)
	}
	for s := range uint64(n) {
		play(t, s)
	}
}

func play(t *testing.T, s uint64) {
	t.Helper()
	var out strings.Builder
	r := sim.Random(sim.SmallShape, sim.Options{Seed: s, Out: func(line string) { out.WriteString(line + "\n") }})
	if r.Err != nil {
		t.Errorf("seed %d: %v\nthe script: go test ./reconcile/sim -run Seeds -seed %d -v", s, r.Err, s)
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
