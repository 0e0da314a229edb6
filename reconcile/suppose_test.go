package reconcile_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

func supposition(t testing.TB, without, with []string) spec.Supposition {
	t.Helper()
	s, err := spec.ParseSupposition(without, with)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func supposing(t *testing.T, in reconcile.Input, without, with []string) reconcile.Input {
	t.Helper()
	in, err := reconcile.Suppose(in, supposition(t, without, with))
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func rackedNodes(t *testing.T) *lab {
	l := newLab(t, 4)
	for i := range l.in.Nodes {
		l.in.Nodes[i].Attributes["rack"] = []string{"r1", "r2"}[i/2]
	}
	l.in.Desired.NodeClasses = []spec.NodeClass{{Name: "big", Capacity: spec.Resources{CPU: 16_000, Memory: 64 * spec.GiB}, Attributes: map[string]string{"rack": "r9"}}}
	l.commit(edit(service("web", 8), func(a *spec.App) { a.Tasks[0].CPU = 4000 }))
	l.step()
	l.world()
	return l
}

func TestWhatIfNodesWereGoneAndOthersThere(t *testing.T) {
	l := rackedNodes(t)
	before, _ := json.Marshal(l.in)
	l.in = supposing(t, l.in, []string{"rack/r1"}, nil)
	p, _ := l.plan()
	if p.Summary.Blocked != 4 || p.Suppose == nil || !slices.Equal(p.Suppose.Without[0].Nodes, []spec.NodeID{"n01", "n02"}) {
		t.Fatalf("%+v %+v", p.Summary, p.Suppose)
	}
	l = rackedNodes(t)
	l.in = supposing(t, l.in, []string{"rack/r1"}, []string{"1xbig", "1xlike/n01"})
	p, _ = l.plan()
	if p.Summary.Blocked != 0 || !slices.Equal(p.Suppose.With[0].Nodes, []spec.NodeID{"big+1"}) || !slices.Equal(p.Suppose.With[1].Nodes, []spec.NodeID{"n01+1"}) {
		t.Fatalf("%+v %+v", p.Summary, p.Suppose)
	}
	l = rackedNodes(t)
	if _, err := reconcile.Suppose(l.in, supposition(t, []string{"node/n01"}, []string{"3xbig"})); err != nil {
		t.Fatal(err)
	}
	if after, _ := json.Marshal(l.in); !bytes.Equal(before, after) {
		t.Error("the input was changed")
	}
}

// TestWhatIsLostDoesNotStop: what was on a node that is supposed to be gone stops for no lack of room.
func TestWhatIsLostDoesNotStop(t *testing.T) {
	l := newLab(t, 3)
	l.commit(edit(service("web", 2), func(a *spec.App) { a.Tasks[0].CPU = 1000 }))
	l.settle()
	on := l.live("web")[0].Node
	l.in = supposing(t, l.in, []string{"node/" + string(on)}, nil)
	p, _ := l.plan()
	if p.Summary.Start != 2 || p.Summary.Blocked != 0 {
		t.Fatalf("%+v", p.Summary)
	}
	if w := p.Worst; w != nil && len(w.Tight) > 0 {
		t.Errorf("too little room: %+v", w.Tight)
	}
}

func TestASuppositionOfWhatIsNotThere(t *testing.T) {
	l := rackedNodes(t)
	for _, c := range []struct{ without, with, says string }{
		{"node/n1", "", `there is no node "n1": did you mean "n01"?`},
		{"rack/r3", "", `no node has rack = "r3": did you mean "r1"? There are r1, r2`},
		{"rak/r1", "", `no node has the attribute "rak": did you mean "rack"?`},
		{"", "2xbit", `there is no node_class "bit": did you mean "big"? There are big`},
		{"", "2xlike/n9", `there is no node "n9"`},
		{"", "10000xbig", ""},
	} {
		var without, with []string
		if c.without != "" {
			without = []string{c.without}
		}
		if c.with != "" {
			with = []string{c.with}
		}
		_, err := reconcile.Suppose(l.in, supposition(t, without, with))
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, text := range []string{"big", "0xbig", "-1xbig", "10001xbig", "2x", "2xlike/"} {
		if _, err := spec.ParseSupposition(nil, []string{text}); err == nil {
			t.Errorf("--with %q is taken", text)
		}
	}
	for _, text := range []string{"n3", "/x", "rack/"} {
		if _, err := spec.ParseSupposition([]string{text}, nil); err == nil {
			t.Errorf("--without %q is taken", text)
		}
	}
}

// Property: nothing is placed on a node that is supposed to be gone, and supposing nothing is planning as ever.
func TestNothingGoesToNodesThatAreSupposedToBeGone(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l, _ := drawLab(rt, t)
		same, err := reconcile.Suppose(l.in, spec.Supposition{})
		p, _ := strict(rt, l.in)
		if q, _ := reconcile.Plan(same); err != nil || q.ID != p.ID {
			rt.Fatal("an empty supposition plans otherwise")
		}
		gone := l.in.Nodes[rapid.IntRange(0, len(l.in.Nodes)-1).Draw(rt, "gone")].ID
		in, err := reconcile.Suppose(l.in, supposition(t, []string{"node/" + string(gone)}, []string{"2xlike/" + string(gone)}))
		if err != nil {
			rt.Fatal(err)
		}
		p, _ = strict(rt, in)
		for _, a := range p.Apps {
			for _, c := range a.Changes {
				if c.Node == gone && c.Kind != spec.ChangeStop {
					rt.Fatalf("%s goes to %s", c.Slot, gone)
				}
			}
		}
	})
}

// TestTheHashOfTheNodes covers what a plan rests on, so that an exact approval notices when it has moved, and nothing else.
func TestTheHashOfTheNodes(t *testing.T) {
	gpu := func(n *spec.NodeView) *spec.NodeView {
		n.Devices = []spec.Device{{Kind: "gpu", ID: "gpu-0", Model: "a"}}
		n.Capacity.Named = map[string]spec.Milli{"gpu": 1000}
		return n
	}
	hash := func(change func(*spec.NodeView)) spec.Hash {
		l := newLab(t, 2)
		l.in.Nodes[0].Attributes = map[string]string{"rack": "r1", "disk": "ssd", "zone": "z", "row": "1", "note": "x"}
		gpu(&l.in.Nodes[0])
		l.commit(edit(asks("web", 1, 100, spec.MiB), func(a *spec.App) {
			a.Constraints = []spec.Constraint{{Attribute: "disk", Operator: spec.OpEqual, Value: "ssd"}}
			a.Affinities = []spec.Affinity{{Attribute: "zone", Operator: spec.OpEqual, Value: "z", Weight: 10}}
			a.Spreads = []spec.Spread{{Attribute: "rack", Weight: 50}}
		}))
		l.in.Desired.FailureDomains = []string{"row"}
		if change != nil {
			change(&l.in.Nodes[0])
		}
		p, _ := l.plan()
		return p.Base.Nodes
	}
	before := hash(nil)
	for name, change := range map[string]func(*spec.NodeView){
		"an attribute of a constraint":    func(n *spec.NodeView) { n.Attributes["disk"] = "hdd" },
		"one that is gone":                func(n *spec.NodeView) { delete(n.Attributes, "disk") },
		"an attribute of an affinity":     func(n *spec.NodeView) { n.Attributes["zone"] = "y" },
		"an attribute of a spread":        func(n *spec.NodeView) { n.Attributes["rack"] = "r2" },
		"an attribute of failure_domains": func(n *spec.NodeView) { n.Attributes["row"] = "2" },
		"another device":                  func(n *spec.NodeView) { n.Devices[0].ID = "gpu-1" },
		"another model":                   func(n *spec.NodeView) { n.Devices[0].Model = "b" },
		"cores to give":                   func(n *spec.NodeView) { n.Cores = []spec.CoreGroup{{NUMA: 0, Cores: []int{1}}} },
		"a range of ports":                func(n *spec.NodeView) { n.PortFirst, n.PortLast = 100, 200 },
		"its state":                       func(n *spec.NodeView) { n.State = spec.NodeUnknown },
		"its capacity":                    func(n *spec.NodeView) { n.Capacity.CPU++ },
		"its pool":                        func(n *spec.NodeView) { n.Pool = "other" },
	} {
		if hash(change) == before {
			t.Errorf("%s does not change the hash", name)
		}
	}
	if hash(func(n *spec.NodeView) { n.Attributes["note"], n.Attributes["new"], n.Agent = "y", "z", "2.0" }) != before {
		t.Error("what nothing asks for changes the hash")
	}
}

func TestSupposedNodesHaveTheDevicesOfTheirClass(t *testing.T) {
	l := newLab(t, 1)
	l.commit(edit(asks("train", 3, 100, spec.MiB), func(a *spec.App) {
		a.Tasks[0].Devices = []spec.DeviceAsk{{Kind: "gpu", Count: 2, Constraints: []spec.Constraint{{Attribute: "model", Operator: spec.OpEqual, Value: "a"}}}}
	}))
	l.in.Desired.NodeClasses = []spec.NodeClass{{
		Name: "big", Capacity: spec.Resources{CPU: 8000, Memory: spec.GiB},
		Devices: []spec.ClassDevice{{Kind: "gpu", Count: 4, Model: "a"}, {Kind: "gpu", Count: 2, Model: "b"}},
	}}
	p, _ := l.plan()
	if b := p.Apps[0].Blocked; b == nil || len(b.Slots) != 3 || len(b.Fix) == 0 || b.Fix[len(b.Fix)-1] != "2 more nodes of class big" {
		t.Fatalf("%+v", b)
	}
	in, err := reconcile.Suppose(l.in, spec.Supposition{With: []spec.MoreNodes{{Count: 1, Class: "big"}}})
	if err != nil {
		t.Fatal(err)
	}
	l.in = in
	p, _ = l.plan()
	seen := map[string]bool{}
	for _, c := range p.Apps[0].Changes {
		for _, d := range c.Devices {
			seen[d.ID] = true
		}
	}
	if p.Summary != (spec.Summary{Start: 2, Blocked: 1}) || len(seen) != 4 || !seen["gpu-003"] || seen["gpu-004"] {
		t.Errorf("%+v, devices %v", p.Summary, seen)
	}
}
