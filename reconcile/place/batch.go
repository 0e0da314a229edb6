package place

import (
	"fmt"
	"slices"

	"github.com/stowage/stowage/spec"
)

// Request asks for a batch.
type Request struct {
	Match  *Matcher
	Count  int
	Total  int               // the allocations that the app wants altogether
	Own    []int32           // the node of each allocation of the app that counts for its limits
	Going  []int32           // those of Own that are about to be followed by others: limits count them, wishes do not
	Beside []Beside          // rules over where other apps run
	Peers  []Peer            // wishes over where other apps run
	Faulty []int32           // nodes where the app failed often lately: the last choice
	Only   []int32           // when not nil, nothing but these nodes, sorted
	Wait   bool              // what leaving allocations have counts as free
	Prefer spec.AllocationID // with Wait: the one whose devices and cores are taken over first
	Best   *Scoring          // when not nil, who will choose: nodes that it cannot choose may be left out
	Seed   uint64
	Config map[string]string
}

// Batch returns the feasible nodes for the request. It is valid until the next call.
func (f *Fleet) Batch(r *Request) *Batch {
	m, d := r.Match, len(f.dims)
	b := &f.scratch.batch
	b.sheet = &f.scratch.sheet
	b.App, b.Kind, b.Priority = m.App.Name, m.App.Kind, m.App.Priority
	b.Config, b.Seed, b.Count, b.Resources, b.Need = r.Config, r.Seed, r.Count, f.dims, m.Need
	b.Nodes, b.Capacity, b.Free = b.Nodes[:0], b.Capacity[:0], b.Free[:0]
	b.Room, b.Own, b.Load = b.Room[:0], b.Own[:0], b.Load[:0]
	own := f.countOwn(r.Own)
	for _, n := range r.Going {
		own[n]--
	}
	groups := f.groupsOf(r, own)
	candidates := f.best(r, groups, own, b)
	b.reserve(len(candidates), d)
	rows := slices.Grow(f.scratch.rows[:0], len(candidates))
	for _, node := range candidates {
		i := int(node)
		if f.states[i] != spec.NodeReady || !groups.accept(i) || !f.fits(i, m.Need, r.Wait) {
			continue
		}
		room := int32(r.Count)
		if m.named {
			if room = f.roomByName(i, r, room); room == 0 {
				continue
			}
		}
		rows = append(rows, node)
		b.Nodes = append(b.Nodes, f.ids[i])
		b.Room, b.Own, b.Load = append(b.Room, room), append(b.Own, own[i]), append(b.Load, f.load[i])
		b.Capacity = append(b.Capacity, f.capacity[i*d:(i+1)*d]...)
		for k := i * d; k < (i+1)*d; k++ {
			free := f.capacity[k] - f.used[k]
			if r.Wait {
				free += f.credit[k]
			}
			b.Free = append(b.Free, free)
		}
	}
	f.scratch.rows = rows
	b.Groups = groups.project(rows)
	f.clearOwn(r.Own)
	b.Terms = m.batchTerms(r, rows)
	if len(m.same) > 0 {
		f.keepSame(b, m, r)
	}
	return b
}

// groupsOf is Matcher.groups, given what of the app will remain on each node: where each node is a group of its own, that is
// the count already. It is valid until clearOwn.
func (f *Fleet) groupsOf(r *Request, own []int32) groupings {
	m, all := r.Match, f.scratch.all
	if len(m.limits)+len(m.wishes) == 0 {
		return nil
	}
	for _, n := range r.Own {
		all[n] = own[n]
	}
	for _, n := range r.Going {
		all[n]++
	}
	return m.groupsBy(r, func(c *column) []int32 {
		if c.lone {
			return all
		}
		return count(c, r.Own)
	}, func(c *column) []int32 {
		if c.lone {
			return own
		}
		return remaining(c, r)
	})
}

// best returns the nodes that may be feasible, cut down to those that can be chosen where that is known.
func (f *Fleet) best(r *Request, groups groupings, own []int32, b *Batch) (nodes []int32) {
	b.elsewhere = 0
	if s := f.searches(r, groups, own); s != nil {
		nodes, b.elsewhere = s.choose()
		return nodes
	}
	nodes = r.candidates()
	if r.selects(len(nodes)) {
		nodes, b.elsewhere = f.choose(r, nodes, own)
	}
	return nodes
}

// reserve makes sure of the memory for n nodes with d resources each.
func (b *Batch) reserve(n, d int) {
	b.Nodes, b.Capacity, b.Free = slices.Grow(b.Nodes, n), slices.Grow(b.Capacity, n*d), slices.Grow(b.Free, n*d)
	b.Room, b.Own, b.Load = slices.Grow(b.Room, n), slices.Grow(b.Own, n), slices.Grow(b.Load, n)
}

// At returns which node of the fleet stands at an index of the last batch.
func (f *Fleet) At(index int) int { return int(f.scratch.rows[index]) }

