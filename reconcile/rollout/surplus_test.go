package rollout_test

import (
	"testing"

	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// TestSurplusKeepsWhatItBegan lowers a count while two slots have failed: the one that was given up stays given up.
// Were it the other's turn once this one has a new allocation, the two would take turns for ever.
func TestSurplusKeepsWhatItBegan(t *testing.T) {
	app := &spec.App{Name: "web", Count: 1, Kind: spec.KindService}
	view := func(slot int, g spec.Generation, state spec.State, want spec.Want) *spec.AllocationView {
		v := &spec.AllocationView{}
		v.Slot, v.Generation, v.State, v.Want = spec.Slot{App: "web", Index: slot}, g, state, want
		v.ID = spec.NewAllocationID(v.Slot, g)
		return v
	}
	for name, c := range map[string][]*spec.AllocationView{
		"the other has begun":  {view(0, 1, spec.StateFailed, spec.WantRun), view(1, 2, spec.StateFailed, spec.WantRun), view(1, 9, spec.StatePlaced, spec.WantRun)},
		"this one was stopped": {view(0, 1, spec.StateFailed, spec.WantRun), view(0, 9, spec.StatePlaced, spec.WantStop), view(1, 2, spec.StatePlaced, spec.WantRun)},
	} {
		a := rollout.App{Now: 1000 * spec.Time(spec.Second), Spec: app, Count: 1}
		for _, v := range c {
			a.Allocs = append(a.Allocs, rollout.Alloc{AllocationView: v})
		}
		for _, s := range rollout.Decide(&a).Steps {
			t.Errorf("%s: %s of slot %d (%s), want nothing", name, s.Kind, s.Slot, s.Reason)
		}
	}
}
