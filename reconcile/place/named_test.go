package place_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// gpuNode has devices of the given models, called g0, g1 and so on.
func gpuNode(id string, models ...string) spec.NodeView {
	n := spec.Node{ID: spec.NodeID(id), Capacity: spec.Resources{CPU: 8000}}
	for i, m := range models {
		n.Devices = append(n.Devices, spec.Device{Kind: "gpu", ID: fmt.Sprint("g", i), Model: m})
	}
	n.Tidy()
	return spec.NodeView{State: spec.NodeReady, Node: n}
}

func model(op spec.Operator, value string) []spec.Constraint {
	return []spec.Constraint{{Attribute: "model", Operator: op, Value: value}}
}

func gpuTask(name string, count int, rules []spec.Constraint, likes ...spec.Affinity) spec.Task {
	return spec.Task{Name: spec.TaskName(name), CPU: 100, Devices: []spec.DeviceAsk{{Kind: "gpu", Count: count, Constraints: rules, Affinities: likes}}}
}

func ids(g spec.Grant) (out []string) {
	for _, d := range g.Devices {
		out = append(out, string(d.Task)+":"+d.ID)
	}
	return out
}

func TestDevicesAreChosen(t *testing.T) {
	a100 := model(spec.OpEqual, "a100")
	likesT4 := spec.Affinity{Attribute: "model", Operator: spec.OpEqual, Value: "t4", Weight: 50}
	for _, test := range []struct {
		name  string
		node  spec.NodeView
		tasks []spec.Task
		room  int32 // of ten
		want  []string
	}{
		{"in order", gpuNode("n", "a100", "a100", "t4"), []spec.Task{gpuTask("t", 2, nil)}, 1, []string{"t:g0", "t:g1"}},
		{"by constraint", gpuNode("n", "t4", "a100", "t4", "a100"), []spec.Task{gpuTask("t", 1, a100)}, 2, []string{"t:g1"}},
		{"by affinity", gpuNode("n", "a100", "t4"), []spec.Task{gpuTask("t", 1, nil, likesT4)}, 2, []string{"t:g1"}},
		{"too few meet the rule", gpuNode("n", "t4", "a100"), []spec.Task{gpuTask("t", 2, a100)}, 0, nil},
		{"none", gpuNode("n"), []spec.Task{gpuTask("t", 1, nil)}, 0, nil},
		{"who takes any leaves the only one that fits the other", gpuNode("n", "a100", "t4"), []spec.Task{gpuTask("any", 1, nil), gpuTask("big", 1, a100)}, 1, []string{"any:g1", "big:g0"}},
		{"a chain of three", gpuNode("n", "a", "b", "c"), []spec.Task{gpuTask("x", 1, model(spec.OpNotEqual, "c")), gpuTask("y", 1, model(spec.OpNotEqual, "b")), gpuTask("z", 1, model(spec.OpEqual, "a"))}, 1, []string{"x:g1", "y:g2", "z:g0"}},
		{"two want the same", gpuNode("n", "a100", "t4"), []spec.Task{gpuTask("x", 1, a100), gpuTask("y", 1, a100)}, 0, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := place.NewFleet([]spec.NodeView{test.node}, []string{"gpu"})
			r := &place.Request{Match: f.Matcher(&spec.App{Name: "x", Tasks: test.tasks}), Count: 10, Total: 10}
			b := f.Batch(r)
			room := int32(0)
			if len(b.Nodes) > 0 {
				room = b.Room[0]
			}
			if room != test.room {
				t.Errorf("room for %d, want %d", room, test.room)
			}
			if room == 0 {
				if reasons := f.Explain(r).Reasons; len(reasons) == 0 {
					t.Error("nothing explains it")
				}
				return
			}
			if got := ids(f.Grant(0, spec.Slot{App: "x"}, r)); !slices.Equal(got, test.want) {
				t.Errorf("gave %v, want %v", got, test.want)
			}
		})
	}
}

