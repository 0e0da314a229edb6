package reconcile_test

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/spec"
)

// ranked makes an app of a priority.
func ranked(name string, priority, n int, cpu spec.MilliCPU, memory spec.Bytes) *spec.App {
	a := asks(name, n, cpu, memory)
	a.Priority = priority
	return a
}

// victims lists who a plan preempts for an app, sorted.
func victims(p spec.Plan, app string) []string {
	var list []string
	for _, a := range p.Apps {
		for _, c := range a.Changes {
			for _, v := range c.Victims {
				if c.App != spec.AppName(app) {
					continue
				}
				list = append(list, string(v.ID))
			}
		}
	}
	slices.Sort(list)
	return list
}

// The rows about preemption: who is asked to go so that an app "new" of priority 90 gets a place.
func TestTableOfPreemption(t *testing.T) {
	one := func(cpu spec.MilliCPU) []spec.NodeView { return equal(1, cpu, spec.TiB) }
	app := func(name string, priority, n int, cpu spec.MilliCPU) *spec.App {
		return ranked(name, priority, n, cpu, spec.MiB)
	}
	on := func(node string, a *spec.App) *spec.App { return pinned(a, node) }
	keeps := func(least spec.Milli, a *spec.App) *spec.App {
		return edit(a, func(a *spec.App) { a.Update.MinHealthy = least })
	}
	as := func(role string, a *spec.App) *spec.App { return inRole(role, a) }
	wants := func(cpu spec.MilliCPU) *spec.App { return app("new", 90, 1, cpu) }
	port := spec.PortSpec{Name: "p", Static: 80, Protocol: spec.TCP}
	disk := func(a *spec.App, n spec.Bytes) *spec.App {
		return edit(a, func(a *spec.App) { a.Tasks[0].Disk = n * spec.GiB })
	}
	gpus := func(a *spec.App, n int, model string) *spec.App {
		return edit(a, func(a *spec.App) {
			d := spec.DeviceAsk{Kind: "gpu", Count: n}
			if model != "" {
				d.Constraints = []spec.Constraint{{Attribute: "model", Operator: spec.OpEqual, Value: model}}
			}
			a.Tasks[0].Devices = []spec.DeviceAsk{d}
		})
	}
	alone := func(a *spec.App, cores int) *spec.App {
		return edit(a, func(a *spec.App) { a.Tasks[0].Cores = cores })
	}
	with := func(n []spec.NodeView, f func(*spec.NodeView)) []spec.NodeView { f(&n[0]); n[0].Tidy(); return n }
	cards := func(n *spec.NodeView) {
		n.Devices = []spec.Device{{Kind: "gpu", ID: "a", Model: "x"}, {Kind: "gpu", ID: "b", Model: "y"}}
	}
	cores := func(n *spec.NodeView) { n.Cores = []spec.CoreGroup{{Cores: []int{0, 1, 2, 3}}} }
	large := with(equal(1, 3900, (8192-256)*spec.MiB), func(n *spec.NodeView) { n.Capacity.Disk = 96 * spec.GiB })
	asked := disk(ranked("new", 100, 1, 1000, 3000*spec.MiB), 50)
	mixed := func(low int) []*spec.App {
		return []*spec.App{
			disk(ranked("high", 100, 1, 2800, 2256*spec.MiB), 40), disk(ranked("low1", low, 1, 200, 256*spec.MiB), 4),
			disk(ranked("low2", low, 1, 200, 512*spec.MiB), 25), disk(ranked("low3", low, 1, 700, 276*spec.MiB), 20),
		}
	}
	for _, tt := range []struct {
		name   string
		nodes  []spec.NodeView
		exists []*spec.App
		new    *spec.App
		given  func(*lab)
		want   string
	}{
		{"100 asks 1,000/3,000/50; 2,800/2,256/40 of 100 and three of 30: all three", large, mixed(30), asked, nil, "low1-0-1 low2-0-1 low3-0-1"},
		{"the same, all of priority 100: nobody", large, mixed(100), asked, nil, ""},
		{"a gap of 10", one(1000), []*spec.App{app("low", 80, 1, 1000)}, wants(1000), nil, "low-0-1"},
		{"a gap of 9", one(1000), []*spec.App{app("low", 81, 1, 1000)}, wants(1000), nil, ""},
		{"preemption is off", one(1000), []*spec.App{app("low", 10, 1, 1000)}, wants(1000), func(l *lab) { l.in.Desired.Preemption = false }, ""},
		{"there is room elsewhere", equal(2, 1000, spec.TiB), []*spec.App{on("n1", app("low", 10, 1, 1000))}, wants(1000), nil, ""},
		{"it does not fit though all go", one(1000), []*spec.App{app("low", 10, 1, 1000)}, wants(1001), nil, ""},
		{"it does not fit as somebody stays", one(1000), []*spec.App{app("low", 10, 1, 400), app("high", 85, 1, 600)}, wants(500), nil, ""},
		{"its constraints refuse the node", one(1000), []*spec.App{app("low", 10, 1, 1000)}, on("n2", wants(1000)), nil, ""},
		{"what one gives of one resource is not needed, and it stays", with(one(1000), func(n *spec.NodeView) { n.Capacity.Disk = 10 * spec.GiB }),
			[]*spec.App{app("cpu", 10, 1, 1000), disk(app("disk", 10, 1, 0), 10)}, wants(1000), nil, "cpu-0-1"},
		{"two resources, one victim for each", with(one(1000), func(n *spec.NodeView) { n.Capacity.Disk = 10 * spec.GiB }),
			[]*spec.App{app("cpu", 10, 1, 1000), disk(app("disk", 10, 1, 0), 10)}, disk(wants(1000), 5), nil, "cpu-0-1 disk-0-1"},

		{"the lowest: two of 30 rather than one of 40", one(2000), []*spec.App{app("a", 30, 2, 500), app("b", 40, 1, 1000)}, wants(1000), nil, "a-0-1 a-1-1"},
		{"the lowest, on another node", equal(2, 1000, spec.TiB), []*spec.App{on("n1", app("a", 40, 1, 1000)), on("n2", app("b", 30, 2, 500))}, wants(1000), nil, "b-0-1 b-1-1"},
		{"a lower one alone is not enough: of the higher as few as possible", one(2000), []*spec.App{app("a", 30, 1, 500), app("b", 40, 1, 1000), app("c", 40, 1, 500)}, wants(1000), nil, "b-0-1"},
		{"the fewest: one larger rather than several small", one(2000), []*spec.App{app("a", 30, 4, 250), app("b", 30, 1, 1000)}, wants(1000), nil, "b-0-1"},
		{"the fewest, on another node", equal(2, 1000, spec.TiB), []*spec.App{on("n1", app("a", 30, 2, 500)), on("n2", app("b", 30, 1, 1000))}, wants(1000), nil, "b-0-1"},
		{"the fewest, though they are less low together", equal(2, 1000, spec.TiB), []*spec.App{on("n1", app("a", 10, 2, 250)), on("n1", app("b", 30, 1, 500)), on("n2", app("c", 30, 2, 500))}, wants(1000), nil, "c-0-1 c-1-1"},
		{"as few: the lower together", one(2700), []*spec.App{app("a", 30, 1, 200), app("b", 20, 1, 500), app("c", 40, 1, 500), app("d", 40, 1, 1500)}, wants(1700), nil, "b-0-1 d-0-1"},
		{"as few and as low: the one that stops least", one(3000), []*spec.App{app("a", 30, 1, 1800), app("b", 30, 1, 1200)}, wants(1000), nil, "b-0-1"},
		{"all equal: the first node by name", equal(2, 1000, spec.TiB), []*spec.App{app("a", 30, 2, 1000)}, wants(1000), nil, "a-0-1"},
		{"a node where it failed again and again comes last", equal(2, 1000, spec.TiB), []*spec.App{on("n1", app("a", 30, 1, 1000)), on("n2", app("b", 40, 1, 1000))}, wants(1000), func(l *lab) {
			for range spec.FaultyFailures {
				l.in.Failures = append(l.in.Failures, reconcileFailure("new", "n1", l.in.Now))
			}
		}, "b-0-1"},

		{"a victim has the port", one(2000), []*spec.App{serving(app("low", 10, 1, 500), port)}, serving(wants(500), port), nil, "low-0-1"},
		{"a victim has the port, and one more has the room", one(2000), []*spec.App{serving(app("low", 10, 1, 500), port), app("other", 10, 1, 1500)}, serving(wants(1000), port), nil, "low-0-1 other-0-1"},
		{"the port is held by one that is too important", one(2000), []*spec.App{serving(app("high", 85, 1, 500), port), app("low", 10, 1, 1000)}, serving(wants(1000), port), nil, ""},
		{"the port of another protocol is none", one(1000), []*spec.App{serving(app("low", 10, 1, 500), spec.PortSpec{Name: "p", Static: 80, Protocol: spec.UDP}), app("other", 10, 1, 500)}, serving(wants(500), port), nil, "low-0-1"},
		{"a victim has the device", with(one(4000), cards), []*spec.App{gpus(app("low", 10, 2, 500), 1, "")}, gpus(wants(500), 1, ""), nil, "low-0-1"},
		{"two have one each", with(one(4000), cards), []*spec.App{gpus(app("low", 10, 2, 500), 1, "")}, gpus(wants(500), 2, ""), nil, "low-0-1 low-1-1"},
		{"the device of the right model", with(one(4000), cards), []*spec.App{gpus(app("a", 10, 1, 500), 1, "x"), gpus(app("b", 20, 1, 500), 1, "y")}, gpus(wants(500), 1, "y"), nil, "b-0-1"},
		{"a victim has the cores", with(one(8000), cores), []*spec.App{alone(app("low", 10, 1, 3000), 3), app("other", 10, 1, 1000)}, alone(wants(2000), 2), nil, "low-0-1"},
		{"cores that a more important one has", with(one(8000), cores), []*spec.App{alone(app("high", 85, 1, 3000), 3), app("low", 10, 1, 1000)}, alone(wants(2000), 2), nil, ""},

		{"the budget of its app counts every victim", one(2000), []*spec.App{keeps(500, app("low", 10, 4, 500))}, wants(1000), nil, "low-0-1 low-1-1"},
		{"more than its app may lose", one(2000), []*spec.App{keeps(750, app("low", 10, 4, 500))}, wants(1000), nil, ""},
		{"the rest is taken from another app", one(2000), []*spec.App{keeps(500, app("a", 10, 2, 500)), app("b", 40, 2, 500)}, wants(1000), nil, "a-0-1 b-0-1"},
		{"the budget of the cluster", one(2000), []*spec.App{app("a", 10, 4, 500)}, wants(1000), func(l *lab) {
			l.in.Desired.Disruption.MaxTotal = &spec.Percent{Value: 1, Absolute: true}
		}, ""},
		{"what does not work uses the budget up", one(2000), []*spec.App{keeps(750, app("low", 10, 4, 500))}, wants(500), func(l *lab) { l.live("low")[3].Healthy = false }, ""},

		{"a role keeps its guarantee", one(2000), []*spec.App{as("db", app("low", 10, 4, 500))}, wants(500), func(l *lab) {
			l.in.Desired.Roles = []spec.Role{guaranteed("db", 1, 2000)}
		}, ""},
		{"what it has beyond it may go, as long as all of the guarantee stays", one(2000), []*spec.App{as("db", app("low", 10, 4, 500))}, wants(500), func(l *lab) {
			l.in.Desired.Roles = []spec.Role{guaranteed("db", 1, 1500)}
		}, "low-0-1"},
		{"one of two is beyond it, and both would have to go", one(2000), []*spec.App{as("db", app("low", 10, 4, 500))}, wants(1000), func(l *lab) {
			l.in.Desired.Roles = []spec.Role{guaranteed("db", 1, 1500)}
		}, ""},
		{"the same, and there is room where it cannot go", equal(2, 2000, spec.TiB), []*spec.App{on("n1", as("db", app("low", 10, 4, 500)))}, on("n1", wants(1000)), func(l *lab) {
			l.in.Desired.Roles = []spec.Role{guaranteed("db", 1, 1500)}
		}, ""},
		{"what one allocation has of it counts", one(2000), []*spec.App{as("db", app("low", 10, 2, 1000))}, wants(500), func(l *lab) {
			l.in.Desired.Roles = []spec.Role{guaranteed("db", 1, 1500)}
		}, ""},
		{"a guarantee of its own role protects nobody from it", one(2000), []*spec.App{as("db", app("low", 10, 4, 500))}, as("db", wants(500)), func(l *lab) {
			l.in.Desired.Roles = []spec.Role{guaranteed("db", 1, 2000)}
		}, "low-0-1"},
		{"room that is kept for others by a guarantee is made elsewhere", one(2000), []*spec.App{app("low", 10, 2, 500)}, wants(1000), func(l *lab) {
			l.in.Desired.Roles = []spec.Role{guaranteed("db", 1, 1000)}
		}, "low-0-1 low-1-1"},
		{"a reservation protects those within it", one(2000), []*spec.App{as("db", app("low", 10, 4, 500))}, wants(500), func(l *lab) {
			l.in.Desired.Reservations = []spec.Reservation{reserve("r", "db", 2000)}
		}, ""},
		{"beyond a reservation they may go", one(2000), []*spec.App{as("db", app("low", 10, 4, 500))}, wants(1000), func(l *lab) {
			l.in.Desired.Reservations = []spec.Reservation{reserve("r", "db", 1000)}
		}, "low-0-1 low-1-1"},
		{"what a reservation keeps is not there: as many more go", one(2000), []*spec.App{app("low", 10, 2, 500)}, wants(1000), func(l *lab) {
			l.in.Desired.Reservations = []spec.Reservation{reserve("r", "db", 1000)}
		}, "low-0-1 low-1-1"},
		{"a quota is made room in by those who share it", one(4000), []*spec.App{as("db", app("a", 10, 1, 1000)), as("web", app("b", 10, 1, 1000))}, as("db", wants(1000)), func(l *lab) {
			l.in.Desired.Roles = []spec.Role{{Name: "db", Weight: 1, Quota: &spec.Resources{CPU: 1500}}}
		}, "a-0-1"},
		{"a quota that is too small for it", one(4000), []*spec.App{as("db", app("a", 10, 1, 1000))}, as("db", wants(2000)), func(l *lab) {
			l.in.Desired.Roles = []spec.Role{{Name: "db", Weight: 1, Quota: &spec.Resources{CPU: 1500}}}
		}, ""},

		{"a system app makes room on each node that it has not", equal(2, 1000, spec.TiB), []*spec.App{on("n1", app("a", 10, 1, 1000)), on("n2", app("b", 85, 1, 1000))},
			edit(wants(500), func(a *spec.App) { a.Kind = spec.KindSystem }), nil, "a-0-1"},
		{"a system app is no victim", one(1000), []*spec.App{edit(app("low", 10, 1, 1000), func(a *spec.App) { a.Kind = spec.KindSystem })}, wants(500), nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := cluster(t, tt.nodes...)
			l.in.Desired.Preemption = true
			l.in.Desired.Disruption.MaxUnavailable = spec.Percent{Value: 100} // of each app, where it says nothing else
			l.commit(tt.exists...)
			l.settle()
			running := 0
			for _, a := range tt.exists {
				running += len(l.live(string(a.Name)))
			}
			if tt.given != nil {
				tt.given(l)
			}
			l.commit(append(slices.Clone(tt.exists), tt.new)...)
			p := l.step()
			if got := strings.Join(victims(p, "new"), " "); got != tt.want {
				t.Fatalf("victims %q, want %q of %d\n%s", got, tt.want, running, show(p))
			}
			if n := len(l.live("new")); tt.want != "" && n != 1 {
				t.Errorf("new has %d\n%s", n, show(p))
			}
		})
	}
}

