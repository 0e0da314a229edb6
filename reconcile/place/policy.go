package place

import "github.com/stowage/stowage/spec"

// Policy decides where allocations go. The planner has filtered before and checks again after: a policy can choose
// badly, never wrongly. It is asked for whole batches, never for a task and a node at a time.
type Policy interface {
	// Place answers with one Pick for each allocation it finds a node for, at most Batch.Count. An error holds the app
	// with the error as the reason.
	Place(b *Batch) ([]Pick, error)
}

// Pick is one placement of a batch.
type Pick struct {
	Node  int // index into Batch.Nodes
	Score spec.Score
}

// Batch asks for so many allocations of one shape on the feasible nodes. It is valid during the call only: the planner
// uses the slices again.
type Batch struct {
	App       spec.AppName
	Kind      spec.Kind
	Priority  int
	Config    map[string]string // the settings of the policy block
	Seed      uint64
	Count     int
	Resources []string // what the columns of Need, Capacity and Free stand for
	Need      []int64  // of one allocation: thousandths of cores, bytes, bytes, thousandths

	Nodes    []spec.NodeID // those that accept at least one allocation, sorted
	Capacity []int64       // a row of len(Resources) for each node
	Free     []int64       // likewise
	Room     []int32       // at most so many, whatever the resources: ports, devices and cores allow no more
	Own      []int32       // allocations of this app there, without those that are about to be followed by others
	Load     []int32       // allocations of all apps there
	Terms    []Term        // what affinities and past failures add to each node's score
	Groups   []Group       // limits and wishes over the allocations of the app
	sheet    *sheet        // for Fill, when the batch is a fleet's

	elsewhere int // feasible nodes that are left out, as none of them can be chosen
}

// Term is a part of the score that is the same for every allocation of the batch.
type Term struct {
	Name  string
	Value []spec.Milli // of each node
}

// Group divides the nodes by an attribute. A limit bounds the allocations of the app in each group; a wish makes each
// allocation that a group then has cost so much.
type Group struct {
	Name string
	Of   []int32      // the group of each node
	Have []int32      // allocations of the app in each group, before the batch
	Cap  []int32      // the most for each group; nil: no limit
	Cost []spec.Milli // per allocation in the group, the new one included; nil: no wish
}

// Node is what a scoring function sees of a node. Its slices follow Batch.Resources and must not be changed; all of it
// is valid during the call only.
type Node struct {
	ID       spec.NodeID
	Capacity []int64
	Free     []int64 // before the allocation that is being scored
	Own      int
	Load     int
}

// Scoring is a policy reduced to its scoring function; Fill does the rest.
type Scoring struct {
	Name string
	// Lower says in a few words why a node scores lower: "less full".
	Lower string
	// Score rates the node for one more allocation that needs so much: thousandths, higher is better, best within 0 to
	// 1000. It is called again for a node only when something was placed there.
	Score func(need []int64, n *Node) spec.Milli
	// most is more than which no node of a box scores, if it has room and none of the app; nil: it is not known.
	most func(need []int64, b box) spec.Milli
}

// Place implements Policy.
func (s Scoring) Place(b *Batch) ([]Pick, error) { return Fill(b, s), nil }

// Binpack prefers the node that is fullest afterwards, so that large free pieces stay free.
var Binpack = Scoring{Name: "binpack", Lower: "less full afterwards", Score: func(need []int64, n *Node) spec.Milli {
	return share(need, n, true)
}, most: func(need []int64, b box) spec.Milli {
	return mean(need, func(d int) int64 {
		if b.most[d] <= 0 {
			return 0
		}
		return (b.most[d] - max(0, b.low[d]-need[d])) * 1000 / b.most[d]
	})
}}

// Spread prefers the node with the fewest allocations of the app, then the one that is emptiest afterwards.
var Spread = Scoring{Name: "spread", Lower: "busier", Score: func(need []int64, n *Node) spec.Milli {
	return share(need, n, false) - spec.Milli(n.Own)*1000
}, most: func(need []int64, b box) spec.Milli {
	return mean(need, func(d int) int64 { return max(0, b.high[d]-need[d]) * 1000 / b.least[d] })
}}

// box is what some nodes have: of each resource the least and the most that is free on one, and the least and the most that one
// has at all. Those that have nothing at all of a resource do not count for its least.
type box struct{ low, high, least, most []int64 }

// BuiltIn returns the policy of that name that needs no plugin.
func BuiltIn(name string) (Policy, bool) {
	switch name {
	case Binpack.Name:
		return Binpack, true
	case Spread.Name:
		return Spread, true
	}
	return nil, false
}

// share returns how much of the resources asked for is taken (or free) afterwards, on average, in thousandths.
func share(need []int64, n *Node, taken bool) spec.Milli {
	var sum, parts int64
	for d, ask := range need {
		all := n.Capacity[d]
		if ask == 0 || all == 0 {
			continue
		}
		left := n.Free[d] - ask
		if taken {
			left = all - left
		}
		sum += left * 1000 / all
		parts++
	}
	if parts == 0 {
		return 0
	}
	return spec.Milli(sum / parts)
}

// mean returns the average over the resources asked for, as share does of one node.
func mean(need []int64, of func(d int) int64) spec.Milli {
	var sum, parts int64
	for d, ask := range need {
		if ask != 0 {
			sum += of(d)
			parts++
		}
	}
	if parts == 0 {
		return 0
	}
	return spec.Milli(sum / parts)
}
