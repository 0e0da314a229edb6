package control

import (
	"fmt"
	"slices"
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

// TestEveryRequestIsAnswered: a look that takes too long makes room for another one, and who asked for it hears of it. The
// cluster does not take its place.
func TestEveryRequestIsAnswered(t *testing.T) {
	r := misplaced(t)
	rev := commit("cc", spec.ApprovalAuto, r.core.following().cluster.Apps...)
	rev.Cluster.Rebalance = &spec.Rebalance{Every: 10 * spec.Minute, MinGain: 2000, MaxMoves: 1, Parallel: 1}
	r.step(RevisionSeen{Revision: rev})
	r.advance(spec.Second)
	first := proposal(t, r, Rebalance{Request: 1})
	number := r.core.proposals
	r.advance(20 * spec.Minute)
	r.step(Tick{})
	if r.core.proposals != number || r.core.Rebalancing() != nil {
		t.Fatalf("the cluster looks by itself while somebody waits for an answer: %+v", r.core.Rebalancing())
	}
	var second Propose
	answered := map[Request]string{}
	for _, e := range r.core.Step(r.now, Rebalance{Request: 2}) {
		switch e := e.(type) {
		case Answer:
			answered[e.Request] = e.Err
		case Propose:
			second = e
		}
	}
	if len(answered) != 1 || !strings.Contains(answered[1], "another look has begun") {
		t.Errorf("answered is %v", answered)
	}
	r.step(first)
	if len(r.answers) != 0 {
		t.Errorf("the late proposal: %+v", r.answers)
	}
	r.step(Proposed{second.Number, reconcile.Rebalance(second.Input, second.Terms)})
	if len(r.answers) != 1 || r.answers[0].Request != 2 || r.answers[0].Err != "" {
		t.Errorf("%+v", r.answers)
	}
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
	t.Run("in a window that lies between two looks", func(t *testing.T) {
		r := misplaced(t)
		rev := keeping(r, spec.Window{Name: "w", Cron: fmt.Sprintf("%d * * * *", (r.now.Std().Minute()+25)%60), Duration: 15 * spec.Minute})
		r.step(RevisionSeen{Revision: rev})
		began := r.now
		r.advance(80 * spec.Minute)
		if r.core.Rebalancing() != nil || r.core.looked == 0 {
			t.Fatalf("the window is closed, it looked at %s, and the wish is %+v", r.core.looked.Std(), r.core.Rebalancing())
		}
		r.advance(10 * spec.Minute)
		w := r.core.Rebalancing()
		if w == nil || !w.Auto {
			t.Fatalf("%s after it may, the wish is %+v", r.now.Sub(began), w)
		}
		if reconcile.Opens(rev.Cluster, []spec.WindowName{"w"}, w.Since) != w.Since {
			t.Errorf("it looked at %s", w.Since.Std())
		}
	})
	t.Run("while a drain waits for its window, and not in it", func(t *testing.T) {
		// work of n3 has nowhere to go; the window of its drain opens after two hours, for one
		for _, c := range []struct {
			every, none, look spec.Duration
		}{
			{spec.Hour, 55 * spec.Minute, 65 * spec.Minute},
			{150 * spec.Minute, 175 * spec.Minute, 185 * spec.Minute},
		} {
			r := misplaced(t)
			r.join("n3")
			stays := app("stays", 1)
			stays.Constraints = []spec.Constraint{{Attribute: "node.id", Operator: spec.OpEqual, Value: "n3"}}
			rev := commit("cc", spec.ApprovalAuto, append(slices.Clone(r.core.following().cluster.Apps), stays)...)
			from := r.now.Add(2 * spec.Hour).Std().UTC()
			rev.Cluster.Windows = []spec.Window{{Name: "w", Cron: fmt.Sprintf("%d %d * * *", from.Minute(), from.Hour()), Duration: spec.Hour}}
			rev.Cluster.Rebalance = &spec.Rebalance{Every: c.every, MinGain: 2000, MaxMoves: 1, Parallel: 1}
			r.step(RevisionSeen{Revision: rev})
			r.advance(spec.Second)
			r.obey()
			r.step(Drain{Nodes: []spec.NodeID{"n3"}, Window: "w"})
			r.advance(c.none)
			if d := r.core.Drains(); len(d) != 1 || d[0].Left != 1 || r.core.looked != 0 {
				t.Fatalf("every %s: it has looked at %s, and the drains are %+v", c.every, r.core.looked.Std(), d)
			}
			r.advance(c.look - c.none)
			if r.core.looked == 0 {
				t.Errorf("every %s: it has not looked after %s", c.every, c.look)
			}
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
