package reconcile

import (
	"cmp"
	"slices"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

const (
	// failureLooks bounds how many nodes are looked at to find homes for what failing nodes would displace, for single
	// nodes and for all domains together each. A cluster of 10,000 nodes with 100,000 allocations needs some 2,000,000, unless
	// most of its apps have rules over others; beyond it the fullest losses are looked at.
	failureLooks = 50_000_000
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
	w       *world
	losses  *place.Losses
	byNode  [][]resident // by importance; without system apps, which follow no node
	own     map[*app][]int32
	seekers map[*version]*place.Seeker // nil: only FirstFit will do
	counts  map[*app][]counter         // those that have to know where the app is
	taken   map[*app][]int32           // where what the present loss displaces has found a place
	placed  []resident                 // that, one by one
	ask     place.Request              // the last one of those that a seeker answered
}

// counter has to know of every allocation of an app that comes or goes.
type counter interface{ Count(node, change int) }

// failure looks at the loss of each node and of each value of each failure domain.
func (w *world) failure(all []resident) *spec.FailureImpact {
	if w.fleet.Len() == 0 {
		return nil
	}
	return w.newFailures(all).impact()
}

func (f *failures) impact() *spec.FailureImpact {
	w := f.w
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

// newFailures finds what each node has, and who can find homes fast.
func (w *world) newFailures(all []resident) *failures {
	f := &failures{
		w: w, losses: w.fleet.Losses(), byNode: make([][]resident, w.fleet.Len()), own: map[*app][]int32{},
		seekers: map[*version]*place.Seeker{}, counts: map[*app][]counter{}, taken: map[*app][]int32{},
	}
	displaced := func(r *resident) bool { return r.v.app.Kind != spec.KindSystem && w.fleet.Open(r.node) }
	count := make([]int, len(f.byNode))
	for i := range all {
		if displaced(&all[i]) {
			count[all[i].node]++
		}
	}
	for i := range all {
		r := &all[i]
		if displaced(r) {
			if f.byNode[r.node] == nil {
				f.byNode[r.node] = make([]resident, 0, count[r.node])
			}
			f.byNode[r.node] = append(f.byNode[r.node], *r)
		}
		f.own[r.x] = append(f.own[r.x], int32(r.node))
	}
	for i := range f.byNode {
		for _, r := range f.byNode[i] {
			if _, seen := f.seekers[r.v]; !seen {
				f.seekers[r.v] = f.seeker(r.x, r.v)
			}
		}
	}
	return f
}

// seeker finds homes for a version fast; nil where its rules allow no such thing.
func (f *failures) seeker(x *app, v *version) *place.Seeker {
	var peers []*app
	rules := f.w.besides(x, v.app, func(y *app) []int32 { peers = append(peers, y); return []int32{} })
	for _, y := range peers {
		if y.desired == nil || y.desired.app.Kind == spec.KindSystem {
			return nil
		}
	}
	m := f.w.matcher(x, v)
	if !m.Fills() {
		return nil
	}
	s := f.losses.Seeker(m, f.own[x], v.app.Count)
	if s.Limits() {
		f.counts[x] = append(f.counts[x], s)
	}
	for i := range rules {
		if rules[i].Nodes == nil {
			continue // the other app runs nowhere
		}
		y := peers[0]
		peers = peers[1:]
		f.counts[y] = append(f.counts[y], s.Apart(rules[i].Attribute, f.own[y]))
	}
	return s
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
	back := f.losses.Lose(l.nodes)
	placed := f.placed[:0]
	for _, r := range l.residents {
		f.count(r.x, r.node, -1)
	}
	defer func() {
		for _, t := range placed {
			f.w.fleet.Release(t.node, t.v.need, t.given)
			f.count(t.x, t.node, -1)
		}
		for _, r := range l.residents {
			f.count(r.x, r.node, 1)
		}
		clear(f.taken)
		f.placed = placed
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
		home, q := f.home(r, from, looks)
		if home < 0 {
			without = append(without, r)
			continue
		}
		t := resident{r.x, r.v, home, r.index, given(f.w.fleet.Grant(home, spec.Slot{App: r.x.name, Index: r.index}, q))}
		f.losses.Put(home, t.v.need, t.given)
		f.count(t.x, home, 1)
		f.taken[t.x] = append(f.taken[t.x], int32(home))
		placed = append(placed, t)
	}
	return without, true
}

// count tells those who have to know of an allocation of the app more or less on a node.
func (f *failures) count(x *app, node, change int) {
	for _, s := range f.counts[x] {
		s.Count(node, change)
	}
}

// home finds the first node that takes the allocation, or -1.
func (f *failures) home(r resident, from map[*version]int, looks *int) (home int, q *place.Request) {
	m := f.w.matcher(r.x, r.v)
	if s := f.seekers[r.v]; s != nil {
		node, looked := s.First()
		*looks -= looked
		f.ask = place.Request{Match: m, Count: 1}
		return node, &f.ask
	}
	if from[r.v] == f.w.fleet.Len() {
		return -1, nil
	}
	q = f.request(m, r)
	home, looked := f.w.fleet.FirstFit(q, from[r.v])
	*looks -= looked + len(q.Own)
	for i := range q.Beside {
		*looks -= len(q.Beside[i].Nodes) + len(m.Takes())
	}
	if m.Fills() {
		from[r.v] = home
		if home < 0 {
			from[r.v] = f.w.fleet.Len()
		}
	}
	return home, q
}

// request asks for a place for one of a loss, beside what is left and what has found a place.
func (f *failures) request(m *place.Matcher, r resident) *place.Request {
	q := &place.Request{Match: m, Count: 1, Total: r.v.app.Count}
	q.Beside = f.w.besides(r.x, r.v.app, func(x *app) []int32 { return f.whereAfter(x, f.own[x]) })
	if m.Limited() {
		q.Own = f.whereAfter(r.x, f.own[r.x])
	}
	return q
}

// whereAfter returns where an app that was on these nodes runs when some are lost and part of what was on them has found new
// places.
func (f *failures) whereAfter(x *app, before []int32) []int32 {
	nodes := make([]int32, 0, len(before))
	for _, n := range before {
		if !f.losses.Lost(int(n)) {
			nodes = append(nodes, n)
		}
	}
	return append(nodes, f.taken[x]...)
}
