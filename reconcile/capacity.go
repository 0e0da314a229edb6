package reconcile

import (
	"cmp"
	"slices"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// failureLooks bounds how many nodes are looked at to find homes for what a failing node would displace. It covers all
// nodes of a small cluster and the busiest ones of a large one.
const failureLooks = 2_000_000

// resident is an allocation as it stands when the plan is done.
type resident struct {
	x    *app
	v    *version
	node int
}

// capacity fills in how full the cluster is before and after, and what the loss of a node would do. It empties the
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
			p.Capacity.Largest = w.largest()
			return
		}
	}
	all := w.residents()
	w.fleet.Clear()
	for _, r := range all {
		w.fleet.Take(r.node, r.v.need, nil)
	}
	after := make([]int64, len(total))
	for n := range w.fleet.Len() {
		if w.fleet.Open(n) {
			sum(after, w.fleet.Used(n))
		}
	}
	p.Capacity.After, p.Capacity.Largest = w.fleet.Resources(after), w.largest()
	p.Failure = w.failure(all)
}

func sum(to, v []int64) {
	for d := range v {
		to[d] += v[d]
	}
}

// residents lists what runs on which node when the plan is done.
func (w *world) residents() []resident {
	all := make([]resident, 0, len(w.current)+len(w.current)/8)
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
				all = append(all, resident{x, c.version, w.fleet.Node(c.Node)})
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
				all = append(all, resident{x, v, int(node)})
			}
		}
	}
	return all
}

// largest returns what is free on the node where the most is free, taking the scarcer of cpu and memory.
func (w *world) largest() spec.Resources {
	best, most := -1, int64(-1)
	for n := range w.fleet.Len() {
		if !w.fleet.Open(n) {
			continue
		}
		capacity, used := w.fleet.Capacity(n), w.fleet.Used(n)
		score := min(capacity[0]-used[0], (capacity[1]-used[1])/int64(spec.MiB)) // a core goes with a GiB
		if score > most {
			best, most = n, score
		}
	}
	if best < 0 {
		return spec.Resources{}
	}
	free := make([]int64, len(w.before))
	for d := range free {
		free[d] = max(0, w.fleet.Capacity(best)[d]-w.fleet.Used(best)[d])
	}
	return w.fleet.Resources(free)
}

// failure finds the node whose loss would hurt most: most allocations without a home, then most displaced.
func (w *world) failure(all []resident) *spec.FailureImpact {
	if w.fleet.Len() == 0 {
		return nil
	}
	byNode := make([][]resident, w.fleet.Len())
	own := map[*app][]int32{}
	for _, r := range all {
		if r.v.app.Kind != spec.KindSystem && w.fleet.Open(r.node) {
			byNode[r.node] = append(byNode[r.node], r)
		}
		if w.matcher(r.x, r.v).Limited() {
			own[r.x] = append(own[r.x], int32(r.node))
		}
	}
	order := make([]int, 0, len(byNode))
	for n := range byNode {
		if w.fleet.Open(n) {
			order = append(order, n)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(byNode[b]), len(byNode[a])) })
	var worst *spec.FailureImpact
	looks := failureLooks
	for _, n := range order {
		if looks <= 0 {
			break
		}
		homeless := w.homeless(n, byNode[n], own, &looks)
		if worst == nil || homeless > worst.Homeless {
			worst = &spec.FailureImpact{Node: w.fleet.ID(n), Displaced: len(byNode[n]), Homeless: homeless}
		}
	}
	return worst
}

// homeless counts the allocations of a node that would find no other.
func (w *world) homeless(node int, list []resident, own map[*app][]int32, looks *int) int {
	without, full := 0, map[*version]bool{}
	var taken []resident
	for _, r := range list {
		*looks--
		if full[r.v] {
			without++
			continue
		}
		request := &place.Request{Match: w.matcher(r.x, r.v), Count: 1, Total: r.v.app.Count}
		request.Beside = w.besides(r.x, r.v.app, func(x *app) []int32 { return w.whereAfter(x, node, taken) })
		for _, n := range own[r.x] {
			if int(n) != node {
				request.Own = append(request.Own, n)
			}
		}
		for _, t := range taken {
			if t.x == r.x {
				request.Own = append(request.Own, int32(t.node))
			}
		}
		home, looked := w.fleet.FirstFit(request, node)
		*looks -= looked + len(request.Own)
		for i := range request.Beside {
			*looks -= len(request.Beside[i].Nodes)
		}
		if home < 0 {
			full[r.v] = true
			without++
			continue
		}
		w.fleet.Take(home, r.v.need, nil)
		taken = append(taken, resident{r.x, r.v, home})
	}
	for _, t := range taken {
		w.fleet.Release(t.node, t.v.need, nil)
	}
	return without
}