// TestVictimsAreTheBest compares whom the planner asks to go with whom one would who tries every set on every node.
func TestVictimsAreTheBest(t *testing.T) {
	preempted := 0
	rapid.Check(t, func(rt *rapid.T) {
		l := newLab(t, 0)
		for i := range rapid.IntRange(1, 3).Draw(rt, "nodes") {
			l.in.Nodes = append(l.in.Nodes, node(fmt.Sprint("n", i), spec.MilliCPU(rapid.IntRange(3, 6).Draw(rt, "cpu")*1000), spec.Bytes(rapid.IntRange(3, 6).Draw(rt, "memory"))*spec.GiB))
		}
		l.in.Desired.Preemption = true
		l.in.Desired.Disruption.MaxUnavailable = spec.Percent{Value: 100} // of each app, where it says nothing else
		draw := func(name string, priority, n int) *spec.App {
			a := ranked(name, priority, n, spec.MilliCPU(rapid.IntRange(0, 3).Draw(rt, "asks cpu")*1000), spec.Bytes(rapid.IntRange(0, 3).Draw(rt, "asks memory"))*spec.GiB)
			if rapid.IntRange(0, 3).Draw(rt, "port") == 0 {
				a.Network.Ports = []spec.PortSpec{{Name: "p", Static: 80, Protocol: spec.TCP}}
			}
			return a
		}
		var apps []*spec.App
		for i := range rapid.IntRange(1, 5).Draw(rt, "apps") {
			a := draw(fmt.Sprint("a", i), rapid.SampledFrom([]int{10, 20, 30, 85}).Draw(rt, "priority"), rapid.IntRange(1, 4).Draw(rt, "count"))
			a.Update.MinHealthy = rapid.SampledFrom([]spec.Milli{0, 0, 500}).Draw(rt, "min healthy")
			a.Role = rapid.SampledFrom([]spec.RoleName{"eng", "db"}).Draw(rt, "role")
			apps = append(apps, a)
		}
		l.commit(apps...)
		l.rest(rt)
		if rapid.Bool().Draw(rt, "guarantee") {
			l.in.Desired.Roles = []spec.Role{guaranteed("db", 1, spec.MilliCPU(rapid.IntRange(1, 4).Draw(rt, "guaranteed")*1000))}
		}
		fresh := draw("new", 90, 1)
		l.commit(append(slices.Clone(apps), fresh)...)
		p, _ := strict(rt, l.in)
		got, best := victims(p, "new"), l.best(apps, fresh)
		if best == nil != (len(got) == 0) {
			rt.Fatalf("victims %v, the best are %+v\n%s", got, best, show(p))
		}
		if best == nil {
			return
		}
		preempted++
		chosen := l.cost(fresh, l.in.Nodes[slices.IndexFunc(l.in.Nodes, func(n spec.NodeView) bool { return n.ID == l.nodeOf(got[0]) })], func(a *spec.AllocationView) bool { return slices.Contains(got, string(a.ID)) })
		if chosen.compare(*best) != 0 {
			rt.Fatalf("victims %v cost %+v, the best %+v\n%s", got, chosen, *best, show(p))
		}
	})
	if preempted == 0 {
		t.Error("nobody was ever preempted")
	}
}

