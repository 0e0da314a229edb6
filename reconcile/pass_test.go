package reconcile_test

import (
	"testing"

	"github.com/stowage/stowage/spec"
)

// TestOneSlotWithoutAPlace: what it takes of the pace passes on where max_parallel is what counts, and nowhere else.
func TestOneSlotWithoutAPlace(t *testing.T) {
	for about, row := range map[string]struct {
		update func(*spec.Update)
		now    int // replacements at once
	}{
		"max_parallel": {func(u *spec.Update) { u.MaxParallel = 1 }, 1},
		"two at once":  {func(u *spec.Update) { u.MaxParallel = 2 }, 2},
		"min_healthy":  {func(u *spec.Update) { u.MinHealthy = 500 }, 1},
	} {
		l := newLab(t, 2)
		l.in.Desired.Disruption.MaxUnavailable = spec.Percent{Value: 60}
		web := edit(asks("web", 4, 4000, spec.GiB), func(a *spec.App) { row.update(&a.Update) })
		l.commit(web)
		l.settle()
		web = edit(web, count(5))
		l.commit(web)
		l.settle()
		l.commit(edit(web, command("v2")))
		if p := l.step(); now(p, spec.ChangeReplace) != row.now {
			t.Errorf("%s: %d are replaced at once, want %d\n%s", about, now(p, spec.ChangeReplace), row.now, show(p))
		}
		l.settle()
		if r := l.running("web"); r["v2"] != 4 {
			t.Errorf("%s: %v run, want four of v2", about, r)
		}
	}
}

// TestAFullNodeHoldsUpNoOther: a system app whose new version finds no room on one node gets it everywhere else.
func TestAFullNodeHoldsUpNoOther(t *testing.T) {
	l := newLab(t, 0)
	l.in.Nodes = append(l.in.Nodes, node("n1", 1000, spec.GiB), node("n2", 4000, spec.GiB), node("n3", 4000, spec.GiB))
	logs := edit(asks("logs", 0, 500, 64*spec.MiB), everywhere)
	l.commit(logs)
	l.settle()
	l.commit(edit(logs, func(a *spec.App) { command("v2")(a); a.Tasks[0].CPU = 1500 }))
	for range 10 {
		l.step()
		l.world()
		l.advance(11 * spec.Second)
	}
	if r := l.running("logs"); r["v1"] != 1 || r["v2"] != 2 {
		t.Errorf("%v run, want v2 on two nodes and v1 on the third", r)
	}
}
