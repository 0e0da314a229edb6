package place_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// crowd is a fleet on which things happen, drawn from a seed.
type crowd struct {
	*rand.Rand
	f     *place.Fleet
	own   map[spec.AppName][]int32
	there []resident
	apps  []*spec.App
	kept  [2][]int64 // what is withheld at times
	last  int
}

// resident is an allocation.
type resident struct {
	id    spec.AllocationID
	node  int
	need  []int64
	given *spec.Grant
	goes  bool
}

func newCrowd(seed uint64) *crowd {
	c := &crowd{Rand: rand.New(rand.NewPCG(seed, 7)), own: map[spec.AppName][]int32{}}
	nodes := make([]spec.NodeView, 260+c.IntN(200))
	sizes, gpus := 1+c.IntN(4), c.IntN(3) == 0
	for i := range nodes {
		n := &nodes[i]
		n.ID, n.State, n.Pool = spec.NodeID(fmt.Sprintf("n%03d", i)), spec.NodeReady, ""
		if c.IntN(12) == 0 {
			n.State = spec.NodeUnknown
		}
		size := 1 + c.IntN(sizes)
		n.Capacity = spec.Resources{CPU: spec.MilliCPU(size * 4000), Memory: spec.Bytes(size)*8*spec.GiB + spec.Bytes(c.IntN(2)*c.IntN(5000)), Disk: spec.Bytes(c.IntN(2)) * spec.TiB}
		if gpus && c.IntN(4) == 0 {
			n.Capacity.Named = map[string]spec.Milli{"licence": 3000}
		}
		n.Attributes = map[string]string{"zone": fmt.Sprint("z", c.IntN(3)), "class": fmt.Sprint("c", c.IntN(5))}
		if c.IntN(5) > 0 {
			n.Attributes["rack"] = fmt.Sprint("r", i/20)
		}
		if c.IntN(8) == 0 {
			n.Pool = "batch"
		}
		if gpus && c.IntN(2) == 0 {
			for k := range c.IntN(4) {
				n.Devices = append(n.Devices, spec.Device{Kind: []string{"gpu", "nic"}[c.IntN(2)], ID: fmt.Sprint(k), Model: fmt.Sprint("m", c.IntN(2))})
			}
		}
		for k := range c.IntN(3) {
			n.Cores = append(n.Cores, spec.CoreGroup{NUMA: k, Cores: []int{2 * k, 2*k + 1}})
		}
	}
	c.f = place.NewFleet(nodes, []string{"licence"})
	for i := range 12 {
		c.apps = append(c.apps, c.app(i))
	}
	for range c.IntN(10 * len(nodes)) {
		c.settle()
	}
	return c
}

// app draws what an app asks for, of little variety, so that several ask alike.
func (c *crowd) app(i int) *spec.App {
	t := spec.Task{Name: "main", CPU: spec.MilliCPU(c.IntN(5) * 250), Memory: spec.Bytes(c.IntN(4)) * 512 * spec.MiB, Disk: spec.Bytes(c.IntN(4)/3) * spec.GiB}
	if c.IntN(6) == 0 {
		t.Resources = map[string]spec.Milli{"licence": 1000}
	}
	a := &spec.App{Name: spec.AppName(fmt.Sprintf("app-%02d", i)), Count: 1 + c.IntN(8), Tasks: []spec.Task{t}}
	switch c.IntN(4) {
	case 0:
		a.Constraints = append(a.Constraints, spec.Constraint{Attribute: "class", Operator: spec.OpNotEqual, Value: []string{"c3", "c1"}[c.IntN(2)]})
	case 1:
		a.Constraints = append(a.Constraints, spec.Constraint{Attribute: []string{"node.id", "zone"}[c.IntN(2)], Operator: []spec.Operator{spec.OpDistinct, spec.OpMaxPer, spec.OpGroupBy}[c.IntN(3)], Number: 1 + c.IntN(3)})
	}
	if c.IntN(8) == 0 {
		a.Pool = "batch"
	}
	if c.IntN(3) == 0 {
		a.Spreads = []spec.Spread{{Attribute: []string{"zone", "rack", "node.id"}[c.IntN(3)], Weight: 1 + c.IntN(100)}}
		if c.IntN(3) == 0 {
			a.Spreads[0].Targets = map[string]int{"z1": 50, "n003": 20, "n111": 20}
		}
	}
	if c.IntN(4) == 0 {
		a.Affinities = []spec.Affinity{{Attribute: "zone", Operator: spec.OpEqual, Value: "z1", Weight: c.IntN(201) - 100}}
	}
	if c.IntN(3) == 0 {
		a.Network.Ports = []spec.PortSpec{{Name: "http", Protocol: spec.TCP, Static: c.IntN(2) * (8080 + c.IntN(2))}, {Name: "other", Protocol: spec.UDP}}[:1+c.IntN(2)]
	}
	if c.IntN(5) == 0 {
		a.Tasks[0].Cores = 1 + c.IntN(2)
	}
	if c.IntN(5) == 0 {
		d := spec.DeviceAsk{Kind: []string{"gpu", "nic"}[c.IntN(2)], Count: 1 + c.IntN(4)/3}
		if c.IntN(2) == 0 {
			d.Constraints = []spec.Constraint{{Attribute: "model", Operator: spec.OpEqual, Value: fmt.Sprint("m", c.IntN(2))}}
		}
		if c.IntN(5) == 0 {
			d.Affinities = []spec.Affinity{{Attribute: "model", Operator: spec.OpEqual, Value: "m1", Weight: 50}}
		}
		a.Tasks[0].Devices = []spec.DeviceAsk{d}
	}
	return a
}

