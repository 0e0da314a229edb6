package place

import (
	"cmp"
	"slices"

	"github.com/stowage/stowage/spec"
)

// ask is what a task asks for of one kind of device.
type ask struct {
	task   spec.TaskName
	kind   string
	count  int
	rules  []deviceRule
	wishes []deviceRule
}

// deviceRule is a constraint or an affinity over devices.
type deviceRule struct {
	text      string
	attribute string
	match     func(string) bool
	absent    bool // the answer for a device without the attribute
	weight    int  // of an affinity
}

func (r *deviceRule) accepts(d *spec.Device) bool {
	v, ok := d.Attribute(r.attribute)
	if !ok {
		return r.absent
	}
	return r.match(v)
}

func newDeviceRule(text string, r rule, weight int) deviceRule {
	_, absent := r.accept(&column{})
	return deviceRule{text, r.attribute, r.matcher(), absent, weight}
}

// readAsks finds what the tasks ask for by name.
func (m *Matcher) readAsks() {
	for i := range m.App.Tasks {
		t := &m.App.Tasks[i]
		m.cores += t.Cores
		for k := range t.Devices {
			d := &t.Devices[k]
			a := ask{task: t.Name, kind: d.Kind, count: d.Count}
			for _, c := range d.Constraints {
				a.rules = append(a.rules, newDeviceRule(c.String(), constraintRule(c), 0))
			}
			for _, w := range d.Affinities {
				a.wishes = append(a.wishes, newDeviceRule(w.String(), rule{w.Attribute, w.Operator, w.Value, w.Values}, w.Weight))
				m.wishesDevices = true
			}
			m.asks = append(m.asks, a)
		}
	}
	m.named = len(m.App.Network.Ports)+len(m.asks)+m.cores > 0
}

// fits reports whether the device is of the kind and meets every constraint.
func (a *ask) fits(d *spec.Device) bool {
	return d.Kind == a.kind && !slices.ContainsFunc(a.rules, func(r deviceRule) bool { return !r.accepts(d) })
}

// liking is the weight of the affinities that the device meets.
func (a *ask) liking(d *spec.Device) int {
	sum := 0
	for i := range a.wishes {
		if a.wishes[i].accepts(d) {
			sum += a.wishes[i].weight
		}
	}
	return sum
}

func (f *Layout) devicesOf(node int) []spec.Device {
	if f.devices == nil {
		return nil
	}
	return f.devices[node]
}

// bidders assigns devices to what the tasks of one allocation ask for: a matching of the two, found by augmenting paths
// (Kuhn 1955), so that an ask that accepts any device never takes the only one that another accepts, if that can be
// helped.
type bidders struct {
	choices [][]int // of each device wanted: places in the node's list, the dearest first
	ask     []int   // of each device wanted: which ask it belongs to
	owner   []int   // of each device of the node: who has it, or -1
	seen    []bool
}

// bid finds devices for one allocation; rank says what can be had and how gladly. It returns nil when there are too few.
func (f *Fleet) bid(node int, m *Matcher, rank func(place int) int) *bidders {
	have := f.devicesOf(node)
	b := &bidders{owner: make([]int, len(have)), seen: make([]bool, len(have))}
	for i := range b.owner {
		b.owner[i] = -1
	}
	for k := range m.asks {
		a := &m.asks[k]
		var can []int
		for i := range have {
			if a.fits(&have[i]) && rank(i) >= 0 {
				can = append(can, i)
			}
		}
		slices.SortStableFunc(can, func(x, y int) int {
			return cmp.Or(cmp.Compare(rank(x), rank(y)), cmp.Compare(a.liking(&have[y]), a.liking(&have[x])))
		})
		for range a.count {
			b.choices, b.ask = append(b.choices, can), append(b.ask, k)
			clear(b.seen)
			if !b.assign(len(b.choices) - 1) {
				return nil
			}
		}
	}
	return b
}

// assign gives somebody a device, moving others to theirs of less liking where that is the only way.
func (b *bidders) assign(who int) bool {
	for _, d := range b.choices[who] {
		if b.owner[d] < 0 && !b.seen[d] {
			b.owner[d] = who
			return true
		}
	}
	for _, d := range b.choices[who] {
		if b.seen[d] {
			continue
		}
		b.seen[d] = true
		if b.assign(b.owner[d]) {
			b.owner[d] = who
			return true
		}
	}
	return false
}

// deviceRoom returns how many allocations of the request the node's devices allow, at most limit.
func (f *Fleet) deviceRoom(node int, r *Request, limit int32) int32 {
	if len(f.devicesOf(node)) == 0 {
		return 0
	}
	ranks := f.deviceRanks(node, r)
	for n := range limit {
		b := f.bid(node, r.Match, func(i int) int { return ranks[i] })
		if b == nil {
			return n
		}
		for i, who := range b.owner {
			if who >= 0 {
				ranks[i] = -1
			}
		}
	}
	return limit
}

func (f *Fleet) deviceRanks(node int, r *Request) []int {
	ranks := make([]int, len(f.devicesOf(node)))
	for i := range ranks {
		ranks[i] = f.rank(node, firstDevice+held(i), r)
	}
	return ranks
}

// giveDevices chooses the devices of one allocation.
func (f *Fleet) giveDevices(node int, r *Request) []spec.DeviceGrant {
	ranks := f.deviceRanks(node, r)
	b := f.bid(node, r.Match, func(i int) int { return ranks[i] })
	if b == nil {
		return nil
	}
	grants := make([]spec.DeviceGrant, 0, len(b.choices))
	have := f.devicesOf(node)
	for k := range r.Match.asks {
		for i, who := range b.owner {
			if who >= 0 && b.ask[who] == k {
				grants = append(grants, spec.DeviceGrant{Task: r.Match.asks[k].task, Kind: have[i].Kind, ID: have[i].ID})
			}
		}
	}
	return grants
}

// hasDevices reports whether the node would have the devices if nobody else had any.
func (f *Fleet) hasDevices(node int, m *Matcher) bool {
	return f.bid(node, m, func(int) int { return 0 }) != nil
}

// termDevices names what the devices that a node could give add to its score.
const termDevices = "devices"

// deviceTerm says how well the devices that each node could give now meet the affinities, on average over those asked for.
func (m *Matcher) deviceTerm(r *Request, rows []int32) Term {
	t := Term{termDevices, make([]spec.Milli, len(rows))}
	for i, node := range rows {
		ranks := m.fleet.deviceRanks(int(node), r)
		b := m.fleet.bid(int(node), m, func(i int) int { return ranks[i] })
		if b == nil || len(b.choices) == 0 {
			continue
		}
		sum, have := 0, m.fleet.devicesOf(int(node))
		for d, who := range b.owner {
			if who >= 0 {
				sum += m.asks[b.ask[who]].liking(&have[d])
			}
		}
		t.Value[i] = spec.Milli(sum * AffinityUnit / len(b.choices))
	}
	return t
}
