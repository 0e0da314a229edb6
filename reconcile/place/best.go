package place

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// What follows cuts a batch down, while it is made, to the nodes that a scoring function can choose: where nothing but a node's own
// score counts, a placement changes no other node, so that n of them go to the n nodes that were best at first, or to fewer.
// Every feasible node is looked at and scored all the same; what is spared is to keep and to sort those that cannot win.

// best keeps the nodes with the highest scores of those it has seen, the worst of them on top. Of equal ones the first
// seen stay.
type best struct {
	most  int
	nodes []int32
	keys  []spec.Milli
}

// bestFewer is of how many candidates one may be kept for cutting to be worth it.
const bestFewer = 4

// selects reports whether the request can be cut down, for so many candidates.
func (r *Request) selects(candidates int) bool {
	m := r.Match
	return r.Best != nil && (r.Count+2)*bestFewer <= candidates && !r.Single && !m.named && !m.wishesDevices &&
		len(m.limits)+len(m.wishes)+len(m.terms)+len(m.same)+len(r.Peers)+len(r.Faulty) == 0
}

// choose returns those of the candidates that the placements of the request can go to, in order, and the one next to them;
// and how many more would take one.
func (f *Fleet) choose(r *Request, candidates, own []int32) (nodes []int32, more int) {
	m, d := r.Match, len(f.dims)
	k := &f.scratch.best
	k.most, k.nodes, k.keys = r.Count+2, k.nodes[:0], k.keys[:0]
	n := Node{Free: make([]int64, d)}
	feasible := 0
	for _, node := range candidates {
		i := int(node)
		if f.states[i] != spec.NodeReady || !f.fits(i, m.Need, r.Wait) {
			continue
		}
		feasible++
		at := i * d
		n.Capacity = f.capacity[at : at+d : at+d]
		for c := range n.Free {
			n.Free[c] = n.Capacity[c] - f.used[at+c]
			if r.Wait {
				n.Free[c] += f.credit[at+c]
			}
		}
		n.ID, n.Own, n.Load = f.ids[i], int(own[i]), int(f.load[i])
		k.see(node, r.Best.Score(m.Need, &n))
	}
	slices.Sort(k.nodes) // which ends its being a heap
	return k.nodes, feasible - len(k.nodes)
}

func (k *best) see(node int32, key spec.Milli) {
	if len(k.nodes) < k.most {
		k.nodes, k.keys = append(k.nodes, node), append(k.keys, key)
		for i := len(k.nodes) - 1; i > 0 && k.worse(i, (i-1)/2); i = (i - 1) / 2 {
			k.swap(i, (i-1)/2)
		}
		return
	}
	if key <= k.keys[0] {
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
