package place

import (
	"math"
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

// Layout is what nodes are and have, whatever runs on them. It can serve the fleets of several plans one after another,
// as long as nothing of its nodes changes but their states.
type Layout struct {
	ids      []spec.NodeID
	index    map[spec.NodeID]int32
	attrs    []map[string]string
	address  []string
	pools    []spec.PoolName
	divided  bool    // some node is in another pool than the default one
	all      []int32 // every node, in order
	dims     []string
	dim      map[string]int
	burst    int                // column of what tasks may burst to; 0: it is without bound
	capacity []int64            // a row of len(dims) per node
	devices  [][]spec.Device    // of each node; nil when no node has any
	cores    [][]spec.CoreGroup // likewise
	dynamic  [][2]int           // first and last of the ports without a number that a node gives
	columns  map[string]*column
	reaches  map[string]*reach
	scratch  scratch

	leastPorts int // that a node gives without a number
}

// NewLayout reads the nodes, which must be sorted by ID. Extra names resources that apps ask for though no node may have
// them. Where overcommitment has a bound, what tasks may burst to is one more resource.
func NewLayout(nodes []spec.NodeView, extra []string, bound spec.Overcommit) *Layout {
	f := &Layout{index: make(map[spec.NodeID]int32, len(nodes)), columns: map[string]*column{}, reaches: map[string]*reach{}, leastPorts: math.MaxInt}
	f.nameResources(nodes, extra, bound.Memory > 0)
	n, d := len(nodes), len(f.dims)
	f.ids, f.all, f.pools = make([]spec.NodeID, n), make([]int32, n), make([]spec.PoolName, n)
	f.attrs, f.address = make([]map[string]string, n), make([]string, n)
	f.capacity, f.dynamic = make([]int64, n*d), make([][2]int, n)
	f.scratch.own, f.scratch.all = make([]int32, n), make([]int32, n)
	for i := range nodes {
		v := &nodes[i]
		f.dynamic[i][0], f.dynamic[i][1] = v.DynamicPorts()
		f.leastPorts = min(f.leastPorts, f.dynamic[i][1]-f.dynamic[i][0]+1)
		f.ids[i], f.attrs[i], f.address[i], f.pools[i] = v.ID, v.Attributes, v.Address, v.Pool.Or()
		f.divided = f.divided || f.pools[i] != spec.DefaultPool
		f.index[v.ID], f.all[i] = int32(i), int32(i)
		f.fill(f.capacity[i*d:(i+1)*d], v.Capacity)
		if f.burst > 0 {
			f.capacity[i*d+f.burst] = int64(bound.Of(v.Capacity.Memory))
		}
		f.nameUnits(i, &v.Node)
	}
	return f
}

// Fleet returns the nodes with nothing on them, in the states that the views say. They must be those of the layout.
func (f *Layout) Fleet(nodes []spec.NodeView) *Fleet {
	n, d := len(nodes), len(f.dims)
	fleet := &Fleet{
		Layout: f, states: make([]spec.NodeState, n), lastSeen: make([]spec.Time, n), used: make([]int64, n*d), credit: make([]int64, n*d),
		load: make([]int32, n), held: make([][]held, n), leaving: make([][]*leaver, n),
	}
	for i := range nodes {
		fleet.states[i], fleet.lastSeen[i] = nodes[i].State, nodes[i].LastSeen
	}
	return fleet
}

func (f *Layout) nameResources(nodes []spec.NodeView, extra []string, bound bool) {
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
func (f *Layout) Vector(r spec.Resources) []int64 {
	v := make([]int64, len(f.dims))
	f.fill(v, r)
	return v
}

func (f *Layout) fill(v []int64, r spec.Resources) {
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
func (f *Layout) Resources(v []int64) spec.Resources {
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
func (f *Layout) Dimension(name string) int { return f.dim[name] }

// Dimensions returns the names of the columns. The slice must not be changed.
func (f *Layout) Dimensions() []string { return f.dims }

// Len returns the number of nodes.
func (f *Layout) Len() int { return len(f.ids) }

// ID returns the name of a node.
func (f *Layout) ID(node int) spec.NodeID { return f.ids[node] }

// Node returns the index of a node, or -1 when there is none of that name.
func (f *Layout) Node(id spec.NodeID) int {
	if i, ok := f.index[id]; ok {
		return int(i)
	}
	return -1
}

// NodeNear is Node for a caller that goes through allocations in order: often the next is on the same node, or the one
// after it.
func (f *Layout) NodeNear(last int, id spec.NodeID) int {
	for n := max(0, last); n <= last+1 && n < len(f.ids); n++ {
		if f.ids[n] == id {
			return n
		}
	}
	return f.Node(id)
}

// Pool returns the pool of the node.
func (f *Layout) Pool(node int) spec.PoolName { return f.pools[node] }

// Holds reports whether the node is in the app's pool.
func (f *Layout) Holds(node int, app spec.PoolName) bool { return app.Holds(f.pools[node]) }

func (f *Layout) row(all []int64, node int) []int64 {
	d := len(f.dims)
	return all[node*d : (node+1)*d : (node+1)*d]
}

// Capacity returns what the node has. The slice must not be changed.
func (f *Layout) Capacity(node int) []int64 { return f.row(f.capacity, node) }
