package place_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

func drawRacks(t *rapid.T) []spec.NodeView {
	var nodes []spec.NodeView
	for i := range rapid.IntRange(2, 14).Draw(t, "nodes") {
		n := gpuNode(fmt.Sprintf("n%02d", i), rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b"}), 0, 3).Draw(t, "models")...)
		n.State = rapid.SampledFrom([]spec.NodeState{spec.NodeReady, spec.NodeReady, spec.NodeReady, spec.NodeDraining}).Draw(t, "state")
		n.Capacity.CPU = spec.MilliCPU(rapid.IntRange(1, 6).Draw(t, "cpu") * 1000)
		n.Attributes = map[string]string{"zone": fmt.Sprint("z", rapid.IntRange(1, 3).Draw(t, "zone"))}
		if r := rapid.IntRange(0, 3).Draw(t, "rack"); r > 0 {
			n.Attributes["rack"] = fmt.Sprint("r", r)
		}
		nodes = append(nodes, n)
	}
	return nodes
}

func drawSeeking(t *rapid.T, name string) *spec.App {
	a := &spec.App{Name: spec.AppName(name), Count: rapid.IntRange(1, 6).Draw(t, "count"), Tasks: []spec.Task{{Name: "t", CPU: spec.MilliCPU(rapid.IntRange(1, 3).Draw(t, "ask") * 500)}}}
	attribute := rapid.SampledFrom([]string{"zone", "rack", "node.id"}).Draw(t, "attribute")
	switch rapid.IntRange(0, 8).Draw(t, "rule") {
	case 0:
		a.Network.Ports = []spec.PortSpec{{Name: "http", Static: 80}}
	case 1:
		a.Tasks[0] = gpuTask("t", 1, nil)
	case 2:
		a.Constraints = []spec.Constraint{{Attribute: attribute, Operator: spec.OpDistinct}}
	case 3:
		a.Constraints = []spec.Constraint{{Attribute: attribute, Operator: spec.OpMaxPer, Number: 2}}
	case 4:
		a.Constraints = []spec.Constraint{{Attribute: attribute, Operator: spec.OpGroupBy, Number: rapid.IntRange(0, 3).Draw(t, "number")}}
	case 5:
		a.Constraints = []spec.Constraint{{Attribute: "zone", Operator: spec.OpEqual, Value: "z1"}}
	case 6:
		a.Constraints = []spec.Constraint{{Attribute: "rack", Operator: spec.OpNotEqual, Value: "r1"}, {Attribute: "zone", Operator: spec.OpDistinct}}
	}
	return a
}

// TestSeekersFindWhatFirstFitFinds: loss after loss, what is remembered of the beginning gives the node that looking at all
// of them gives.
func TestSeekersFindWhatFirstFitFinds(t *testing.T) {
	found, homeless := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		nodes := drawRacks(rt)
		f := place.NewFleet(nodes, []string{"gpu"})
		var matchers []*place.Matcher
		var seekers []*place.Seeker
		own := map[int][]int32{}
		for i := range rapid.IntRange(1, 4).Draw(rt, "apps") {
			m := f.Matcher(drawSeeking(rt, fmt.Sprint("app", i)))
			for k := range rapid.IntRange(0, m.App.Count).Draw(rt, "placed") {
				r := &place.Request{Match: m, Count: 1, Total: m.App.Count, Own: own[i]}
				if n, _ := f.FirstFit(r, rapid.IntRange(0, len(nodes)-1).Draw(rt, "from")); n >= 0 {
					g := f.Grant(n, spec.Slot{App: m.App.Name, Index: k}, r)
					f.Take(n, m.Need, &g)
					own[i] = append(own[i], int32(n))
				}
			}
			matchers = append(matchers, m)
		}
		l := f.Losses()
		for i, m := range matchers {
			seekers = append(seekers, l.Seeker(m, own[i], m.App.Count))
		}
		for range rapid.IntRange(1, 4).Draw(rt, "losses") {
			var lost []int32
			for n := range nodes {
				if f.Open(n) && rapid.IntRange(0, 2).Draw(rt, "lost") == 0 {
					lost = append(lost, int32(n))
				}
			}
			type change struct {
				app, node int
				given     spec.Grant
				by        int
			}
			var changes []change
			back := l.Lose(lost)
			have := map[int][]int32{}
			for i := range matchers {
				for _, n := range own[i] {
					if slices.Contains(lost, n) {
						seekers[i].Count(int(n), -1)
						changes = append(changes, change{app: i, node: int(n), by: -1})
					} else {
						have[i] = append(have[i], n)
					}
				}
			}
			for k := range rapid.IntRange(0, 12).Draw(rt, "homes") {
				i := rapid.IntRange(0, len(matchers)-1).Draw(rt, "app")
				if len(have[i]) >= matchers[i].App.Count {
					continue // a loss displaces no more than there was
				}
				r := &place.Request{Match: matchers[i], Count: 1, Total: matchers[i].App.Count, Own: have[i]}
				want, _ := f.FirstFit(r, 0)
				got, _ := seekers[i].First()
				if got != want {
					rt.Fatalf("app %+v goes to node %d, looking at all to %d; lost %v", matchers[i].App, got, want, lost)
				}
				if got < 0 {
					homeless++
					continue
				}
				found++
				g := f.Grant(got, spec.Slot{App: matchers[i].App.Name, Index: 100 + k}, r)
				l.Put(got, matchers[i].Need, &g)
				seekers[i].Count(got, 1)
				have[i] = append(have[i], int32(got))
				changes = append(changes, change{i, got, g, 1})
			}
			for _, c := range changes {
				seekers[c.app].Count(c.node, -c.by)
				if c.by > 0 {
					f.Release(c.node, matchers[c.app].Need, &c.given)
				}
			}
			back()
		}
	})
	if found == 0 || homeless == 0 {
		t.Errorf("%d found a home and %d none", found, homeless)
	}
}
