package view

import (
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

// looks are two of one node, two seconds apart: a task that used a second of processor, and one that was started again meanwhile.
func looks() (before, now []spec.NodeUsage) {
	at := spec.Time(1000 * spec.Second)
	look := func(at spec.Time, cpu, read uint64, second spec.Time, fresh uint64) []spec.NodeUsage {
		return []spec.NodeUsage{{Node: "n1", At: at, CPUs: 4, CPUNanos: 10 * cpu, Memory: 3 * spec.GiB, Total: 8 * spec.GiB, Allocations: []spec.AllocationUsage{
			{ID: "web-0-1", Slot: spec.Slot{App: "web", Index: 0}, Tasks: []spec.TaskUsage{
				{Task: "main", Started: 1, CPUNanos: cpu, ThrottledNanos: cpu / 10, ReadBytes: read, Memory: 30 * spec.MiB, MemoryPeak: 50 * spec.MiB, MemoryAsked: 64 * spec.MiB, CPUAsked: 250, Pids: 3,
					Pressure: spec.Pressure{CPU: 12.4, IO: 0.3}},
				{Task: "side", Started: second, CPUNanos: fresh, Memory: 2 * spec.MiB, MemoryAsked: 4 * spec.MiB, MemoryMax: 8 * spec.MiB, CPUAsked: 50, Pids: 1, OOMKills: 2},
			}},
			{ID: "db-0-2", Slot: spec.Slot{App: "db", Index: 0}, Tasks: []spec.TaskUsage{{Task: "main", Error: "the executor is away"}}},
		}}, {Node: "n2", Error: "node n2 is not in touch"}}
	}
	return look(at, 5e9, 1<<20, 1, 100e9), look(at+2*spec.Time(spec.Second), 6e9, 3<<20, 2, 1e9)
}

func TestUsesAreRates(t *testing.T) {
	before, now := looks()
	nodes, uses := Uses(before, now, true)
	if err := SortUses(uses, "cpu"); err != nil {
		t.Fatal(err)
	}
	main, side := uses[0], uses[2]
	if main.Task != "main" || main.CPU != 500 || main.Throttled != 5 || main.Read != spec.MiB || !main.PerSecond {
		t.Errorf("%+v", main)
	}
	if side.Task != "side" || side.PerSecond || side.CPU != 0 {
		t.Errorf("a task that began anew has rates: %+v", side)
	}
	if nodes[0].CPU != 5000 || nodes[0].CPUAsked != 300 || nodes[0].MemoryTasks != 32*spec.MiB || nodes[1].Error == "" {
		t.Errorf("%+v", nodes)
	}
	if _, once := Uses(nil, now, true); once[0].PerSecond || once[0].CPU != 0 {
		t.Errorf("one look gives rates: %+v", once[0])
	}
	_, whole := Uses(before, now, false)
	if err := SortUses(whole, "memory"); err != nil || whole[0].Memory != 32*spec.MiB || whole[0].MemoryMax != 72*spec.MiB || whole[0].Pids != 4 || whole[0].PerSecond {
		t.Errorf("%v %+v", err, whole[0])
	}
	if SortUses(whole, "size") == nil {
		t.Error("an order that there is none of")
	}
}

func TestUsesAreShownBesideWhatWasAsked(t *testing.T) {
	before, now := looks()
	nodes, uses := Uses(before, now, true)
	var out strings.Builder
	p := &Page{Out: &out}
	p.NodeUses(nodes)
	p.Uses(uses)
	for _, want := range []string{"n1    5/4  0.5    0.3    3GiB/8GiB", "node n2 is not in touch", "web[0] main  n1    0.5  200% of 0.25  30MiB   46% of 64MiB  50MiB  3     1MiB 0B",
		"throttled 5%, waits: cpu 12%", "2 killed for memory", "the executor is away"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

func TestAmountsHaveThreeDigits(t *testing.T) {
	for b, want := range map[spec.Bytes]string{0: "0B", 999: "999B", 1024: "1KiB", 1536: "1.5KiB", 102400: "100KiB", 1023 * spec.KiB: "1023KiB", 123456789: "118MiB", 5 * spec.TiB: "5TiB"} {
		if got := amount(b); got != want {
			t.Errorf("%d: %s, not %s", b, got, want)
		}
	}
}

// What is set aside for an allocation is so while its tasks wait for their restart, too.
func TestWhatWaitsHasAskedAllTheSame(t *testing.T) {
	waits := []spec.NodeUsage{{Node: "n1", At: 1, Allocations: []spec.AllocationUsage{{ID: "web-0-1", Slot: spec.Slot{App: "web"}, CPUAsked: 250, MemoryAsked: 64 * spec.MiB}}}}
	nodes, uses := Uses(nil, waits, false)
	if nodes[0].CPUAsked != 250 || nodes[0].MemAsked != 64*spec.MiB || len(uses) != 1 || uses[0].CPUAsked != 250 {
		t.Errorf("%+v %+v", nodes, uses)
	}
}