func (l *lab) nodeOf(id string) spec.NodeID {
	for _, a := range l.in.Current {
		if string(a.ID) == id {
			return a.Node
		}
	}
	return ""
}

// cost is what a set of victims costs, as preemption is to weigh it.
type cost struct{ highest, victims, sum, waste int }

func (c cost) compare(o cost) int {
	return cmp.Or(cmp.Compare(c.highest, o.highest), cmp.Compare(c.victims, o.victims), cmp.Compare(c.sum, o.sum), cmp.Compare(c.waste, o.waste))
}

// cost adds up what the victims among a node's allocations cost a new one.
func (l *lab) cost(fresh *spec.App, n spec.NodeView, goes func(*spec.AllocationView) bool) cost {
	var c cost
	var free, given spec.Resources
	free = n.Capacity
	for i := range l.in.Current {
		a := &l.in.Current[i]
		if a.Node != n.ID || a.State.Terminal() {
			continue
		}
		app := l.in.Versions[a.Version]
		free = free.Minus(app.Needs())
		if goes(a) {
			c.victims, c.sum, c.highest = c.victims+1, c.sum+app.Priority, max(c.highest, app.Priority)
			given = given.Plus(app.Needs())
		}
	}
	need := fresh.Needs()
	waste := func(given, need, free, all int64) int {
		if need > 0 {
			given -= max(0, need-free)
		}
		return int(max(0, given) * 1000 / all)
	}
	c.waste = waste(int64(given.CPU), int64(need.CPU), int64(free.CPU), int64(n.Capacity.CPU)) +
		waste(int64(given.Memory), int64(need.Memory), int64(free.Memory), int64(n.Capacity.Memory))
	return c
}

