package control

import (
	"reflect"
	"slices"
	"testing"

	"github.com/stowage/stowage/spec"
)

// TestAPreviewStaysAsItIs takes the input of a preview while a node is draining: what becomes of the node meanwhile does
// not reach whoever plans with it elsewhere.
func TestAPreviewStaysAsItIs(t *testing.T) {
	r := newRig(t, true)
	r.join("n1", "n2")
	r.step(RevisionSeen{Revision: commit("v1", spec.ApprovalAuto, app("web", 2))})
	r.obey()
	r.advance(30 * spec.Second)
	r.step(Drain{Nodes: []spec.NodeID{"n1"}})
	in := r.core.Input()
	before := slices.Clone(in.Nodes)
	if before[0].State != spec.NodeDraining {
		t.Fatalf("n1 is %s before it is empty", before[0].State)
	}
	for range 10 {
		r.advance(20 * spec.Second)
		r.obey()
	}
	if now := r.core.Input().Nodes[0]; now.State != spec.NodeDrained {
		t.Fatalf("n1 is %s after three minutes", now.State)
	}
	if !reflect.DeepEqual(in.Nodes, before) {
		t.Errorf("the input of a preview changed under it:\n%+v\nwas\n%+v", in.Nodes[0], before[0])
	}
}
