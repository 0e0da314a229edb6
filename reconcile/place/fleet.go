package place

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// The first columns of every vector; named resources follow in order of their names.
const (
	cpu = iota
	memory
	disk
	fixedDims
)

// Fleet is the nodes and what is taken of each. It belongs to one plan and is changed as the plan grows.
type Fleet struct {
	ids      []spec.NodeID
	index    map[spec.NodeID]int32
	states   []spec.NodeState
	lastSeen []spec.Time
	attrs    []map[string]string
	address  []string
	pools    []spec.PoolName
	divided  bool // some node is in another pool than the default one
	dims     []string
	dim      map[string]int
	burst    int     // column of what tasks may burst to; 0: it is without bound
	capacity []int64 // a row of len(dims) per node
	used     []int64 // likewise: all that has not ended, less what Takeovers share
	credit   []int64 // likewise: room of leaving allocations that nobody has claimed
	load     []int32
	held     [][]held           // ports, devices and cores that somebody has; see held
	devices  [][]spec.Device    // of each node; nil when no node has any
	cores    [][]spec.CoreGroup // likewise
	dynamic  [][2]int           // first and last of the ports without a number that a node gives
	leaving  [][]*leaver
	columns  map[string]*column
	scratch  scratch
}

// scratch is the memory of the last batch, used again by the next.
type scratch struct {
	batch Batch
	rows  []int32
	own   []int32
	sheet sheet
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
	f := &Fleet{index: make(map[spec.NodeID]int32, len(nodes)), columns: map[string]*column{}}
	f.nameResources(nodes, extra, bound.Memory > 0)
	n, d := len(nodes), len(f.dims)
	f.ids, f.states = make([]spec.NodeID, n), make([]spec.NodeState, n)
	f.lastSeen, f.pools = make([]spec.Time, n), make([]spec.PoolName, n)
	f.attrs, f.address = make([]map[string]string, n), make([]string, n)
	f.capacity, f.used, f.credit = make([]int64, n*d), make([]int64, n*d), make([]int64, n*d)
	f.load, f.held, f.leaving = make([]int32, n), make([][]held, n), make([][]*leaver, n)
	f.scratch.own, f.dynamic = make([]int32, n), make([][2]int, n)
	for i := range nodes {
		v := &nodes[i]
		f.dynamic[i][0], f.dynamic[i][1] = v.DynamicPorts()
		f.ids[i], f.states[i], f.attrs[i], f.address[i] = v.ID, v.State, v.Attributes, v.Address
		f.lastSeen[i], f.pools[i] = v.LastSeen, v.Pool.Or()
		f.divided = f.divided || f.pools[i] != spec.DefaultPool
		f.index[v.ID] = int32(i)
		f.fill(f.capacity[i*d:(i+1)*d], v.Capacity)
		if f.burst > 0 {
			f.capacity[i*d+f.burst] = int64(bound.Of(v.Capacity.Memory))
		}
		f.nameUnits(i, &v.Node)
	}
	return f
}

func (f *Fleet) nameResources(nodes []spec.NodeView, extra []string, bound bool) {
	var names []string
	for i := range nodes {
		if len(nodes[i].Capacity.Named) > 0 {
			names = append(names, nodes[i].Capacity.Names()...)
		}
	}
	names = append(names, extra...)
	slices.Sort(names)
	names = slices.Compact(names)
	fixed := []string{"cpu", "memory", "disk"}
	if bound {
		f.burst, fixed = len(fixed), append(fixed, "memory_max")
	}
	f.dims = append(fixed, names...)
	f.dim = make(map[string]int, len(f.dims))
	for i, name := range f.dims {
		f.dim[name] = i
	}
}

// Vector returns the amounts in the order of the fleet's resources.
func (f *Fleet) Vector(r spec.Resources) []int64 {
	v := make([]int64, len(f.dims))
	f.fill(v, r)
	return v
}