// best tries every set of allocations on every node; nil when there is room already, or no set makes any.
func (l *lab) best(apps []*spec.App, fresh *spec.App) *cost {
	var best *cost
	byName := map[spec.AppName]*spec.App{}
	for _, a := range apps {
		byName[a.Name] = a
	}
	for _, n := range l.in.Nodes {
		var there []*spec.AllocationView
		for i := range l.in.Current {
			if a := &l.in.Current[i]; a.Node == n.ID && !a.State.Terminal() {
				there = append(there, a)
			}
		}
		for set := range 1 << len(there) {
			goes := func(a *spec.AllocationView) bool {
				i := slices.Index(there, a)
				return i >= 0 && set&(1<<i) != 0
			}
			if !l.allowed(byName, fresh, n, goes) {
				continue
			}
			if set == 0 {
				return nil
			}
			if c := l.cost(fresh, n, goes); best == nil || c.compare(*best) < 0 {
				best = &c
			}
		}
	}
	return best
}

// allowed says whether all who go may, and the new one then fits.
func (l *lab) allowed(apps map[spec.AppName]*spec.App, fresh *spec.App, n spec.NodeView, goes func(*spec.AllocationView) bool) bool {
	free, has := n.Capacity.Minus(fresh.Needs()), map[spec.RoleName]spec.MilliCPU{}
	var total, used, given spec.MilliCPU
	for _, n := range l.in.Nodes {
		total += n.Capacity.CPU
	}
	lost := map[spec.AppName]int{}
	for i := range l.in.Current {
		a := &l.in.Current[i]
		if a.State.Terminal() {
			continue
		}
		app := apps[a.App]
		if goes(a) {
			if lost[a.App]++; app.Priority > fresh.Priority-10 {
				return false
			}
			if app.Role == "db" {
				given += app.Needs().CPU
			}
			continue
		}
		has[app.Role] += app.Needs().CPU
		used += app.Needs().CPU
		if a.Node == n.ID {
			free = free.Minus(app.Needs())
			if len(app.Network.Ports) > 0 && len(fresh.Network.Ports) > 0 {
				return false
			}
		}
	}
	for name, n := range lost {
		app, up := apps[name], 0
		for _, a := range l.live(string(name)) {
			if a.Healthy {
				up++
			}
		}
		if up-n < (int(app.Update.MinHealthy)*app.Count+999)/1000 {
			return false
		}
	}
	if len(l.in.Desired.Roles) > 0 {
		g := l.in.Desired.Roles[0].Guarantee.CPU
		if given > 0 && has["db"] < g || fresh.Needs().CPU > 0 && g > has["db"] && total-used-fresh.Needs().CPU < g-has["db"] {
			return false
		}
	}
	return (fresh.Needs().CPU == 0 || free.CPU >= 0) && (fresh.Needs().Memory == 0 || free.Memory >= 0)
}

