package control

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

func scalable(name spec.AppName, least, most int) *spec.App {
	a := app(name, least)
	a.Scaling = &spec.Scaling{Min: least, Max: most}
	a.Pos = spec.Pos{File: "web.hcl", Line: 7}
	return a
}

// TestWhoDecidesTheCount: each wish with its answer, and the count that is in force after it.
func TestWhoDecidesTheCount(t *testing.T) {
	r := newRig(t, true)
	r.join("n1", "n2", "n3")
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalAuto, app("fixed", 1), scalable("web", 2, 5))})
	r.advance(spec.Second)
	for _, c := range []struct {
		name   string
		app    spec.AppName
		count  int
		says   string // in the answer; "": it is done
		noOp   bool
		counts int // of web afterwards
	}{
		{"up", "web", 4, "", false, 4},
		{"the same again", "web", 4, "", true, 4},
		{"to the greatest", "web", 5, "", false, 5},
		{"beyond it", "web", 6, "outside the bounds of web, 2 to 5, which stand at web.hcl:7", false, 5},
		{"to the least", "web", 2, "", false, 2},
		{"below it", "web", 1, "outside the bounds", false, 2},
		{"none", "web", -1, "outside the bounds", false, 2},
		{"an app whose count is Git's", "fixed", 3, "Add scaling", false, 2},
		{"an app that is not there", "wbe", 3, "there is no app \"wbe\"", false, 2},
	} {
		r.step(Scale{Request: 1, App: c.app, Count: c.count, By: "ann"})
		a := r.answers[0]
		if (a.Err == "") != (c.says == "") || !strings.Contains(a.Err, c.says) || a.NoOp != c.noOp {
			t.Errorf("%s: the answer is %+v", c.name, a)
		}
		if n := r.core.App("web").Count; n != c.counts {
			t.Errorf("%s: the count is %d, want %d", c.name, n, c.counts)
		}
		r.sameAsJournal()
	}
}

// TestCommitsAndCounts: what each next commit makes of a count that was chosen for the one before.
func TestCommitsAndCounts(t *testing.T) {
	for _, c := range []struct {
		name  string
		next  *spec.App
		moved []spec.Moved
		app   spec.AppName
		count int
	}{
		{"another program", func() *spec.App { a := scalable("web", 2, 6); a.Tasks[0].Command = []string{"other"}; return a }(), nil, "web", 4},
		{"another count to begin with", func() *spec.App { a := scalable("web", 2, 6); a.Count = 5; return a }(), nil, "web", 4},
		{"bounds below it", scalable("web", 1, 3), nil, "web", 3},
		{"bounds above it", scalable("web", 5, 8), nil, "web", 5},
		{"no bounds", app("web", 2), nil, "web", 2},
		{"another name", scalable("shop/web", 2, 6), []spec.Moved{{From: "web", To: "shop/web"}}, "shop/web", 4},
	} {
		r := newRig(t, true)
		r.join("n1", "n2", "n3")
		r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalAuto, scalable("web", 2, 6))})
		r.advance(spec.Second)
		r.step(Scale{App: "web", Count: 4})
		rev := commit("bb", spec.ApprovalAuto, c.next)
		rev.Cluster.Moved = c.moved
		r.step(RevisionSeen{Revision: rev})
		r.advance(spec.Second)
		if n := r.core.App(c.app).Count; n != c.count {
			t.Errorf("%s: the count is %d, want %d", c.name, n, c.count)
		}
		r.sameAsJournal()
	}
}

// TestAfterALostJournalAsManyGoOnAsRun: slots that an earlier choice left out do not count.
func TestAfterALostJournalAsManyGoOnAsRun(t *testing.T) {
	r := newRig(t, false)
	a := scalable("web", 1, 6)
	n := spec.Node{ID: "n1", Capacity: spec.Resources{CPU: 4000, Memory: 8 * spec.GiB, Disk: spec.TiB}}
	report := spec.Report{Full: true, Node: &n, Generation: 57}
	for _, index := range []int{1, 2, 4} {
		id := spec.AllocationID(fmt.Sprintf("web-%d-41", index))
		old := spec.Allocation{ID: id, Slot: spec.Slot{App: "web", Index: index}, Node: "n1", Generation: 41, Version: a.Hash(), Runtime: a.RuntimeHash(), Want: spec.WantRun}
		report.Allocations = append(report.Allocations, spec.ReportAllocation{ID: id, Decided: &old, Spec: a,
			Status: spec.AllocationStatus{State: spec.StateRunning, Healthy: true, HealthySince: start, Since: start}})
	}
	r.step(NodeConnected{"n1", 7}, NodeReported{"n1", 7, report})
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalAuto, a)})
	r.advance(SettleFor + spec.Second)
	all := r.core.Allocations()
	for _, v := range all {
		if v.Generation != 41 || v.Want != spec.WantRun {
			t.Errorf("%s is new or stops", v.ID)
		}
	}
	if n := r.core.App("web").Count; n != 3 || len(all) != 3 {
		t.Errorf("the count is %d, and there are %d", n, len(all))
	}
	r.sameAsJournal()
}
