package reconcile_test

import (
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

func inRole(role string, a *spec.App) *spec.App { a.Role = spec.RoleName(role); return a }

// needs makes an app of so many cores, GiB and GPUs.
func needs(role, name string, count int, cpu, memory, gpu float64) *spec.App {
	a := asks(name, count, spec.MilliCPU(cpu*1000), spec.Bytes(memory*float64(spec.GiB)))
	if gpu > 0 {
		a.Tasks[0].Resources = map[string]spec.Milli{"gpu": spec.Milli(gpu * 1000)}
	}
	return inRole(role, a)
}

// pool is one node with so much of everything: nothing but shares decides.
func pool(cpu, memory, gpu int) spec.NodeView {
	n := node("n1", spec.MilliCPU(cpu*1000), spec.Bytes(memory)*spec.GiB)
	n.Capacity.Named = map[string]spec.Milli{"gpu": spec.Milli(gpu * 1000)}
	return n
}

// TestHierarchicalShares: the cases in which simple descents, or descents with rescaling, starve somebody or give a
// role less than its part. Sources: Bhattacharya et al., SoCC 2013, sections 3 and 4.
func TestHierarchicalShares(t *testing.T) {
	for _, tt := range []struct {
		name   string
		has    []*spec.App // what runs before, all of it
		apps   []*spec.App // what is asked for then; apps of has keep their names
		roles  []spec.Role
		want   map[string]int
		totals [3]int
	}{
		{
			name: "complementary children: each role gets half of the processors, and the GPUs go to who wants them", totals: [3]int{100, 100, 100},
			apps: []*spec.App{needs("a", "a", 200, 1, 0, 1), needs("b/x", "x", 200, 1, 0, 0), needs("b/y", "y", 200, 0, 0, 1)},
			want: map[string]int{"a": 50, "x": 50, "y": 50},
		},
		{
			name: "who has all of one resource is not last for another: b/x gets its half of the processors as they come free", totals: [3]int{100, 100, 100},
			has:  []*spec.App{needs("b/y", "y", 100, 0, 0, 1)},
			apps: []*spec.App{needs("a", "a", 200, 1, 0, 0), needs("b/x", "x", 200, 1, 0, 0), needs("b/y", "y", 100, 0, 0, 1)},
			want: map[string]int{"a": 50, "x": 50, "y": 100},
		},
		{
			name: "the same when b/y asks for a crumb of the processors too", totals: [3]int{100, 100, 100},
			has:  []*spec.App{needs("b/y", "y", 90, 0.01, 0, 1)},
			apps: []*spec.App{needs("a", "a", 200, 1, 0, 0), needs("b/x", "x", 200, 1, 0, 0.001), needs("b/y", "y", 90, 0.01, 0, 1)},
			want: map[string]int{"a": 50, "x": 49, "y": 90},
		},
		{
			name: "a child that wants no more does not hold its siblings down: b/y takes its half of the GPUs while b/x stays at one", totals: [3]int{100, 100, 100},
			has:  []*spec.App{needs("b/x", "x", 1, 1, 0, 0)},
			apps: []*spec.App{needs("a", "a", 200, 0, 0, 1), needs("b/x", "x", 1, 1, 0, 0), needs("b/y", "y", 200, 0, 0, 1)},
			want: map[string]int{"a": 50, "x": 1, "y": 50},
		},
		{
			name: "a blocked child does not hold its siblings down: three roles share two resources among those who still can", totals: [3]int{90, 90, 90},
			apps: []*spec.App{needs("a", "a", 200, 1, 0, 0), needs("b/x", "bx", 200, 1, 0, 0), needs("b/y", "by", 200, 0, 1, 0), needs("c/x", "cx", 200, 1, 0, 0), needs("c/y", "cy", 200, 0, 1, 0), needs("d", "d", 200, 0, 0, 1)},
			want: map[string]int{"a": 30, "bx": 30, "by": 45, "cx": 30, "cy": 45, "d": 90},
		},
		{
			name: "a role that has most of a resource gets none of the rest for a child that has nothing: rescaling to the least child would give it half", totals: [3]int{10, 100, 100},
			has:  []*spec.App{needs("a/x", "x", 8, 1, 0, 0)},
			apps: []*spec.App{needs("a/x", "x", 8, 1, 0, 0), needs("a/y", "y", 10, 1, 0, 0), needs("b", "b", 10, 1, 0, 0)},
			want: map[string]int{"x": 8, "y": 0, "b": 2},
		},
		{
			name: "many children do not make a role heavier", totals: [3]int{40, 100, 100},
			apps: []*spec.App{needs("a", "a", 100, 1, 0, 0), needs("b", "b1", 100, 1, 0, 0), needs("b", "b2", 100, 1, 0, 0), needs("b", "b3", 100, 1, 0, 0), needs("b", "b4", 100, 1, 0, 0)},
			want: map[string]int{"a": 20, "b1": 5, "b2": 5, "b3": 5, "b4": 5},
		},
		{
			name: "weights hold at each level", totals: [3]int{60, 100, 100},
			roles: []spec.Role{{Name: "a", Weight: 1}, {Name: "b", Weight: 2}, {Name: "b/x", Weight: 3}, {Name: "b/y", Weight: 1}},
			apps:  []*spec.App{needs("a", "a", 100, 1, 0, 0), needs("b/x", "x", 100, 1, 0, 0), needs("b/y", "y", 100, 1, 0, 0)},
			want:  map[string]int{"a": 20, "x": 30, "y": 10},
		},
		{
			name: "what a role leaves goes to its own children first, then to others", totals: [3]int{60, 100, 100},
			apps: []*spec.App{needs("a/x", "x", 5, 1, 0, 0), needs("a/y", "y", 100, 1, 0, 0), needs("b", "b", 100, 1, 0, 0)},
			want: map[string]int{"x": 5, "y": 25, "b": 30},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := cluster(t, pool(tt.totals[0], tt.totals[1], tt.totals[2]))
			l.in.Desired.Roles = tt.roles
			l.commit(tt.has...)
			l.settle()
			l.commit(tt.apps...)
			l.step()
			for _, a := range tt.apps {
				if got := len(l.live(string(a.Name))); got != tt.want[string(a.Name)] {
					t.Errorf("%s has %d, want %d", a.Name, got, tt.want[string(a.Name)])
				}
			}
		})
	}
}

