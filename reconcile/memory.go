package reconcile

import (
	"slices"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// Memory is what planning keeps of one plan for the next, for a caller that plans one cluster over and over: it makes
// plans faster and none different. The zero Memory remembers nothing. It belongs to one goroutine.
//
// Nodes are remembered by where the slice of Input.Nodes lies. As long as a caller gives the same slice again, nothing
// in it may have changed but State, LastSeen and Since.
type Memory struct {
	nodes  *spec.NodeView // the first of the slice
	count  int
	names  []string // of resources beside the fixed ones
	bound  spec.Overcommit
	layout *place.Layout
	places map[spec.AppName][]int32 // where the allocations of each app were, in their order
}

// layout describes the nodes, which are sorted unless they are remembered.
func (w *world) layout(nodes []spec.NodeView) *place.Layout {
	names := w.resourceNames()
	m := w.in.Memory
	if m == nil {
		return place.NewLayout(nodes, names, w.in.Desired.Overcommit)
	}
	if !m.knows(nodes) || m.bound != w.in.Desired.Overcommit || !slices.Equal(m.names, names) {
		*m = Memory{count: len(nodes), names: names, bound: w.in.Desired.Overcommit}
		m.layout = place.NewLayout(nodes, names, m.bound)
		if len(nodes) > 0 {
			m.nodes = &nodes[0]
		}
	}
	return m.layout
}

// knows reports whether the nodes are those that are remembered.
func (m *Memory) knows(nodes []spec.NodeView) bool {
	return m != nil && len(nodes) > 0 && m.nodes == &nodes[0] && m.count == len(nodes)
}

// remembered returns where the allocations of the app were when they were looked at last: a guess, by position.
func (w *world) remembered(x *app) []int32 {
	if w.in.Memory == nil {
		return nil
	}
	return w.in.Memory.places[x.name]
}

// remember keeps where the allocations are for the next plan, and nothing of apps that are gone: each entry keeps all
// of the plan's nodeOf alive.
func (w *world) remember() {
	if w.in.Memory == nil {
		return
	}
	w.in.Memory.places = make(map[spec.AppName][]int32, len(w.apps))
	for _, x := range w.apps {
		w.in.Memory.places[x.name] = w.nodeOf[x.first : x.first+len(x.views)]
	}
}