// Acceptable returns the nodes that would take an allocation of the request if only they had the resources.
func (f *Fleet) Acceptable(r *Request) []int32 {
	return slices.DeleteFunc(f.Allowed(r), func(node int32) bool {
		room, _ := f.portRoom(int(node), r.Match.App.Network.Ports, r.Wait, 1)
		return room == 0
	})
}

// Allowed returns the nodes that would take an allocation of the request if only nothing else were on them: its rules and
// its own allocations allow it there.
func (f *Fleet) Allowed(r *Request) []int32 {
	groups, same := r.Match.groups(r), f.sameHave(r.Match, r)
	var out []int32
	for _, node := range r.candidates() {
		if i := int(node); f.states[i] == spec.NodeReady && groups.accept(i) && accepts(same, i) {
			out = append(out, node)
		}
	}
	return out
}

func (r *Request) candidates() []int32 {
	if len(r.Beside) > 0 {
		return r.obey(r.within())
	}
	return r.within()
}

// within returns the eligible nodes among those that the request names.
func (r *Request) within() []int32 {
	if r.Only == nil {
		return r.Match.eligible
	}
	var both []int32
	k := 0
	for _, n := range r.Only {
		for k < len(r.Match.eligible) && r.Match.eligible[k] < n {
			k++
		}
		if k < len(r.Match.eligible) && r.Match.eligible[k] == n {
			both = append(both, n)
		}
	}
	return both
}

func (f *Fleet) countOwn(nodes []int32) []int32 {
	for _, n := range nodes {
		f.scratch.own[n]++
	}
	return f.scratch.own
}

func (f *Fleet) clearOwn(nodes []int32) {
	for _, n := range nodes {
		f.scratch.own[n], f.scratch.all[n] = 0, 0
	}
}

// fits reports whether one more allocation fits by its resources.
func (f *Fleet) fits(node int, need []int64, wait bool) bool {
	at := node * len(f.dims)
	for d, ask := range need {
		free := f.capacity[at+d] - f.used[at+d]
		if wait {
			free += f.credit[at+d]
		}
		if ask > free && ask > 0 {
			return false
		}
	}
	return true
}

// batchTerms evaluates affinities and past failures for the rows of a batch.
func (m *Matcher) batchTerms(r *Request, rows []int32) []Term {
	var terms []Term
	for _, t := range m.terms {
		value := make([]spec.Milli, len(rows))
		for i, node := range rows {
			v := t.column.of[node]
			if v == none && t.absent || v != none && t.match[v] {
				value[i] = t.weight
			}
		}
		terms = append(terms, Term{t.name, value})
	}
	if len(r.Peers) > 0 {
		terms = append(terms, m.fleet.peerTerms(r.Peers, rows)...)
	}
	if m.wishesDevices {
		terms = append(terms, m.deviceTerm(r, rows))
	}
	if len(r.Faulty) > 0 {
		terms = append(terms, Term{"failed there lately", m.mark(r.Faulty, rows, -faultyCost)})
	}
	return terms
}

func (m *Matcher) mark(nodes, rows []int32, weight spec.Milli) []spec.Milli {
	on := m.fleet.countOwn(nodes)
	value := make([]spec.Milli, len(rows))
	for i, node := range rows {
		if on[node] > 0 {
			value[i] = weight
		}
	}
	m.fleet.clearOwn(nodes)
	return value
}

// Verify checks what a policy answered: it may choose badly, never wrongly.
func (b *Batch) Verify(picks []Pick) error {
	if len(picks) > b.Count {
		return fmt.Errorf("the policy answered with %d placements where %d were asked for", len(picks), b.Count)
	}
	d := len(b.Resources)
	placed := make(map[int]int64, len(picks))
	for _, p := range picks {
		if p.Node < 0 || p.Node >= len(b.Nodes) {
			return fmt.Errorf("the policy answered with node number %d of %d", p.Node, len(b.Nodes))
		}
		placed[p.Node]++
		n := placed[p.Node]
		if n > int64(b.Room[p.Node]) {
			return fmt.Errorf("the policy put %d allocations on %s, whose ports, devices and cores allow %d", n, b.Nodes[p.Node], b.Room[p.Node])
		}
		for k, ask := range b.Need {
			if ask > 0 && n*ask > b.Free[p.Node*d+k] {
				return fmt.Errorf("the policy put more on %s than it has of %s", b.Nodes[p.Node], b.Resources[k])
			}
		}
	}
	return b.verifyGroups(picks)
}

func (b *Batch) verifyGroups(picks []Pick) error {
	for _, g := range b.Groups {
		if g.Cap == nil {
			continue
		}
		more := make([]int32, len(g.Have))
		for _, p := range picks {
			v := g.Of[p.Node]
			more[v]++
			if g.Have[v]+more[v] > g.Cap[v] {
				return fmt.Errorf("the policy put more allocations on %s than the rule %q allows", b.Nodes[p.Node], g.Name)
			}
		}
	}
	return nil
}
