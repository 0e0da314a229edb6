package reconcile

import (
	"maps"
	"slices"

	"github.com/stowage/stowage/spec"
)

// resident is an allocation as it stands when the plan is done.
type resident struct {
	x     *app
	v     *version
	node  int
	index int
	given *spec.Grant // nil: nothing by name
}

// capacity fills in how full the cluster is before and after, and what the loss of a node or of a failure domain would do. It empties the
// fleet and fills it as it will be: planning is over.
func (w *world) capacity(p *spec.Plan) {
	total := make([]int64, len(w.before))
	for n := range w.fleet.Len() {
		if w.fleet.Open(n) {
			sum(total, w.fleet.Capacity(n))
		}
	}
	p.Capacity.Total, p.Capacity.Before = w.fleet.Resources(total), w.fleet.Resources(w.before)
	if p.Summary.Changes() == 0 {
		p.Capacity.After = p.Capacity.Before
		if p.Summary.Blocked == 0 {
			p.Capacity.Largest, p.Capacity.Pools = w.largest(w.fleet.Open), w.poolsAfter()
			p.Cost = w.cost(w.residents)
			return
		}
	}
	all := w.residents()
	w.fleet.Clear()
	for _, r := range all {
		w.fleet.Take(r.node, r.v.need, r.given)
	}
	after := make([]int64, len(total))
	for n := range w.fleet.Len() {
		if w.fleet.Open(n) {
			sum(after, w.fleet.Used(n))
		}
	}
	p.Capacity.After, p.Capacity.Largest = w.fleet.Resources(after), w.largest(w.fleet.Open)
	p.Capacity.Pools = w.poolsAfter()
	p.Failure, p.Cost = w.failure(all), w.cost(func() []resident { return all })
}

// filling is how full the nodes of a pool are that take allocations.
type filling struct{ total, used []int64 }

// fillings adds up the nodes by pool, as they are filled now.
func (w *world) fillings() map[spec.PoolName]*filling {
	pools := map[spec.PoolName]*filling{}
	for n := range w.fleet.Len() {
		if !w.fleet.Open(n) {
			continue
		}
		f := pools[w.fleet.Pool(n)]
		if f == nil {
			f = &filling{make([]int64, len(w.before)), make([]int64, len(w.before))}
			pools[w.fleet.Pool(n)] = f
		}
		sum(f.total, w.fleet.Capacity(n))
		sum(f.used, w.fleet.Used(n))
	}
	return pools
}

// poolsAfter tells of each pool what capacity tells of all nodes; nothing where there is only one.
func (w *world) poolsAfter() []spec.PoolCapacity {
	if len(w.pools) < 2 {
		return nil
	}
	after := w.fillings()
	var out []spec.PoolCapacity
	for _, name := range slices.Sorted(maps.Keys(after)) {
		f := after[name]
		out = append(out, spec.PoolCapacity{
			Pool: name, Total: w.fleet.Resources(f.total), Before: w.fleet.Resources(w.pools[name].used), After: w.fleet.Resources(f.used),
			Largest: w.largest(func(n int) bool { return w.fleet.Open(n) && w.fleet.Pool(n) == name }),
		})
	}
	return out
}

func sum(to, v []int64) {
	for d := range v {
		to[d] += v[d]
	}
}

// residents lists what runs on which node when the plan is done.
func (w *world) residents() []resident {
	more := 0
	for _, x := range w.apps {
		more += len(x.changes)
	}
	all := make([]resident, 0, len(w.current)+more)
	stopped := map[spec.AllocationID]bool{}
	for _, x := range w.apps {
		for i := range x.changes {
			c := &x.changes[i]
			if c.stopsOld {
				stopped[c.Old] = true
			}
			for _, v := range c.Victims {
				stopped[v.ID] = true
			}
			if c.Node != "" && c.Kind != spec.ChangeUpdate {
				all = append(all, resident{x, c.version, w.fleet.Node(c.Node), c.Index, given(spec.Grant{Ports: c.Ports, Devices: c.Devices, Cores: c.Cores})})
			}
		}
	}
	for _, x := range w.apps {
		for i := range x.views {
			a := &x.views[i]
			if a.State.Terminal() || a.Want == spec.WantStop || stopped[a.ID] {
				continue
			}
			if node, v := w.nodeOf[x.first+i], w.known(a.Version); node >= 0 && v != nil {
				all = append(all, resident{x, v, int(node), a.Index, granted(a)})
			}
		}
	}
	return all
}

// granted is what an allocation has by name; nil for nothing, as most have.
func granted(a *spec.AllocationView) *spec.Grant {
	if len(a.Ports)+len(a.Devices)+len(a.Cores) == 0 {
		return nil
	}
	g := a.Grant()
	return &g
}

func given(g spec.Grant) *spec.Grant {
	if len(g.Ports)+len(g.Devices)+len(g.Cores) == 0 {
		return nil
	}
	return &g
}

// largest returns what is free for everybody on that of the nodes where the most is, taking the scarcer of cpu and
// memory: what reservations keep is not.
func (w *world) largest(of func(node int) bool) spec.Resources {
	best, most := -1, int64(-1)
	for n := range w.fleet.Len() {
		if !of(n) {
			continue
		}
		if score := min(w.freeForAll(n, 0), w.freeForAll(n, 1)/int64(spec.MiB)); score > most { // a core goes with a GiB
			best, most = n, score
		}
	}
	if best < 0 {
		return spec.Resources{}
	}
	free := make([]int64, len(w.before))
	for d := range free {
		free[d] = max(0, w.freeForAll(best, d))
	}
	return w.fleet.Resources(free)
}

func (w *world) freeForAll(node, d int) int64 {
	return w.fleet.Capacity(node)[d] - w.fleet.Used(node)[d] - w.reserved.keptFromAll(node, d)
}
