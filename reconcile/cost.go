package reconcile

import (
	"cmp"
	"slices"

	"github.com/stowage/stowage/spec"
)

// costsKept is how many apps a plan says the cost of.
const costsKept = 100

// priceOf is what a node costs in an hour: by its own attribute, or by its class; 0 when nobody says.
func priceOf(c *spec.Cluster, n *spec.NodeView) spec.Price {
	if text, ok := n.Attributes[spec.AttributePrice]; ok {
		if p, err := spec.ParsePrice(text); err == nil {
			return p
		}
	}
	if name := n.Attributes[spec.AttributeClass]; name != "" {
		i, ok := slices.BinarySearchFunc(c.NodeClasses, name, func(c spec.NodeClass, name string) int { return cmp.Compare(c.Name, name) })
		if ok {
			return c.NodeClasses[i].Price
		}
	}
	return 0
}

// paid is what part of which node an allocation has.
type paid struct {
	x     *app
	node  int
	share int64 // millionths, of the resource that it has most of
}

// cost says what the nodes cost, and how much of that each app has; nil when no node has a price.
func (w *world) cost(after func() []resident) *spec.Cost {
	prices, any := make([]spec.Price, len(w.nodes)), false
	for i := range w.nodes {
		prices[i] = priceOf(w.in.Desired, &w.nodes[i])
		any = any || prices[i] > 0
	}
	if !any {
		return nil
	}
	was, is := w.paidFor()
	k := &spec.Cost{Currency: w.in.Desired.Currency}
	for i, p := range prices {
		if was[i] {
			k.Before += p
		}
		if is[i] {
			k.After += p
			if p == 0 {
				k.Unpriced++
			}
		}
	}
	had, has := map[*app]spec.Price{}, map[*app]spec.Price{}
	w.divide(had, prices, w.sharesNow(was))
	k.Idle = k.After - w.divide(has, prices, w.shares(after(), is))
	for _, x := range w.apps {
		if had[x]+has[x] > 0 {
			k.Apps = append(k.Apps, spec.AppCost{App: x.name, Before: had[x], After: has[x]})
		}
	}
	slices.SortStableFunc(k.Apps, func(a, b spec.AppCost) int {
		return cmp.Compare(max(b.Before, b.After), max(a.Before, a.After))
	})
	k.Apps = k.Apps[:min(len(k.Apps), costsKept)]
	return k
}

// paidFor tells which nodes cost something before the plan and after it: all that are not down. What is supposed is not so
// before.
func (w *world) paidFor() (was, is []bool) {
	was, is = make([]bool, len(w.nodes)), make([]bool, len(w.nodes))
	for i := range w.nodes {
		is[i] = w.nodes[i].State != spec.NodeDown
		was[i] = is[i]
	}
	if w.in.Suppose != nil {
		for _, l := range w.in.Suppose.Without {
			for _, id := range l.Nodes {
				if n := w.fleet.Node(id); n >= 0 && !is[n] {
					was[n] = w.nodes[n].Since == w.in.Now // Suppose took it down; others were down before
				}
			}
		}
		for _, m := range w.in.Suppose.With {
			for _, id := range m.Nodes {
				if n := w.fleet.Node(id); n >= 0 {
					was[n] = false
				}
			}
		}
	}
	return was, is
}

// sharesNow lists what runs on nodes that are paid for before the plan.
func (w *world) sharesNow(was []bool) []paid {
	var all []resident
	for _, x := range w.apps {
		for i := range x.views {
			a := &x.views[i]
			if a.State.Terminal() || a.Want == spec.WantStop {
				continue
			}
			if n, v := w.fleet.Node(a.Node), w.known(a.Version); n >= 0 && v != nil {
				all = append(all, resident{x: x, v: v, node: n})
			}
		}
	}
	return w.shares(all, was)
}

func (w *world) shares(all []resident, counts []bool) []paid {
	out := make([]paid, 0, len(all))
	names := w.fleet.Dimensions()
	for _, r := range all {
		if !counts[r.node] {
			continue
		}
		share, capacity := int64(0), w.fleet.Capacity(r.node)
		for d, need := range r.v.need {
			if capacity[d] > 0 && names[d] != "memory_max" {
				share = max(share, int64(float64(need)/float64(capacity[d])*1e6))
			}
		}
		out = append(out, paid{r.x, r.node, min(share, 1_000_000)})
	}
	return out
}

// divide gives each app its part of the price of each node, and returns the sum. Where the parts are more than the node,
// each is less in proportion: nobody pays for more than there is.
func (w *world) divide(to map[*app]spec.Price, prices []spec.Price, all []paid) (sum spec.Price) {
	total := make([]int64, len(prices))
	for _, p := range all {
		total[p.node] += p.share
	}
	for _, p := range all {
		part := spec.Price(float64(prices[p.node]) * float64(p.share) / float64(max(total[p.node], 1_000_000)))
		to[p.x] += part
		sum += part
	}
	return sum
}
