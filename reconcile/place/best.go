package place

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// What follows cuts a batch down, while it is made, to the nodes that a scoring function can choose: where nothing but a node's own
// score counts, a placement changes no other node, so that n of them go to the n nodes that were best at first, or to fewer.
// Every feasible node is looked at and scored all the same; what is spared is to keep and to sort those that cannot win.

// best keeps the nodes with the highest scores of those it has seen, the worst of them on top. Of equal ones those stay that are
// first by name.
type best struct {
	most  int
	nodes []int32
	keys  []spec.Milli
}

// bestFewer is of how many candidates one may be kept for cutting to be worth it.
const bestFewer = 4

// few reports whether so many candidates are cut down by enough, when as many of each of the cells are kept as can be chosen.
func (r *Request) few(cells, candidates int) bool { return (r.Count+2)*bestFewer*cells <= candidates }

// selects reports whether a look at so many candidates can cut them down.
func (r *Request) selects(candidates int) bool {
	m := r.Match
	return r.Best != nil && r.few(1, candidates) && !m.named && !m.wishesDevices &&
		len(m.limits)+len(m.wishes)+len(m.terms)+len(m.same)+len(r.Peers)+len(r.Faulty) == 0
}

// choose returns those of the candidates that the placements of the request can go to, in order, and the one next to them;
// and how many more would take one.
func (f *Fleet) choose(r *Request, candidates, own []int32) (nodes []int32, more int) {
	m := r.Match
	k := &f.scratch.best
	k.clear(r.Count + 2)
	n := Node{Free: make([]int64, len(f.dims))}
	feasible := 0
	for _, node := range candidates {
		i := int(node)
		if f.states[i] != spec.NodeReady || !f.fits(i, m.Need, r.Wait) {
			continue
		}
		feasible++
		f.see(&n, i, r.Wait)
		n.Own = int(own[i])
		k.see(node, r.Best.Score(m.Need, &n))
	}
	slices.Sort(k.nodes) // which ends its being a heap
	return k.nodes, feasible - len(k.nodes)
}

// see shows a node as scoring functions see it, but for what of the app is there.
func (f *Fleet) see(n *Node, node int, leaving bool) {
	at := node * len(f.dims)
	n.ID, n.Load, n.Capacity = f.ids[node], int(f.load[node]), f.row(f.capacity, node)
	for c := range n.Free {
		n.Free[c] = n.Capacity[c] - f.used[at+c]
		if leaving {
			n.Free[c] += f.credit[at+c]
		}
	}
}

// clear begins anew, for the best so many.
func (k *best) clear(most int) { k.most, k.nodes, k.keys = most, k.nodes[:0], k.keys[:0] }

// wants reports whether a node that is not before first and does not score above key could be kept.
func (k *best) wants(first int32, key spec.Milli) bool {
	return len(k.nodes) < k.most || key > k.keys[0] || key == k.keys[0] && first < k.nodes[0]
}

func (k *best) see(node int32, key spec.Milli) {
	if len(k.nodes) < k.most {
		k.nodes, k.keys = append(k.nodes, node), append(k.keys, key)
		for i := len(k.nodes) - 1; i > 0 && k.worse(i, (i-1)/2); i = (i - 1) / 2 {
			k.swap(i, (i-1)/2)
		}
		return
	}
	if !k.wants(node, key) {
		return
	}
	k.nodes[0], k.keys[0] = node, key
	k.down(len(k.nodes))
}

// down puts the top of the first n in its place.
func (k *best) down(n int) {
	for i := 0; ; {
		worst := i
		for c := 2*i + 1; c <= 2*i+2 && c < n; c++ {
			if k.worse(c, worst) {
				worst = c
			}
		}
		if worst == i {
			return
		}
		k.swap(i, worst)
		i = worst
	}
}

func (k *best) worse(i, j int) bool {
	if k.keys[i] != k.keys[j] {
		return k.keys[i] < k.keys[j]
	}
	return k.nodes[i] > k.nodes[j]
}

func (k *best) swap(i, j int) {
	k.nodes[i], k.nodes[j] = k.nodes[j], k.nodes[i]
	k.keys[i], k.keys[j] = k.keys[j], k.keys[i]
}
