package sim_test

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/stowage/stowage/reconcile/sim"
	"github.com/stowage/stowage/spec"
)

// scaled changes what the environment says: STOWAGE_SIM_DAYS, STOWAGE_SIM_NODES, STOWAGE_SIM_ALLOCATIONS,
// STOWAGE_SIM_UPDATES.
func scaled(t testing.TB, life sim.Life) sim.Life {
	t.Helper()
	for name, field := range map[string]*int{"STOWAGE_SIM_DAYS": &life.Days, "STOWAGE_SIM_NODES": &life.Nodes, "STOWAGE_SIM_ALLOCATIONS": &life.Workload.Allocations, "STOWAGE_SIM_UPDATES": &life.Updates} { // any order: each by itself
		if text := os.Getenv(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				t.Fatalf("%s is %q: want a number", name, text)
			}
			*field = n
		}
	}
	return life
}

// TestLife plays a few days of a cluster with faults and commits at the rates of real ones. STOWAGE_SIM_DAYS makes it
// longer, STOWAGE_SIM_NODES larger.
func TestLife(t *testing.T) {
	life := sim.Year
	life.Nodes, life.Days = 100, 5
	life.Workload.Apps, life.Workload.Allocations = 30, 600
	life.Crashes, life.Partitions, life.Commits, life.Leaders = 30, 20, 6, 20 // of a month; it is small, so that more goes wrong
	r := sim.Live(scaled(t, life), sim.Options{Seed: 1})
	t.Logf("%d events\n%s", r.Events, &r.Figures)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if f := r.Figures; f.Availability < 995_000 || f.Outages == 0 || f.Churn > 10_000 {
		t.Errorf("after all that, availability is %d millionths with %d outages, and churn is %d thousandths", f.Availability, f.Outages, f.Churn)
	}
}

// BenchmarkYear simulates a year of 10,000 nodes with 50,000 allocations, with faults, drains and commits at the rates of
// real clusters, and tells what it was like for those whose apps ran there.
func BenchmarkYear(b *testing.B) {
	for range b.N {
		live(b, scaled(b, sim.Year))
	}
}

// BenchmarkDay simulates one day of the same cluster on which as much happens as in other weeks.
func BenchmarkDay(b *testing.B) {
	life := sim.Year
	life.Days = 1
	life.Crashes, life.Partitions, life.Racks, life.Drains, life.Commits, life.Loops, life.Leaders = 20, 5, 365, 20, 20, 100, 60
	for range b.N {
		live(b, scaled(b, life))
	}
}

func live(b *testing.B, life sim.Life) {
	// Most of the world is always there: collecting it often finds little, as long as there is memory.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(8 << 30))
	// A benchmark's log comes at its end, and a year takes more than half an hour.
	const every = 7 * 24 * spec.Hour
	told, start := spec.Duration(0), time.Now()
	r := sim.Live(life, sim.Options{Seed: 1, After: func(now spec.Duration, events int) {
		if now >= told+every {
			told = now / every * every
			fmt.Fprintf(os.Stderr, "day %d of %d: %d events, %s\n", told/(24*spec.Hour), life.Days, events, time.Since(start).Round(time.Second))
		}
	}})
	if r.Err != nil {
		b.Fatal(r.Err)
	}
	b.Logf("%d events\n%s", r.Events, &r.Figures)
	b.ReportMetric(float64(r.Events), "events")
	b.ReportMetric(float64(r.Figures.Availability)/1e4, "%available")
	b.ReportMetric(float64(r.Figures.Churn)/1e3, "starts/slot")
	b.ReportMetric(float64(r.Figures.Plans), "plans")
}
