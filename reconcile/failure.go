package reconcile

import (
	"cmp"
	"slices"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

const (
	// failureLooks bounds how many nodes are looked at to find homes for what failing nodes would displace, for single
	// nodes and for all domains together each. It covers all of a small cluster and the fullest losses of a large one.
	failureLooks = 2_000_000
	// lossesKept is how many losses of nodes, and of values of a domain, a plan holds.
	lossesKept = 100
	// homelessKept is how many slots without another node a loss names.
	homelessKept = 10
)

// loss is a set of nodes that may fail together, and what runs on them that would have to go elsewhere.
type loss struct {
	name      string
	nodes     []int32
	residents []resident
}

// failures looks for homes for what the loss of nodes displaces. The fleet is as it is when the plan is done.
type failures struct {
	w      *world
	byNode [][]resident // by importance; without system apps, which follow no node
	own    map[*app][]int32
	lost   []bool
}

// failure looks at the loss of each node and of each value of each failure domain.
func (w *world) failure(all []resident) *spec.FailureImpact {
	if w.fleet.Len() == 0 {
		return nil
	}
	f := &failures{w, make([][]resident, w.fleet.Len()), map[*app][]int32{}, make([]bool, w.fleet.Len())}
	for _, r := range all {
		if r.v.app.Kind != spec.KindSystem && w.fleet.Open(r.node) {
			f.byNode[r.node] = append(f.byNode[r.node], r)
		}
		if w.matcher(r.x, r.v).Limited() {
			f.own[r.x] = append(f.own[r.x], int32(r.node))
		}
	}
	var single []loss
	for n := range f.byNode {
		if w.fleet.Open(n) {
			single = append(single, loss{string(w.fleet.ID(n)), []int32{int32(n)}, f.byNode[n]})
		}
	}
	looks := failureLooks
	p := &spec.FailureImpact{Of: len(single)}
	p.Nodes, p.Looked = f.worst(single, &looks)
	if len(p.Nodes) == 0 {
		return nil
	}
	l := &p.Nodes[0]
	p.Node, p.Displaced, p.Homeless, p.Slots = spec.NodeID(l.Name), l.Displaced, l.Homeless, l.Slots
	looks = failureLooks
	for _, attribute := range w.failureDomains() {
		d := spec.DomainImpact{Attribute: attribute}
		var losses []loss
		values, nodes := w.fleet.Domain(attribute)
		for i, list := range nodes {
			if len(list) > 0 {
				l := loss{name: values[i], nodes: list}
				for _, n := range list {
					l.residents = append(l.residents, f.byNode[n]...)
				}
				losses = append(losses, l)
			}
		}
		d.Of = len(losses)
		d.Values, d.Looked = f.worst(losses, &looks)
		p.Domains = append(p.Domains, d)
	}
	return p
}

// failureDomains are the attributes that the cluster names, or those that apps spread over or group by.
func (w *world) failureDomains() []string {
	if named := w.in.Desired.FailureDomains; len(named) > 0 {
		return named
	}
	var names []string
	add := func(attribute string) {
		if attribute != place.AttributeID && attribute != "" && !slices.Contains(names, attribute) {
			names = append(names, attribute)
		}
	}
	for _, a := range w.in.Desired.Apps {
		for i := range a.Spreads {
			add(a.Spreads[i].Attribute)
		}
		for i := range a.Constraints {
			if c := &a.Constraints[i]; c.Operator == spec.OpGroupBy {
				add(c.Attribute)
			}
		}
	}
	slices.Sort(names)
	return names[:min(len(names), spec.MaxFailureDomains)]
}

// worst looks at losses, those that displace most first, while there are looks left, and returns the worst of them.
func (f *failures) worst(losses []loss, looks *int) (worst []spec.Loss, looked int) {
	slices.SortStableFunc(losses, func(a, b loss) int {
		return cmp.Or(cmp.Compare(len(b.residents), len(a.residents)), cmp.Compare(a.name, b.name))
	})
	for i := range losses {
		homeless, ok := f.homeless(&losses[i], looks)
		if !ok {
			break
		}
		looked++
		l := spec.Loss{Name: losses[i].name, Nodes: len(losses[i].nodes), Displaced: len(losses[i].residents), Homeless: len(homeless)}
		for _, r := range homeless[:min(len(homeless), homelessKept)] {
			l.Slots = append(l.Slots, spec.Slot{App: r.x.name, Index: r.index})
		}
		worst = append(worst, l)
	}
	slices.SortStableFunc(worst, func(a, b spec.Loss) int {
		return cmp.Or(cmp.Compare(b.Homeless, a.Homeless), cmp.Compare(b.Displaced, a.Displaced))
	})
	return worst[:min(len(worst), lossesKept)], looked
}

// homeless returns what would find no other node, or not ok when the looks do not suffice to tell.
func (f *failures) homeless(l *loss, looks *int) (without []resident, ok bool) {
	w := f.w
	back := w.fleet.Lose(l.nodes)
	for _, n := range l.nodes {
		f.lost[n] = true
	}
	var taken []resident
	defer func() {
		for i := range taken {
			w.fleet.Release(taken[i].node, taken[i].v.need, taken[i].given)
		}
		for _, n := range l.nodes {
			f.lost[n] = false
		}
		back()
	}()
	slices.SortStableFunc(l.residents, func(a, b resident) int {
		return cmp.Or(cmp.Compare(b.v.app.Priority, a.v.app.Priority), cmp.Compare(a.x.name, b.x.name), cmp.Compare(a.index, b.index))
	})
	from := map[*version]int{} // no node before it takes another one
	for _, r := range l.residents {
		if *looks--; *looks < 0 {
			return nil, false
		}
		m := w.matcher(r.x, r.v)
		if from[r.v] == w.fleet.Len() {
			without = append(without, r)
			continue
		}
		q := f.request(m, r, taken)
		home, looked := w.fleet.FirstFit(q, from[r.v])
		*looks -= looked + len(q.Own)
		if m.Limited() {
			*looks -= len(taken)
		}
		for i := range q.Beside {
			*looks -= len(q.Beside[i].Nodes)
		}
		if m.Fills() {
			from[r.v] = home
			if home < 0 {
				from[r.v] = w.fleet.Len()
			}
		}
		if home < 0 {
			without = append(without, r)
			continue
		}
		t := resident{r.x, r.v, home, r.index, given(w.fleet.Grant(home, spec.Slot{App: r.x.name, Index: r.index}, q))}
		w.fleet.Take(home, t.v.need, t.given)
		taken = append(taken, t)
	}
	return without, true
}

// request asks for a place for one of a loss, beside what is left and what has found a place.
func (f *failures) request(m *place.Matcher, r resident, taken []resident) *place.Request {
	q := &place.Request{Match: m, Count: 1, Total: r.v.app.Count}
	q.Beside = f.w.besides(r.x, r.v.app, func(x *app) []int32 { return f.w.whereAfter(x, f.lost, taken) })
	if !m.Limited() {
		return q
	}
	for _, n := range f.own[r.x] {
		if !f.lost[n] {
			q.Own = append(q.Own, n)
		}
	}
	for i := range taken {
		if taken[i].x == r.x {
			q.Own = append(q.Own, int32(taken[i].node))
		}
	}
	return q
}
