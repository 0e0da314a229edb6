package control

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// proposal asks for moves and looks for them, without the answer getting to the core: two apps stand where they may no
// longer stand.
func proposal(t *testing.T, r *rig, request Rebalance) Proposed {
	t.Helper()
	for _, e := range r.core.Step(r.now, request) {
		if p, ok := e.(Propose); ok {
			moves := reconcile.Rebalance(p.Input, p.Terms)
			if len(moves.Moves) != 2 || len(moves.Gains) != 2 {
				t.Fatalf("the proposal is %+v", moves)
			}
			return Proposed{p.Number, moves}
		}
	}
	t.Fatal("no moves are asked for")
	return Proposed{}
}

// misplaced is a cluster of which two apps, each on a node that it may no longer be on, want to be elsewhere.
func misplaced(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, true)
	r.join("n1", "n2")
	settle := func() {
		for range 4 {
			r.advance(11 * spec.Second)
			r.obey()
		}
	}
	a, b := app("a", 1), app("b", 1)
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalAuto, a, b)})
	settle()
	other := map[spec.NodeID]string{"n1": "n2", "n2": "n1"}
	for i, x := range []*spec.App{a, b} {
		tied := *x
		tied.Constraints = []spec.Constraint{{Attribute: "node.id", Operator: spec.OpEqual, Value: other[r.core.Allocations()[i].Node]}}
		if i == 0 {
			a = &tied
		} else {
			b = &tied
		}
	}
	r.step(RevisionSeen{Revision: commit("bb", spec.ApprovalAuto, a, b)})
	settle()
	return r
}

// keeping is a commit of the apps of today that keep to a window, in which the cluster rebalances itself.
func keeping(r *rig, w spec.Window) spec.Revision {
	var apps []*spec.App
	for _, a := range r.core.following().cluster.Apps {
		c := *a
		c.Update.Windows = []spec.WindowName{w.Name}
		apps = append(apps, &c)
	}
	rev := commit("cc", spec.ApprovalAuto, apps...)
	rev.Cluster.Windows = []spec.Window{w}
	rev.Cluster.Rebalance = &spec.Rebalance{Every: spec.Hour, MinGain: 2000, MaxMoves: 1, Parallel: 1}
	return rev
}

// TestProposalIsCheckedAgain: moves are looked for beside the core, and what is no longer so by then falls away.
func TestProposalIsCheckedAgain(t *testing.T) {
	t.Run("nothing has moved", func(t *testing.T) {
		r := misplaced(t)
		p := proposal(t, r, Rebalance{Request: 1})
		r.step(Rebalance{Request: 2})
		if len(r.answers) != 1 || !strings.Contains(r.answers[0].Err, "already") {
			t.Errorf("a second one: %+v", r.answers)
		}
		r.step(p)
		if w := r.core.Rebalancing(); w == nil || len(w.Moves) != 2 || w.ID != p.Rebalancing.ID {
			t.Errorf("the wish is %+v", w)
		}
		r.step(p)
		if len(r.answers) != 0 {
			t.Errorf("the same answer twice: %+v", r.answers)
		}
		r.sameAsJournal()
	})
	t.Run("a node is to be empty", func(t *testing.T) {
		r := misplaced(t)
		p := proposal(t, r, Rebalance{Request: 1})
		r.step(Drain{Nodes: []spec.NodeID{p.Rebalancing.Moves[0].From}})
		r.step(p)
		if w := r.core.Rebalancing(); w != nil { // the other one would go there
			t.Errorf("it moves %+v", w.Moves)
		}
		if len(r.answers) != 1 || !r.answers[0].NoOp {
			t.Errorf("%+v", r.answers)
		}
	})
	t.Run("what was seen is no longer so", func(t *testing.T) {
		r := misplaced(t)
		seen := proposal(t, r, Rebalance{Request: 1})
		r.advance(ProposeWithin) // that answer never comes
		p := proposal(t, r, Rebalance{Request: 2, ID: seen.Rebalancing.ID})
		r.step(Drain{Nodes: []spec.NodeID{p.Rebalancing.Moves[0].To}})
		r.step(seen)
		if len(r.answers) != 0 {
			t.Errorf("the late answer counts: %+v", r.answers)
		}
		r.step(p)
		if len(r.answers) != 1 || !strings.Contains(r.answers[0].Err, "has changed since") || r.core.Rebalancing() != nil {
			t.Errorf("%+v", r.answers)
		}
	})
	t.Run("another commit", func(t *testing.T) {
		r := misplaced(t)
		p := proposal(t, r, Rebalance{Request: 1})
		r.step(RevisionSeen{Revision: commit("cc", spec.ApprovalAuto, app("a", 1), app("b", 1))})
		r.step(p)
		if len(r.answers) != 1 || r.answers[0].Err == "" || r.core.Rebalancing() != nil {
			t.Errorf("%+v", r.answers)
		}
	})
}