// settle puts something somewhere.
func (c *crowd) settle() {
	n := c.IntN(c.f.Len())
	need := c.f.Vector(c.apps[c.IntN(len(c.apps))].Needs())
	if short := c.f.Short(n, need); c.IntN(20) > 0 {
		for _, s := range short {
			if s > 0 {
				return
			}
		}
	}
	c.take(n, need, nil)
}

func (c *crowd) take(node int, need []int64, given *spec.Grant) {
	c.last++
	c.f.Take(node, need, given)
	c.there = append(c.there, resident{spec.AllocationID(fmt.Sprint("a", c.last)), node, need, given, false})
}

// happen lets something else happen than a placement, and returns what undoes it, or nil.
func (c *crowd) happen() (undo func()) {
	some := func() *resident { return &c.there[c.IntN(len(c.there))] }
	switch c.IntN(9) {
	case 0:
		for range c.IntN(20) {
			c.settle()
		}
	case 1:
		for range min(len(c.there)/2, c.IntN(20)) {
			i := c.IntN(len(c.there))
			if v := c.there[i]; !v.goes {
				c.f.Release(v.node, v.need, v.given)
				c.there[i] = c.there[len(c.there)-1]
				c.there = c.there[:len(c.there)-1]
			}
		}
	case 2:
		for range min(len(c.there), c.IntN(20)) {
			if v := some(); !v.goes {
				v.goes = true
				c.f.Leave(v.node, v.id, v.need, v.given, nil)
			}
		}
	case 3:
		if len(c.there) > 0 {
			if v := some(); v.goes {
				v.goes = false
				c.f.Unleave(v.node, v.id)
			}
		}
	case 4:
		c.f.Drain(c.IntN(c.f.Len()))
	case 5:
		var lost []int32
		for n := range c.f.Len() {
			if c.f.Open(n) && c.IntN(10) == 0 {
				lost = append(lost, int32(n))
			}
		}
		return c.f.Lose(lost)
	case 6:
		saved, there := c.f.Save(), append([]resident(nil), c.there...)
		for range c.IntN(40) {
			c.settle()
		}
		return func() { c.f.Restore(saved); c.there = there }
	case 7:
		d, rows := len(c.f.Dimensions()), &c.kept[c.IntN(2)]
		if *rows == nil {
			*rows = make([]int64, c.f.Len()*d)
		}
		for range c.IntN(20) {
			n := c.IntN(c.f.Len())
			k := c.IntN(d)
			(*rows)[n*d+k] = int64(c.IntN(3)) * c.f.Capacity(n)[k] / 2
			c.f.Touch(n)
		}
		return c.f.Withhold(*rows)
	}
	return nil
}