func (f *Fleet) fill(v []int64, r spec.Resources) {
	v[cpu], v[memory], v[disk] = int64(r.CPU), int64(r.Memory), int64(r.Disk)
	if f.burst > 0 {
		v[f.burst] = int64(r.MemoryMax)
	}
	if len(r.Named) > 0 {
		for _, name := range r.Names() {
			if d, ok := f.dim[name]; ok {
				v[d] = int64(r.Named[name])
			}
		}
	}
}

// Resources turns a vector back into amounts with names.
func (f *Fleet) Resources(v []int64) spec.Resources {
	r := spec.Resources{CPU: spec.MilliCPU(v[cpu]), Memory: spec.Bytes(v[memory]), Disk: spec.Bytes(v[disk])}
	for d := fixedDims; d < len(v); d++ {
		if v[d] == 0 {
			continue
		}
		if d == f.burst {
			r.MemoryMax = spec.Bytes(v[d])
			continue
		}
		if r.Named == nil {
			r.Named = make(map[string]spec.Milli, len(v)-fixedDims)
		}
		r.Named[f.dims[d]] = spec.Milli(v[d])
	}
	return r
}

// Dimension returns the column of a resource, which must be known.
func (f *Fleet) Dimension(name string) int { return f.dim[name] }

// Dimensions returns the names of the columns. The slice must not be changed.
func (f *Fleet) Dimensions() []string { return f.dims }

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

// Len returns the number of nodes.
func (f *Fleet) Len() int { return len(f.ids) }

// ID returns the name of a node.
func (f *Fleet) ID(node int) spec.NodeID { return f.ids[node] }

// Node returns the index of a node, or -1 when there is none of that name.
func (f *Fleet) Node(id spec.NodeID) int {
	if i, ok := f.index[id]; ok {
		return int(i)
	}
	return -1
}

// NodeNear is Node for a caller that goes through allocations in order: often the next is on the same node, or the one
// after it.
func (f *Fleet) NodeNear(last int, id spec.NodeID) int {
	for n := max(0, last); n <= last+1 && n < len(f.ids); n++ {
		if f.ids[n] == id {
			return n
		}
	}
	return f.Node(id)
}

// Open reports whether the node takes allocations.
func (f *Fleet) Open(node int) bool { return f.states[node] == spec.NodeReady }

// State returns what is thought of the node.
func (f *Fleet) State(node int) spec.NodeState { return f.states[node] }

// Pool returns the pool of the node.
func (f *Fleet) Pool(node int) spec.PoolName { return f.pools[node] }

// Holds reports whether the node is in the app's pool.
func (f *Fleet) Holds(node int, app spec.PoolName) bool { return app.Holds(f.pools[node]) }

// LastSeen returns when the node was last heard of.
func (f *Fleet) LastSeen(node int) spec.Time { return f.lastSeen[node] }

// Load returns how many allocations the node has.
func (f *Fleet) Load(node int) int { return int(f.load[node]) }

func (f *Fleet) row(all []int64, node int) []int64 {
	d := len(f.dims)
	return all[node*d : (node+1)*d : (node+1)*d]
}

// Capacity returns what the node has. The slice must not be changed.
func (f *Fleet) Capacity(node int) []int64 { return f.row(f.capacity, node) }

// Used returns what is taken of the node. The slice must not be changed.
func (f *Fleet) Used(node int) []int64 { return f.row(f.used, node) }

// Take puts an allocation on the node, with what was given to it; nil is nothing.
func (f *Fleet) Take(node int, need []int64, given *spec.Grant) {
	add(f.row(f.used, node), need, 1)
	f.load[node]++
	f.hold(node, given)
}

// Release takes an allocation off the node.
func (f *Fleet) Release(node int, need []int64, given *spec.Grant) {
	add(f.row(f.used, node), need, -1)
	f.load[node]--
	f.free(node, given)
}

// Withhold takes so much of every node out of sight, a row of all resources for each; with a sign of -1 it gives it back.
func (f *Fleet) Withhold(rows []int64, sign int64) { add(f.used, rows, sign) }

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
}

// Unleave takes the mark away again, as long as nobody has claimed the room.
func (f *Fleet) Unleave(node int, id spec.AllocationID) {
	for i, l := range f.leaving[node] {
		if l.id == id {
			add(f.row(f.credit, node), l.credit, -1)
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
