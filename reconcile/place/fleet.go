package place

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// Fleet is the nodes and what is taken of each. It belongs to one plan and is changed as the plan grows.
type Fleet struct {
	*Layout
	states   []spec.NodeState
	lastSeen []spec.Time
	used     []int64 // a row of all resources per node: all that has not ended, less what Takeovers share
	credit   []int64 // likewise: room of leaving allocations that nobody has claimed
	load     []int32
	held     [][]held // ports, devices and cores that somebody has; see held
	leaving  [][]*leaver

	mostHeld int                 // that has ever been held of one node
	withheld []*int64            // what is out of sight, told apart by its first row: see Withhold
	values   map[presence][]bool // see Matcher.present
	indexes  map[indexKey]*index
	changed  []int32 // nodes, since the first index was made or all was read anew
	epoch    int     // how often all was
}

// scratch is the memory of the last batch, used again by the next, of whatever fleet.
type scratch struct {
	batch Batch
	rows  []int32
	own   []int32 // of each node: see Fleet.countOwn
	all   []int32 // likewise: see Fleet.groupsOf
	sheet sheet
	best  best
}

// leaver is an allocation that has been told to stop: others may wait for its room.
type leaver struct {
	id     spec.AllocationID
	after  []spec.AllocationID // leavers that it was to start after: it may end before they do
	credit []int64
	held   []held
}

// NewFleet makes a fleet of the nodes, which must be sorted by ID. Extra names resources that apps ask for though no
// node may have them.
func NewFleet(nodes []spec.NodeView, extra []string) *Fleet {
	return NewBoundFleet(nodes, extra, spec.Overcommit{})
}

// NewBoundFleet is NewFleet where overcommitment has a bound: what tasks may burst to is then one more resource.
func NewBoundFleet(nodes []spec.NodeView, extra []string, bound spec.Overcommit) *Fleet {
	return NewLayout(nodes, extra, bound).Fleet(nodes)
}

// Short returns what the node lacks for one more allocation, counting the room of leaving ones as free; entries that
// are not above zero are free instead.
func (f *Fleet) Short(node int, need []int64) []int64 {
	short := make([]int64, len(need))
	capacity, used, credit := f.row(f.capacity, node), f.row(f.used, node), f.row(f.credit, node)
	for d := range need {
		if need[d] > 0 {
			short[d] = need[d] - (capacity[d] - used[d] + credit[d])
		}
	}
	return short
}

// Open reports whether the node takes allocations.
func (f *Fleet) Open(node int) bool { return f.states[node] == spec.NodeReady }

// Drain has a node that took allocations take none any more: the wish counts from the moment it is known.
func (f *Fleet) Drain(node int) {
	if f.Open(node) {
		f.setState(node, spec.NodeDraining)
	}
}

func (f *Fleet) setState(node int, s spec.NodeState) {
	f.states[node], f.values = s, nil
	f.touch(node)
}

// State returns what is thought of the node.
func (f *Fleet) State(node int) spec.NodeState { return f.states[node] }

// LastSeen returns when the node was last heard of.
func (f *Fleet) LastSeen(node int) spec.Time { return f.lastSeen[node] }

// Load returns how many allocations the node has.
func (f *Fleet) Load(node int) int { return int(f.load[node]) }

// Used returns what is taken of the node. The slice must not be changed.
func (f *Fleet) Used(node int) []int64 { return f.row(f.used, node) }

// Take puts an allocation on the node, with what was given to it; nil is nothing.
func (f *Fleet) Take(node int, need []int64, given *spec.Grant) {
	add(f.row(f.used, node), need, 1)
	f.load[node]++
	f.touch(node)
	f.hold(node, given)
}

// Release takes an allocation off the node.
func (f *Fleet) Release(node int, need []int64, given *spec.Grant) {
	add(f.row(f.used, node), need, -1)
	f.load[node]--
	f.touch(node)
	f.free(node, given)
}

// Withhold takes so much of every node out of sight, a row of all resources for each, until what it returns is called. The rows are
// remembered: they may change between two calls, but only where Touch says so.
func (f *Fleet) Withhold(rows []int64) (show func()) {
	if len(rows) == 0 {
		return func() {}
	}
	add(f.used, rows, 1)
	f.withheld = append(f.withheld, &rows[0])
	return func() {
		add(f.used, rows, -1)
		f.withheld = f.withheld[:len(f.withheld)-1]
	}
}

