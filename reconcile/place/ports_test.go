package place

import (
	"testing"

	"github.com/stowage/stowage/spec"
)

// TestDynamicPortsKeepToTheNodesRange: agents that share a machine's network divide the ports without a number.
func TestDynamicPortsKeepToTheNodesRange(t *testing.T) {
	nodes := []spec.NodeView{
		{Node: spec.Node{ID: "n1", PortFirst: 100, PortLast: 102}, State: spec.NodeReady},
		{Node: spec.Node{ID: "n2"}, State: spec.NodeReady},
	}
	f := NewFleet(nodes, nil)
	asked := []spec.PortSpec{{Name: "http", Protocol: spec.TCP}}
	seen := map[int]bool{}
	for i := range 3 {
		p := f.Ports(0, spec.Slot{App: "shop/web", Index: i}, asked)[0]
		if p.Number < 100 || p.Number > 102 || seen[p.Number] {
			t.Errorf("allocation %d got port %d, given before: %v", i, p.Number, seen)
		}
		seen[p.Number] = true
		f.hold(0, &spec.Grant{Ports: []spec.Port{p}})
	}
	if room, _ := f.portRoom(0, asked, false, 10); room != 0 {
		t.Errorf("a node with no port left has room for %d", room)
	}
	if p := f.Ports(1, spec.Slot{App: "shop/web"}, asked)[0]; p.Number < spec.DynamicPortFirst || p.Number > spec.DynamicPortLast {
		t.Errorf("a node without a range of its own gives port %d", p.Number)
	}
}
