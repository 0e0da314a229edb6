package reconcile_test

import (
	"testing"

	"github.com/stowage/stowage/spec"
)

func in(pool spec.PoolName, n spec.NodeView) spec.NodeView {
	n.Pool = pool
	return n
}

// An app runs in its pool and nowhere else; the default one is that of nodes and apps that name none.
func TestPools(t *testing.T) {
	tests := []struct {
		name string
		pool spec.PoolName
		kind spec.Kind
		want map[spec.NodeID]int
		why  string
	}{
		{"no pool is the default one", "", spec.KindService, map[spec.NodeID]int{"n1": 2, "n2": 2}, "2 cpu; 2 the node is in pool gpu; 1 the node is in pool tape"},
		{"the default one by its name", "default", spec.KindService, map[spec.NodeID]int{"n1": 2, "n2": 2}, "2 cpu; 2 the node is in pool gpu; 1 the node is in pool tape"},
		{"a pool", "gpu", spec.KindService, map[spec.NodeID]int{"g1": 2, "g2": 2}, "2 cpu; 2 the node is in pool default; 1 the node is in pool tape"},
		{"a pool without nodes", "empty", spec.KindService, map[spec.NodeID]int{}, "2 the node is in pool default; 2 the node is in pool gpu; 1 the node is in pool tape"},
		{"a system app", "", spec.KindSystem, map[spec.NodeID]int{"n1": 1, "n2": 1}, ""},
		{"a system app of a pool", "tape", spec.KindSystem, map[spec.NodeID]int{"t1": 1}, ""},
		{"a system app of all", spec.AllPools, spec.KindSystem, map[spec.NodeID]int{"n1": 1, "n2": 1, "g1": 1, "g2": 1, "t1": 1}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := cluster(t, in("gpu", node("g1", 2000, spec.TiB)), in("gpu", node("g2", 2000, spec.TiB)),
				node("n1", 2000, spec.TiB), in("default", node("n2", 2000, spec.TiB)), in("tape", node("t1", 2000, spec.TiB)))
			a := asks("a", 5, 1000, spec.MiB)
			a.Pool, a.Kind = tt.pool, tt.kind
			if tt.kind == spec.KindSystem {
				a.Count = 0
			}
			l.commit(a)
			p := l.step()
			for i := range l.in.Nodes {
				id := l.in.Nodes[i].ID
				if got := l.where("a")[id]; got != tt.want[id] {
					t.Errorf("%d on %s, want %d\n%s", got, id, tt.want[id], show(p))
				}
			}
			if b := blocked(p, "a"); (b == nil) != (tt.why == "") || b != nil && rules(b) != tt.why {
				t.Errorf("blocked %+v, want %q", b, tt.why)
			}
		})
	}
}

// The policy of an app is its own, else its pool's, else the cluster's.
func TestPolicyOfAPool(t *testing.T) {
	for _, tt := range []struct {
		name  string
		pool  spec.PoolName
		own   string
		nodes int // that two allocations are on
	}{
		{"the cluster's", "", "", 1}, {"the pool's", "gpu", "", 2}, {"its own", "gpu", "binpack", 1},
	} {
		l := cluster(t, in("gpu", node("g1", 4000, spec.TiB)), in("gpu", node("g2", 4000, spec.TiB)), node("n1", 4000, spec.TiB), node("n2", 4000, spec.TiB))
		l.in.Desired.Pools = []spec.Pool{{Name: "gpu", Policy: &spec.PolicyRef{Name: "spread"}}}
		a := asks("a", 2, 100, spec.MiB)
		a.Pool = tt.pool
		if tt.own != "" {
			a.Policy = &spec.PolicyRef{Name: tt.own}
		}
		l.commit(a)
		if l.settle(); len(l.where("a")) != tt.nodes {
			t.Errorf("%s: on %v, want %d nodes", tt.name, l.where("a"), tt.nodes)
		}
	}
}

// A system app follows its nodes from pool to pool; a service stays where it is until it is placed anew.
func TestANodeChangesItsPool(t *testing.T) {
	l := cluster(t, node("n1", 4000, spec.TiB), node("n2", 4000, spec.TiB))
	system := asks("system", 0, 100, spec.MiB)
	system.Kind = spec.KindSystem
	web := asks("web", 1, 100, spec.MiB)
	l.commit(system, web)
	l.settle()
	l.node("n1").Pool = "gpu"
	l.settle()
	if s, w := l.where("system"), l.where("web"); s["n1"] != 0 || s["n2"] != 1 || w["n1"] != 1 {
		t.Fatalf("system on %v, web on %v", s, w)
	}
	l.lose("n1")
	l.settle()
	if w := l.where("web"); w["n2"] != 1 {
		t.Fatalf("web on %v", w)
	}
	l.node("n1").State = spec.NodeReady
	l.node("n1").Pool = ""
	l.settle()
	if s := l.where("system"); s["n1"] != 1 || s["n2"] != 1 {
		t.Fatalf("system on %v", s)
	}
}
