package sim

import (
	"strings"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// TestRenamedGangIsWhole: what a gang has of its slots under the name that it had before counts.
func TestRenamedGangIsWhole(t *testing.T) {
	gang := newApp("new", spec.KindService, 2)
	gang.Gang = true
	allocation := func(name spec.AppName, slot int) spec.Allocation {
		s := spec.Slot{App: name, Index: slot}
		return spec.Allocation{ID: spec.NewAllocationID(s, 1), Slot: s, Node: "n1", Version: "v", Want: spec.WantRun}
	}
	in := reconcile.Input{
		Desired: &spec.Cluster{Apps: []*spec.App{gang}}, Versions: map[spec.Hash]*spec.App{"v": gang},
		Current: []spec.AllocationView{{Allocation: allocation("old", 0), AllocationStatus: spec.AllocationStatus{State: spec.StateRunning}}},
	}
	for _, renamed := range [][]reconcile.Rename{{{From: "old", To: "new"}}, nil} {
		w := newWorld(&Options{}, epoch)
		w.checkDecision(&in, &reconcile.Decision{Start: []spec.Allocation{allocation("new", 1)}, Renamed: renamed})
		if (w.violates == "") != (renamed != nil) {
			t.Errorf("renamed %v: violates %q", renamed, w.violates)
		}
	}
}

// TestCheckFollowed: what a person has to approve does not take effect by itself, whichever of the two commits says so.
func TestCheckFollowed(t *testing.T) {
	followed := func(a spec.Approval, changes int, by string) *control.Followed {
		return &control.Followed{Revision: spec.Revision{Cluster: &spec.Cluster{Sync: spec.Sync{Approval: a}}}, Plan: spec.Plan{Summary: spec.Summary{Start: changes}}, By: by}
	}
	for _, row := range []struct {
		about    string
		was, now *control.Followed
		wrong    bool
	}{
		{"auto", nil, followed(spec.ApprovalAuto, 3, ""), false},
		{"manual, the first", nil, followed(spec.ApprovalManual, 3, ""), true},
		{"manual, and approved", nil, followed(spec.ApprovalManual, 3, "operator"), false},
		{"manual, and nothing to do", followed(spec.ApprovalManual, 3, "operator"), followed(spec.ApprovalManual, 0, ""), false},
		{"no longer manual", followed(spec.ApprovalManual, 3, "operator"), followed(spec.ApprovalAuto, 1, ""), true},
	} {
		w := newWorld(&Options{}, epoch)
		if row.was != nil {
			w.master.journal = append(w.master.journal, control.Entry{Followed: row.was})
		}
		w.master.journal = append(w.master.journal, control.Entry{Followed: row.now})
		w.checkEntry(&w.master.journal[len(w.master.journal)-1])
		if (w.violates != "") != row.wrong {
			t.Errorf("%s: violates %q", row.about, w.violates)
		}
	}
}

// TestCheckDecision gives the invariants over decisions one that breaks each of them, and the same without the mistake.
func TestCheckDecision(t *testing.T) {
	app := func(name string, f func(*spec.App)) *spec.App {
		a := newApp(spec.AppName(name), spec.KindService, 2)
		a.Role, a.Tasks[0].CPU = "one/two", 1000
		f(a)
		return a
	}
	plain := app("plain", func(*spec.App) {})
	gang := app("gang", func(a *spec.App) { a.Gang = true })
	batch := app("batch", func(a *spec.App) { a.Kind = spec.KindBatch })
	near := app("near", func(a *spec.App) {
		a.Constraints = []spec.Constraint{{App: "plain", Attribute: "rack", Operator: spec.OpNear}}
	})
	apart := app("apart", func(a *spec.App) {
		a.Constraints = []spec.Constraint{{App: "plain", Attribute: "node.id", Operator: spec.OpApart}}
	})
	runs := func(a *spec.App, slot int, node string, g int) spec.Allocation {
		s := spec.Slot{App: a.Name, Index: slot}
		return spec.Allocation{ID: spec.NewAllocationID(s, spec.Generation(g)), Slot: s, Node: spec.NodeID(node), Generation: spec.Generation(g), Version: spec.Hash(a.Name), Want: spec.WantRun}
	}
	complete := spec.AllocationView{Allocation: runs(batch, 0, "n1", 1), AllocationStatus: spec.AllocationStatus{State: spec.StateComplete}}
	running := spec.AllocationView{Allocation: runs(plain, 0, "n1", 1), AllocationStatus: spec.AllocationStatus{State: spec.StateRunning}}
	canary := spec.AllocationView{Allocation: runs(gang, 1, "n2", 1), AllocationStatus: spec.AllocationStatus{State: spec.StateRunning}}
	canary.Canary = true
	for _, row := range []struct {
		about   string
		start   []spec.Allocation
		violate string
		promote bool
	}{
		{"within the quota", []spec.Allocation{runs(plain, 1, "n2", 2)}, "", false},
		{"a replacement counts once", []spec.Allocation{runs(plain, 0, "n2", 2), runs(plain, 1, "n2", 2)}, "", false},
		{"above the quota", []spec.Allocation{runs(plain, 1, "n2", 2), runs(plain, 2, "n2", 2)}, invariantQuota, false},
		{"half a gang", []spec.Allocation{runs(gang, 0, "n1", 2)}, invariantGang, false},
		{"the rest of a gang whose canary is promoted", []spec.Allocation{runs(gang, 0, "n1", 2)}, "", true},
		{"near", []spec.Allocation{runs(near, 0, "n2", 2)}, "", false},
		{"not near", []spec.Allocation{runs(near, 0, "n3", 2)}, invariantNear, false},
		{"apart", []spec.Allocation{runs(apart, 0, "n2", 2)}, "", false},
		{"not apart", []spec.Allocation{runs(apart, 0, "n1", 2)}, invariantNear, false},
		{"not apart from what starts", []spec.Allocation{runs(apart, 0, "n3", 2), runs(plain, 0, "n3", 2)}, invariantNear, false},
		{"work that is left", []spec.Allocation{runs(batch, 1, "n2", 2)}, "", false},
		{"work that is done", []spec.Allocation{runs(batch, 0, "n2", 2)}, invariantOnce, false},
	} {
		in := reconcile.Input{Current: []spec.AllocationView{complete, running}, Versions: map[spec.Hash]*spec.App{}, Desired: &spec.Cluster{
			Apps:  []*spec.App{plain, gang, batch, near, apart},
			Roles: []spec.Role{{Name: "one", Quota: &spec.Resources{CPU: 2000}}, {Name: "one/two"}},
		}}
		for _, a := range in.Desired.Apps {
			in.Versions[spec.Hash(a.Name)] = a
		}
		for _, n := range []string{"n1", "n2", "n3"} {
			rack := map[string]string{"rack": "a"}
			if n == "n3" {
				rack["rack"] = "b"
			}
			in.Nodes = append(in.Nodes, spec.NodeView{State: spec.NodeReady, Node: spec.Node{ID: spec.NodeID(n), Attributes: rack}})
		}
		w := newWorld(&Options{}, epoch)
		d := reconcile.Decision{Start: row.start}
		if row.promote {
			in.Current = []spec.AllocationView{canary}
			d.Update = []reconcile.Update{{ID: canary.ID, Version: canary.Version, Promote: true}}
		}
		w.checkDecision(&in, &d)
		if (w.violates == "") != (row.violate == "") || !strings.Contains(w.violates, row.violate) {
			t.Errorf("%s: violates %q, want %q", row.about, w.violates, row.violate)
		}
	}
}
