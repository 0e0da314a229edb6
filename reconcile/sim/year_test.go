package sim_test

import (
	"os"
	"strconv"
	"testing"

	"github.com/stowage/stowage/reconcile/sim"
)

// TestLife plays a few days of a cluster with faults and commits at the rates of real ones. STOWAGE_SIM_DAYS makes it
// longer, STOWAGE_SIM_NODES larger.
func TestLife(t *testing.T) {
	life := sim.Year
	life.Nodes, life.Days = 100, 5
	life.Workload.Apps, life.Workload.Allocations = 30, 600
	life.Crashes, life.Partitions, life.Commits, life.Leaders = 30, 20, 6, 20                                                                                           // of a month; it is small, so that more goes wrong
	for name, field := range map[string]*int{"STOWAGE_SIM_DAYS": &life.Days, "STOWAGE_SIM_NODES": &life.Nodes, "STOWAGE_SIM_ALLOCATIONS": &life.Workload.Allocations} { // any order: each by itself
		if text := os.Getenv(name); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 {
				t.Fatalf("%s is %q: want a number", name, text)
			}
			*field = n
		}
	}
	r := sim.Live(life, sim.Options{Seed: 1})
	t.Logf("%d events\n%s", r.Events, &r.Figures)
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	if f := r.Figures; f.Availability < 995_000 || f.Outages == 0 || f.Churn > 10_000 {
		t.Errorf("after all that, availability is %d millionths with %d outages, and churn is %d thousandths", f.Availability, f.Outages, f.Churn)
	}
}
