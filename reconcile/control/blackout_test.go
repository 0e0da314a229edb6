package control

import (
	"testing"

	"github.com/stowage/stowage/spec"
)

// TestANodeThatJoinsInABlackout: the first that is heard of is a new node, in a step of its own or of two, and the others
// have been silent for no time all the same.
func TestANodeThatJoinsInABlackout(t *testing.T) {
	for name, join := range map[string]func(*rig){
		"nobody": func(*rig) {},
		"at once": func(r *rig) {
			r.join("n4")
		},
		"it reports a second later": func(r *rig) {
			r.step(NodeConnected{"n4", 9})
			r.now = r.now.Add(spec.Second)
			r.step(Tick{})
			r.step(NodeReported{"n4", 9, spec.Report{Full: true, Node: &spec.Node{ID: "n4", Capacity: spec.Resources{CPU: 4000, Memory: 8 * spec.GiB, Disk: spec.TiB}}}})
		},
	} {
		r := newRig(t, true)
		r.join("n1", "n2", "n3")
		r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalAuto, app("web", 3))})
		for range 3 {
			r.advance(11 * spec.Second)
			r.obey()
		}
		silent := func(d spec.Duration) {
			for end := r.now.Add(d); r.now < end; {
				r.now = r.now.Add(spec.Second)
				r.step(Tick{})
			}
		}
		silent(100 * spec.Second)
		join(r)
		r.step(NodeSeen{"n1", 1})
		silent(spec.Second)
		r.step(NodeSeen{"n2", 1}, NodeSeen{"n3", 1})
		silent(spec.Second)
		if n := len(r.core.Allocations()); n != 3 {
			t.Errorf("%s: %d allocations, want the 3 that run", name, n)
		}
	}
}