func TestTheNodeWithTheLikedDeviceIsBetter(t *testing.T) {
	f := place.NewFleet([]spec.NodeView{gpuNode("n1", "a100"), gpuNode("n2", "t4")}, nil)
	a := &spec.App{Name: "x", Tasks: []spec.Task{gpuTask("t", 1, nil, spec.Affinity{Attribute: "model", Operator: spec.OpEqual, Value: "t4", Weight: 100})}}
	picks := place.Fill(f.Batch(&place.Request{Match: f.Matcher(a), Count: 1, Total: 1}), place.Binpack)
	if len(picks) != 1 || picks[0].Node != 1 {
		t.Fatalf("%+v", picks)
	}
	if !slices.ContainsFunc(picks[0].Score.Parts, func(p spec.ScorePart) bool { return p.Name == "devices" && p.Value == 1000 }) {
		t.Errorf("the score does not say so: %+v", picks[0].Score)
	}
}

// TestLeaverGivesItsDevicesOn: who follows an allocation gets what that has, others wait for what they need only.
func TestLeaverGivesItsDevicesOn(t *testing.T) {
	f := place.NewFleet([]spec.NodeView{gpuNode("n", "a", "a", "a")}, nil)
	a := &spec.App{Name: "x", Tasks: []spec.Task{gpuTask("t", 2, nil)}}
	m := f.Matcher(a)
	old := spec.Grant{Devices: []spec.DeviceGrant{{Task: "t", Kind: "gpu", ID: "g1"}, {Task: "t", Kind: "gpu", ID: "g2"}}}
	f.Take(0, m.Need, &old)
	r := &place.Request{Match: m, Count: 5, Total: 5}
	if b := f.Batch(r); len(b.Nodes) != 0 {
		t.Fatal("one is free, two are needed")
	}
	f.Leave(0, "old-0-1", m.Need, &old, nil)
	r.Wait, r.Prefer = true, "old-0-1"
	if b := f.Batch(r); len(b.Nodes) != 1 || b.Room[0] != 1 {
		t.Fatalf("room %v", b.Room)
	}
	next := f.Grant(0, spec.Slot{App: "x"}, r)
	if got := ids(next); !slices.Equal(got, []string{"t:g1", "t:g2"}) {
		t.Errorf("the successor gets %v", got)
	}
	r.Prefer = ""
	other := f.Grant(0, spec.Slot{App: "x"}, r)
	if got := ids(other); !slices.Equal(got, []string{"t:g0", "t:g1"}) {
		t.Errorf("somebody else gets %v", got)
	}
	if after := f.Claim(0, m.Need, &other, ""); !slices.Equal(after, []spec.AllocationID{"old-0-1"}) {
		t.Errorf("and waits for %v", after)
	}
	if b := f.Batch(r); len(b.Nodes) != 0 {
		t.Error("what is given on is given on once")
	}
}

func TestCoresKeepToOneNUMANode(t *testing.T) {
	node := spec.NodeView{State: spec.NodeReady, Node: spec.Node{ID: "n", Capacity: spec.Resources{CPU: 8000}, Cores: []spec.CoreGroup{{NUMA: 0, Cores: []int{0, 1, 2, 3}}, {NUMA: 1, Cores: []int{4, 5, 6, 7}}}}}
	app := func(n ...int) *spec.App {
		a := &spec.App{Name: "x"}
		for i, c := range n {
			a.Tasks = append(a.Tasks, spec.Task{Name: spec.TaskName(fmt.Sprint("t", i)), CPU: spec.MilliCPU(c) * 1000, Cores: c})
		}
		return a
	}
	for _, test := range []struct {
		taken []int
		app   *spec.App
		want  string
	}{
		{nil, app(2), "[{t0 [0 1]}]"},
		{[]int{0}, app(3), "[{t0 [1 2 3]}]"},
		{[]int{0, 1}, app(3), "[{t0 [4 5 6]}]"},
		{[]int{4, 5}, app(2), "[{t0 [6 7]}]"}, // where least is left over
		{[]int{0, 4}, app(4), "[{t0 [1 2 3 5]}]"},
		{nil, app(1, 2), "[{t0 [0]} {t1 [1 2]}]"},
		{[]int{0, 1, 2, 3, 4, 5}, app(3), ""},
	} {
		f := place.NewFleet([]spec.NodeView{node}, nil)
		f.Take(0, f.Vector(spec.Resources{CPU: spec.MilliCPU(len(test.taken)) * 1000}), &spec.Grant{Cores: []spec.CoreGrant{{Task: "o", Cores: test.taken}}})
		r := &place.Request{Match: f.Matcher(test.app), Count: 1, Total: 1}
		if b := f.Batch(r); len(b.Nodes) == 0 {
			if reasons := f.Explain(r).Reasons; test.want != "" || len(reasons) == 0 {
				t.Errorf("taken %v: no room, because of %v", test.taken, reasons)
			}
			continue
		}
		if got := fmt.Sprint(f.Grant(0, spec.Slot{}, r).Cores); got != test.want {
			t.Errorf("taken %v: %s, want %s", test.taken, got, test.want)
		}
	}
}

