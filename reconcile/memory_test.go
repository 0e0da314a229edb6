package reconcile_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// TestAppsThatAreGoneAreForgotten: every entry keeps all of a plan's places alive, so none outlives its app.
func TestAppsThatAreGoneAreForgotten(t *testing.T) {
	l := newLab(t, 3)
	var m reconcile.Memory
	nodes := l.in.Nodes
	for k := range 20 {
		l.commit(asks("web", 3, 100, spec.MiB), asks(fmt.Sprint("job-", k), 1, 100, spec.MiB))
		l.settle()
		in := l.in
		in.Current = slices.DeleteFunc(slices.Clone(in.Current), func(a spec.AllocationView) bool { return a.State.Terminal() })
		in.Nodes, in.Memory, in.Brief = nodes, &m, true
		reconcile.Plan(in)
		if n := m.Places(); n != 2 {
			t.Fatalf("after %d apps have come and gone, %d are remembered, want the 2 that are there", k, n)
		}
	}
}