func guaranteed(name string, weight int, cpu spec.MilliCPU) spec.Role {
	return spec.Role{Name: spec.RoleName(name), Weight: weight, Guarantee: &spec.Resources{CPU: cpu}}
}

func TestGuarantees(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cpu   int
		roles []spec.Role
		apps  []*spec.App
		want  map[string]int
		rule  map[string]string // of a blocked app
	}{
		{
			name: "kept while the role has nothing at all", cpu: 10, roles: []spec.Role{guaranteed("db", 1, 4000)},
			apps: []*spec.App{needs("eng", "a", 20, 1, 0, 0)},
			want: map[string]int{"a": 6}, rule: map[string]string{"a": "kept for role db: 4 cpu"},
		},
		{
			name: "what the role has counts: only the rest is kept", cpu: 10, roles: []spec.Role{guaranteed("db", 1, 4000)},
			apps: []*spec.App{needs("eng", "a", 20, 1, 0, 0), needs("db", "d", 3, 1, 0, 0)},
			want: map[string]int{"a": 6, "d": 3}, rule: map[string]string{"a": "kept for role db: 1 cpu"},
		},
		{
			name: "beyond its guarantee a role shares like others", cpu: 10, roles: []spec.Role{guaranteed("db", 1, 2000)},
			apps: []*spec.App{needs("eng", "a", 20, 1, 0, 0), needs("db", "d", 20, 1, 0, 0)},
			want: map[string]int{"a": 5, "d": 5},
		},
		{
			name: "a guarantee above the fair share wins", cpu: 10, roles: []spec.Role{guaranteed("db", 1, 8000)},
			apps: []*spec.App{needs("eng", "a", 20, 1, 0, 0), needs("db", "d", 20, 1, 0, 0)},
			want: map[string]int{"a": 2, "d": 8}, rule: map[string]string{},
		},
		{
			name: "the roles below use it, and what is theirs is kept from their siblings", cpu: 10,
			roles: []spec.Role{guaranteed("eng", 1, 6000), guaranteed("eng/db", 1, 2000)},
			apps:  []*spec.App{needs("eng/web", "w", 20, 1, 0, 0), needs("ops", "o", 3, 1, 0, 0)},
			want:  map[string]int{"w": 5, "o": 3}, rule: map[string]string{"w": "kept for role eng/db: 2 cpu"},
		},
		{
			name: "children's guarantees hold without one of the parent", cpu: 10,
			roles: []spec.Role{guaranteed("eng/a", 1, 3000), guaranteed("eng/b", 1, 3000)},
			apps:  []*spec.App{needs("ops", "o", 20, 1, 0, 0)},
			want:  map[string]int{"o": 4}, rule: map[string]string{"o": "kept for role eng/a: 3 cpu; kept for role eng/b: 3 cpu"},
		},
		{
			name: "other resources are free", cpu: 10, roles: []spec.Role{guaranteed("db", 1, 10_000)},
			apps: []*spec.App{needs("eng", "a", 4, 0, 1, 0)},
			want: map[string]int{"a": 4},
		},
		{
			name: "more is promised than there is: a role within its own guarantee may still start", cpu: 4,
			roles: []spec.Role{guaranteed("a", 1, 4000), guaranteed("b", 1, 4000)},
			apps:  []*spec.App{needs("a", "a", 3, 1, 0, 0), needs("b", "b", 3, 1, 0, 0), needs("c", "c", 3, 1, 0, 0)},
			want:  map[string]int{"a": 2, "b": 2, "c": 0},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := cluster(t, pool(tt.cpu, 100, 0))
			l.in.Desired.Roles = tt.roles
			l.commit(tt.apps...)
			p := l.step()
			for _, a := range tt.apps {
				if got := len(l.live(string(a.Name))); got != tt.want[string(a.Name)] {
					t.Errorf("%s has %d, want %d\n%s", a.Name, got, tt.want[string(a.Name)], show(p))
				}
				if b := blocked(p, string(a.Name)); tt.rule[string(a.Name)] != "" && (b == nil || !strings.HasPrefix(kept(b), tt.rule[string(a.Name)])) {
					t.Errorf("%s is blocked by %+v, want %s", a.Name, b, tt.rule[string(a.Name)])
				}
			}
		})
	}
}

