package control

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stowage/stowage/spec"
)

// closedUntilNight is a cluster at noon whose app keeps to a window of the night, and whose next version is committed.
func closedUntilNight(t *testing.T, approval spec.Approval) *rig {
	t.Helper()
	r := newRig(t, true)
	r.now = spec.TimeOf(time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC))
	r.lead(NewState(), true)
	r.join("n1", "n2")
	r.night("aa", approval, "one")
	for range 4 {
		r.advance(11 * spec.Second)
		r.obey()
	}
	r.night("bb", approval, "two")
	r.advance(12 * spec.Second)
	return r
}

// night commits a version of the app that keeps to the window, and approves it where that is needed.
func (r *rig) night(id string, approval spec.Approval, command string) {
	r.t.Helper()
	a := app("web", 2)
	a.Update.Windows = []spec.WindowName{"nightly"}
	a.Tasks[0].Command = []string{command}
	rev := commit(id, approval, a)
	rev.Cluster.Windows = []spec.Window{{Name: "nightly", Cron: "0 2 * * *", Duration: 3 * spec.Hour}}
	r.step(RevisionSeen{Revision: rev})
	r.advance(spec.Second)
	if p := r.core.Pending(); p != nil && id == "aa" {
		r.step(Approve{ID: p.Plan.ID})
	}
}

func (r *rig) waits() *spec.WindowWait {
	for _, a := range r.core.Apps() {
		return a.Waits
	}
	return nil
}

// TestWaitsForItsWindow: the core asks to be woken when the window opens, at rest until then; a leader that begins in between does too.
func TestWaitsForItsWindow(t *testing.T) {
	r := closedUntilNight(t, spec.ApprovalAuto)
	if w := r.waits(); w == nil || w.Text != "window nightly opens Fri 02:00 UTC" || !r.core.Idle() {
		t.Fatalf("it waits for %+v, idle %v", w, r.core.Idle())
	}
	opens := spec.TimeOf(time.Date(2026, 11, 27, 2, 0, 0, 0, time.UTC))
	if got := r.core.Next(); got == 0 || got > opens {
		t.Errorf("it wants to be woken at %s", got.Std())
	}
	r.sameAsJournal()
	r.now = opens
	r.step(Tick{})
	if w := r.waits(); w != nil {
		t.Errorf("the window is open, and it waits for %+v", w)
	}
}

// TestNow: an operator lets the changes of one commit begin, before or with the approval.
func TestNow(t *testing.T) {
	t.Run("followed", func(t *testing.T) {
		r := closedUntilNight(t, spec.ApprovalAuto)
		r.step(Approve{Request: 1, Now: true, By: "ann"})
		if a := r.answers[0]; a.Err != "" || a.Plan == nil || a.Plan.Apps[0].Waits != nil || r.waits() != nil {
			t.Fatalf("%+v, it waits for %+v", a, r.waits())
		}
		r.step(Approve{Request: 2, Now: true})
		if !r.answers[0].NoOp {
			t.Errorf("once more: %+v", r.answers)
		}
		r.sameAsJournal()
		for range 4 {
			r.advance(11 * spec.Second)
			r.obey()
		}
		r.night("cc", spec.ApprovalAuto, "three")
		if r.waits() == nil {
			t.Error("it holds for the next commit too")
		}
	})
	t.Run("approved", func(t *testing.T) {
		r := closedUntilNight(t, spec.ApprovalManual)
		p := r.core.Pending()
		if p == nil || p.Plan.Apps[0].Waits == nil {
			t.Fatalf("%+v waits for approval", p)
		}
		r.step(Approve{Request: 1, Now: true})
		followed := r.core.State().Following.Plan.ID
		want := fmt.Sprintf("no plan is named, and plan %[1]s waits for approval. Approve it with stowage apply --now %[1]s, "+
			"or let what is followed already wait for no window with stowage apply --now %[2]s.", p.Plan.ID, followed)
		if got := r.answers[0].Err; got != want {
			t.Errorf("a plan waits, and none is named: %s\nwant %s", got, want)
		}
		r.step(Approve{Request: 3, ID: followed, Now: true})
		if a := r.answers[0]; a.Err != "" || r.core.Pending() == nil || !r.core.State().Following.AtOnce {
			t.Errorf("what is followed is named as the answer says: %+v", a)
		}
		r.step(Approve{Request: 2, ID: p.Plan.ID, Now: true})
		if a := r.answers[0]; a.Err != "" || !r.core.State().Following.AtOnce || r.waits() != nil {
			t.Errorf("%+v", a)
		}
		r.sameAsJournal()
	})
}

// TestDrainNamesItsWindow: an unknown one is refused with those that there are.
func TestDrainNamesItsWindow(t *testing.T) {
	r := closedUntilNight(t, spec.ApprovalAuto)
	r.step(Drain{Request: 1, Nodes: []spec.NodeID{"n1"}, Window: "weekly"})
	if a := r.answers[0]; !strings.Contains(a.Err, "There are: nightly") {
		t.Errorf("%+v", a)
	}
	r.step(Drain{Request: 2, Nodes: []spec.NodeID{"n1"}, Window: "nightly", Deadline: spec.Hour})
	if a := r.answers[0]; a.Err != "" || len(a.Nodes) != 1 || a.Nodes[0] != "n1" {
		t.Errorf("%+v", a)
	}
	drains := r.core.Drains()
	if len(drains) != 1 {
		t.Fatalf("the drains are %+v", drains)
	}
	if d := drains[0]; d.Deadline != spec.TimeOf(time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC)) || d.Left == 0 || d.Wait == nil || d.Wait.Window != "nightly" {
		t.Errorf("the drain is %+v", d)
	}
	r.sameAsJournal()
}