// request draws a request of one of the apps.
func (c *crowd) request(a *spec.App) place.Request {
	r := place.Request{Match: c.f.Matcher(a), Count: 1 + c.IntN(a.Count), Total: a.Count, Own: c.own[a.Name], Wait: c.IntN(3) == 0, Seed: 1}
	for _, n := range r.Own {
		if c.IntN(6) == 0 {
			r.Going = append(r.Going, n)
		}
	}
	for range c.IntN(2) * c.IntN(5) {
		if len(c.there) > 0 { // where something was put lately, more may be
			r.Faulty = append(r.Faulty, int32(c.there[len(c.there)-1-c.IntN(min(10, len(c.there)))].node))
		}
	}
	some := func() (nodes []int32) {
		for range c.IntN(8) {
			nodes = append(nodes, int32(c.IntN(c.f.Len())))
		}
		return nodes
	}
	attribute := func() string { return []string{"zone", "rack", "class", "node.id"}[c.IntN(4)] }
	for range c.IntN(4) / 2 {
		r.Beside = append(r.Beside, place.Beside{Name: "beside", Attribute: attribute(), Apart: c.IntN(3) > 0, Nodes: some()})
	}
	for range c.IntN(4) / 3 {
		r.Peers = append(r.Peers, place.Peer{Name: "peer", Attribute: attribute(), Weight: spec.Milli(c.IntN(4000) - 2000), Nodes: some()})
	}
	return r
}

// TestSearchIsAll places on fleets to which much happens, once from all feasible nodes and once from those that a search
// finds: nodes, scores, runners-up and how many nodes are feasible are the same.
func TestSearchIsAll(t *testing.T) {
	searched := map[string]int{"anything": 0, "ports": 0, "cores": 0, "devices": 0, "beside": 0, "peers": 0}
	rapid.Check(t, func(t *rapid.T) {
		c := newCrowd(rapid.Uint64().Draw(t, "seed"))
		policy := []place.Scoring{place.Binpack, place.Spread}[c.IntN(2)]
		for range 90 {
			undo := c.happen()
			a := c.apps[c.IntN(len(c.apps))]
			r := c.request(a)
			want := picks(t, c.f, policy, r)
			r.Best = &policy
			before := c.f.Looks()
			if got := picks(t, c.f, policy, r); !reflect.DeepEqual(want, got) {
				t.Fatalf("%+v\nfrom all:\n%+v\nfrom a search:\n%+v", a, want, got)
			}
			if c.f.Looks() > before {
				for what, is := range map[string]bool{
					"anything": true, "ports": len(a.Network.Ports) > 0 && a.Network.Ports[0].Static > 0, "cores": a.Tasks[0].Cores > 0,
					"devices": len(a.Tasks[0].Devices) > 0, "beside": len(r.Beside) > 0, "peers": len(r.Peers) > 0,
				} {
					if is {
						searched[what]++
					}
				}
			}
			if undo != nil {
				undo()
				continue
			}
			for _, p := range want {
				node := c.f.Node(p.node)
				if slot := (spec.Slot{App: a.Name, Index: len(c.own[a.Name])}); r.Wait {
					given := c.f.Grant(node, slot, &r)
					c.f.Claim(node, r.Match.Need, &given, "")
				} else {
					given := c.f.Grant(node, slot, &r)
					c.take(node, r.Match.Need, &given)
				}
				if c.own[a.Name] = append(c.own[a.Name], int32(node)); len(c.own[a.Name]) > 30 {
					c.own[a.Name] = nil
				}
			}
		}
	})
	for what, n := range searched {
		if n == 0 {
			t.Errorf("no search was made for %s", what)
		}
	}
}

// TestValuesOfOpenNodes: what an even share is follows from the groups of which some node takes allocations now.
func TestValuesOfOpenNodes(t *testing.T) {
	f := fleet(9)
	m := f.Matcher(&spec.App{Name: "web", Count: 6, Constraints: []spec.Constraint{{Attribute: "zone", Operator: spec.OpGroupBy}}})
	r := &place.Request{Match: m, Count: 6, Total: 6}
	share := func() int32 {
		for _, g := range f.Batch(r).Groups {
			if g.Cap != nil {
				return g.Cap[0]
			}
		}
		return -1
	}
	if got := share(); got != 2 {
		t.Errorf("%d of 6 in each of three zones", got)
	}
	back := f.Lose([]int32{0, 3, 6})
	if got := share(); got != 3 {
		t.Errorf("%d of 6 in each of two zones", got)
	}
	if back(); share() != 2 {
		t.Error("the zone that is back does not count")
	}
}

// TestSearchesLookAtFew counts the nodes that are looked at for apps of many sizes on nodes that are in use.
func TestSearchesLookAtFew(t *testing.T) {
	for _, kind := range kinds {
		f, r := used(4000)
		searches := 0
		for range 100 {
			before := f.Looks()
			placeTwo(t, f, r, kind)
			if f.Looks() > before {
				searches++
			}
		}
		if n := f.Looks(); searches < 80 || n > searches*f.Len()/10 {
			t.Errorf("%s: %d searches looked at %d nodes of %d", kind, searches, n, f.Len())
		}
	}
}