// TestLooksForMovesByItself: where the commit lets it, the core looks for moves once it is time, and not while a node is to be
// empty or moves are under way. What it finds is worth what the commit asks for.
func TestLooksForMovesByItself(t *testing.T) {
	let := func(r *rig, id string, every spec.Duration, gain spec.Milli) {
		rev := commit(id, spec.ApprovalManual, r.core.following().cluster.Apps...)
		rev.Cluster.Rebalance = &spec.Rebalance{Every: every, MinGain: gain, MaxMoves: 1, Parallel: 1}
		r.step(RevisionSeen{Revision: rev})
		r.advance(spec.Second)
		if p := r.core.Pending(); p != nil {
			r.step(Approve{ID: p.Plan.ID})
		}
	}
	t.Run("once it is time", func(t *testing.T) {
		r := misplaced(t)
		let(r, "cc", 10*spec.Minute, 2000)
		r.advance(5 * spec.Minute)
		if r.core.Rebalancing() != nil {
			t.Fatal("it looks too early")
		}
		r.advance(10 * spec.Minute)
		w := r.core.Rebalancing()
		if w == nil || !w.Auto || len(w.Moves) != 1 || w.Parallel != 1 {
			t.Fatalf("the wish is %+v", w)
		}
		r.sameAsJournal()
	})
	t.Run("not while a node is to be empty", func(t *testing.T) {
		r := misplaced(t)
		node := r.core.Allocations()[0].Node
		r.step(Drain{Nodes: []spec.NodeID{node}})
		let(r, "cc", 10*spec.Minute, 2000)
		r.advance(30 * spec.Minute)
		if r.core.Rebalancing() != nil {
			t.Fatal("it looks while work has to leave")
		}
		r.step(Undrain{Nodes: []spec.NodeID{node}})
		if w := r.core.Rebalancing(); w == nil || !w.Auto {
			t.Fatalf("it does not look once the drain is over: %+v", w)
		}
	})
	t.Run("not outside of the windows of apps, whatever changes take effect at once", func(t *testing.T) {
		r := misplaced(t)
		r.step(RevisionSeen{Revision: keeping(r, spec.Window{Name: "w", Cron: fmt.Sprintf("0 %d * * *", (r.now.Std().Hour()+12)%24), Duration: spec.Hour})})
		r.advance(spec.Second)
		r.step(Approve{Request: 1, Now: true})
		if len(r.answers) != 1 || r.answers[0].Err != "" {
			t.Fatalf("%+v", r.answers)
		}
		r.advance(5 * spec.Hour)
		if w := r.core.Rebalancing(); w != nil {
			t.Errorf("the wish is %+v", w)
		}
	})
	t.Run("worth too little", func(t *testing.T) {
		r := misplaced(t)
		let(r, "cc", 10*spec.Minute, 9000) // a rule that no longer holds is worth eight moves
		r.advance(spec.Hour)
		if w := r.core.Rebalancing(); w != nil {
			t.Fatalf("the wish is %+v", w)
		}
	})
}