// Touch tells that another amount will be withheld of the node.
func (f *Fleet) Touch(node int) { f.touch(node) }

// Leave marks an allocation that is on the node as on its way out: others may wait for its room. One that waits itself
// for others shares theirs: who takes its room waits for them too.
func (f *Fleet) Leave(node int, id spec.AllocationID, need []int64, given *spec.Grant, after []spec.AllocationID) {
	l := &leaver{id: id, credit: slices.Clone(need), held: f.keys(node, given)}
	if len(after) > 0 {
		for _, o := range f.leaving[node] {
			if slices.Contains(after, o.id) {
				l.after = append(l.after, o.id)
			}
		}
	}
	f.leaving[node] = append(f.leaving[node], l)
	add(f.row(f.credit, node), need, 1)
	f.touch(node)
}

// Unleave takes the mark away again, as long as nobody has claimed the room.
func (f *Fleet) Unleave(node int, id spec.AllocationID) {
	for i, l := range f.leaving[node] {
		if l.id == id {
			add(f.row(f.credit, node), l.credit, -1)
			f.touch(node)
			f.leaving[node] = slices.Delete(f.leaving[node], i, i+1)
			return
		}
	}
}

// TakeAfter puts an allocation on the node that starts only when all of after have ended: what those leave is not
// taken twice. Those that are not leaving any more are ignored, and so are those whose room others still have.
func (f *Fleet) TakeAfter(node int, need []int64, given *spec.Grant, after []spec.AllocationID) {
	f.Take(node, need, given)
	rest := slices.Clone(need)
	for _, l := range f.leaving[node] {
		if slices.Contains(after, l.id) && !slices.ContainsFunc(l.after, func(id spec.AllocationID) bool { return !slices.Contains(after, id) }) {
			f.claim(node, l, rest)
		}
	}
}

// claim gives what the leaver still has to offer to somebody who needs rest of it.
func (f *Fleet) claim(node int, l *leaver, rest []int64) {
	f.touch(node)
	used, credit := f.row(f.used, node), f.row(f.credit, node)
	for d := range rest {
		share := min(rest[d], l.credit[d])
		if share <= 0 {
			continue
		}
		rest[d] -= share
		l.credit[d] -= share
		credit[d] -= share
		used[d] -= share
	}
}

// Claim places an allocation on a node where it fits only with what leaving allocations have, and returns those it has
// to wait for, the preferred one first.
func (f *Fleet) Claim(node int, need []int64, given *spec.Grant, prefer spec.AllocationID) []spec.AllocationID {
	short := make([]int64, len(need))
	capacity, used := f.row(f.capacity, node), f.row(f.used, node)
	for d := range need {
		if need[d] > 0 {
			short[d] = need[d] - (capacity[d] - used[d])
		}
	}
	var after []spec.AllocationID
	rest, wanted := slices.Clone(need), f.keys(node, given)
	for _, l := range f.inOrder(node, prefer) {
		helps := l.id == prefer || shares(l.held, wanted)
		for d := range short {
			if short[d] > 0 && l.credit[d] > 0 {
				helps = true
			}
		}
		if !helps {
			continue
		}
		for d := range short {
			short[d] -= l.credit[d]
		}
		for _, id := range append([]spec.AllocationID{l.id}, l.after...) {
			if !slices.Contains(after, id) {
				after = append(after, id)
			}
		}
		f.claim(node, l, rest)
	}
	f.Take(node, need, given)
	return after
}

func (f *Fleet) inOrder(node int, prefer spec.AllocationID) []*leaver {
	list := slices.Clone(f.leaving[node])
	slices.SortFunc(list, func(a, b *leaver) int {
		if (a.id == prefer) != (b.id == prefer) {
			if a.id == prefer {
				return -1
			}
			return 1
		}
		return compare(a.id, b.id)
	})
	return list
}

func compare(a, b spec.AllocationID) int {
	if a < b {
		return -1
	}
	if a > b {
		return 1
	}
	return 0
}

func add(to, what []int64, sign int64) {
	for d, v := range what {
		to[d] += sign * v
	}
}