// TestNamedExplains gives each rule that can be in the way, with the nearest node.
func TestNamedExplains(t *testing.T) {
	nodes := []spec.NodeView{gpuNode("n1", "a100", "a100", "a100", "a100"), gpuNode("n2", "t4", "t4"), gpuNode("n3")}
	f := place.NewFleet(nodes, nil)
	taken := spec.Grant{Devices: []spec.DeviceGrant{{Kind: "gpu", ID: "g0"}, {Kind: "gpu", ID: "g1"}, {Kind: "gpu", ID: "g2"}}}
	f.Take(0, f.Vector(spec.Resources{Named: map[string]spec.Milli{"gpu": 3000}}), &taken)
	task := gpuTask("t", 2, model(spec.OpEqual, "a100"))
	task.Cores = 1
	reasons := f.Explain(&place.Request{Match: f.Matcher(&spec.App{Name: "x", Tasks: []spec.Task{task}}), Count: 1, Total: 1}).Reasons
	var got []string
	for _, r := range reasons {
		got = append(got, fmt.Sprintf("%d %v %s; %s", r.Nodes, r.Names, r.Rule, r.Detail))
	}
	want := []string{
		"3 [n1 n2 n3] cores: the node has too few to give; ",
		"1 [n2] device gpu: model = a100; ",
		"1 [n1] device gpu: too few are free; 3 of 4 are taken on n1",
		"1 [n3] device gpu: the node has too few; ",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// TestRoomIsKept: as many as the batch allows can be placed, and no device or core is ever given twice.
func TestRoomIsKept(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		models := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 0, 8).Draw(rt, "models")
		node := gpuNode("n", models...)
		node.Capacity.CPU = 100_000
		node.Cores = []spec.CoreGroup{{NUMA: 0, Cores: []int{0, 1, 2}}, {NUMA: 1, Cores: []int{3, 4, 5}}}
		app := &spec.App{Name: "x"}
		for i := range rapid.IntRange(1, 3).Draw(rt, "tasks") {
			task := gpuTask(fmt.Sprint("t", i), rapid.IntRange(1, 2).Draw(rt, "count"), nil)
			if m := rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "model"); m != "" {
				task.Devices[0].Constraints = model(rapid.SampledFrom([]spec.Operator{spec.OpEqual, spec.OpNotEqual}).Draw(rt, "operator"), m)
			}
			task.Cores = rapid.IntRange(0, 2).Draw(rt, "cores")
			app.Tasks = append(app.Tasks, task)
		}
		f := place.NewFleet([]spec.NodeView{node}, []string{"gpu"})
		m := f.Matcher(app)
		r := &place.Request{Match: m, Count: 20, Total: 20}
		b := f.Batch(r)
		if len(b.Nodes) == 0 {
			if reasons := f.Explain(r).Reasons; len(reasons) == 0 {
				rt.Fatal("no room, and nothing explains it")
			}
			return
		}
		given := map[string]bool{}
		for i := range b.Room[0] {
			g := f.Grant(0, spec.Slot{App: "x", Index: int(i)}, r)
			want := 0
			for _, task := range app.Tasks {
				want += task.Devices[0].Count
			}
			if len(g.Devices) != want {
				rt.Fatalf("allocation %d gets %v", i, g.Devices)
			}
			for _, d := range g.Devices {
				if given[d.ID] {
					rt.Fatalf("%s is given twice", d.ID)
				}
				given[d.ID] = true
			}
			for _, c := range spec.AllCores(g.Cores) {
				if given[fmt.Sprint(c)] {
					rt.Fatalf("core %d is given twice", c)
				}
				given[fmt.Sprint(c)] = true
			}
			f.Take(0, m.Need, &g)
		}
	})
}
