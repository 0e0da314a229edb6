package reconcile_test

import (
	"slices"
	"testing"

	"github.com/stowage/stowage/spec"
)

// TestOvercommit is the case of behaviour that has no limit, and the same with limits: 1,164 MB, asks of 200 that burst to 500.
func TestOvercommit(t *testing.T) {
	for _, test := range []struct {
		percent, placed int
		rule            string
	}{{0, 5, "memory"}, {100, 2, "memory_max"}, {150, 3, "memory_max"}, {300, 5, "memory"}} {
		l := newLab(t, 0)
		l.in.Nodes = []spec.NodeView{node("n1", 8000, 1164*spec.MiB)}
		l.in.Desired.Overcommit.Memory = test.percent
		a := asks("burst", 10, 100, 200*spec.MiB)
		a.Tasks[0].MemoryMax = 500 * spec.MiB
		l.commit(a)
		p, _ := l.plan()
		if p.Summary.Start != test.placed || p.Summary.Blocked != 10-test.placed {
			t.Errorf("%d %%: %+v", test.percent, p.Summary)
		}
		if b := p.Apps[0].Blocked; b == nil || !slices.ContainsFunc(b.Reasons, func(r spec.Reason) bool { return r.Rule == test.rule && r.Detail != "" }) {
			t.Errorf("%d %%: blocked by %+v", test.percent, b)
		}
		if got := p.Capacity.Total.MemoryMax; (got > 0) != (test.percent > 0) {
			t.Errorf("%d %%: the capacity says %s", test.percent, got)
		}
	}
}