// TestManyUnequalVictims has more sets of victims than can be tried: still nobody goes in vain.
func TestManyUnequalVictims(t *testing.T) {
	l := cluster(t, node("n1", 100_000, 100*spec.GiB))
	l.in.Desired.Preemption = true
	l.in.Desired.Disruption.MaxUnavailable = spec.Percent{Value: 100}
	var apps []*spec.App
	var cpu spec.MilliCPU
	var memory spec.Bytes
	for i := range 40 {
		a := ranked(fmt.Sprintf("a%02d", i), 10, 1, spec.MilliCPU(1000+i*i*7%3000), spec.Bytes(1024+i*i*i*11%1500)*spec.MiB)
		cpu, memory, apps = cpu+a.Tasks[0].CPU, memory+a.Tasks[0].Memory, append(apps, a)
	}
	l.commit(apps...)
	l.settle()
	fresh := ranked("new", 90, 1, 50_000, 50*spec.GiB)
	l.commit(append(slices.Clone(apps), fresh)...)
	p := l.step()
	freeCPU, freeMemory := 100_000-cpu-50_000, 100*spec.GiB-memory-50*spec.GiB
	list := victims(p, "new")
	needs := func(id string) spec.Resources {
		return apps[slices.IndexFunc(apps, func(a *spec.App) bool { return strings.HasPrefix(id, string(a.Name)+"-") })].Needs()
	}
	for _, id := range list {
		freeCPU, freeMemory = freeCPU+needs(id).CPU, freeMemory+needs(id).Memory
	}
	if len(list) == 0 || freeCPU < 0 || freeMemory < 0 {
		t.Fatalf("%d go, %d and %s are free\n%s", len(list), freeCPU, freeMemory, show(p))
	}
	for _, id := range list {
		if freeCPU >= needs(id).CPU && freeMemory >= needs(id).Memory {
			t.Errorf("%s goes in vain", id)
		}
	}
}