func kept(b *spec.Blocked) string {
	var names []string
	for _, r := range b.Reasons {
		names = append(names, r.Rule)
	}
	return strings.Join(names, "; ")
}

func TestGuaranteesBeyondTheClusterAreWarnedOf(t *testing.T) {
	l := cluster(t, pool(10, 100, 0))
	l.in.Desired.Roles = []spec.Role{guaranteed("a", 1, 6000), guaranteed("b", 1, 4000), guaranteed("b/x", 1, 4000)}
	l.commit(needs("a", "a", 1, 1, 0, 0))
	if p, _ := l.plan(); len(p.Warnings) != 0 {
		t.Fatalf("%+v", p.Warnings)
	}
	l.in.Desired.Roles[1].Guarantee.CPU = 5000
	p, _ := l.plan()
	if len(p.Warnings) != 1 || p.Warnings[0].Detail != "roles are guaranteed 11 of cpu, the nodes have 10" {
		t.Fatalf("%+v", p.Warnings)
	}
}

func TestQuotasHoldAtEveryLevel(t *testing.T) {
	quota := func(name string, cpu spec.MilliCPU) spec.Role {
		return spec.Role{Name: spec.RoleName(name), Weight: 1, Quota: &spec.Resources{CPU: cpu}}
	}
	l := cluster(t, pool(20, 100, 0))
	l.in.Desired.Roles = []spec.Role{quota("a", 8000), quota("a/b", 3000), quota("a/b/c", 2000)}
	apps := []*spec.App{needs("a/b/c", "c", 9, 1, 0, 0), needs("a/b", "b", 9, 1, 0, 0), needs("a", "a", 9, 1, 0, 0), needs("z", "z", 20, 1, 0, 0)}
	l.commit(apps...)
	p := l.step()
	for app, want := range map[string]int{"c": 2, "b": 1, "a": 5, "z": 12} {
		if got := len(l.live(app)); got != want {
			t.Errorf("%s has %d, want %d\n%s", app, got, want, show(p))
		}
	}
	for app, rule := range map[string]string{"c": "quota of role a/b/c: cpu", "b": "quota of role a/b: cpu", "a": "quota of role a: cpu"} {
		if b := blocked(p, app); b == nil || b.Reasons[0].Rule != rule {
			t.Errorf("%s: %+v, want %s", app, b, rule)
		}
	}
	l.settle()
	// Two go, and another of the same role comes in their place at once.
	l.commit(append([]*spec.App{edit(apps[0], count(0)), needs("a/b/c", "d", 2, 1, 0, 0)}, apps[1:]...)...)
	if p := l.step(); len(l.live("d")) != 2 {
		t.Errorf("what leaves still counts against the quota\n%s", show(p))
	}
}

// TestAQuotaOfNothing: a resource that no node has is limited without touching others.
func TestAQuotaOfNothing(t *testing.T) {
	l := newLab(t, 1)
	l.in.Desired.Roles = []spec.Role{{Name: "eng", Weight: 1, Quota: &spec.Resources{Named: map[string]spec.Milli{"gpu": 0}}}}
	l.commit(needs("eng", "a", 2, 1, 0, 0))
	if p := l.step(); p.Summary.Start != 2 {
		t.Fatalf("%s", show(p))
	}
}
