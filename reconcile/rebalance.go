package reconcile

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// What a gain is worth, in moves: a rebalancing moves nothing that does not pay. Worth are stated with each gain.
const (
	// worthRules: an allocation stands where the rules of its app no longer let it stand.
	worthRules = 8
	// worthRoom: a slot that has no place gets one.
	worthRoom = 8
	// worthEven: a failure domain loses one allocation too many.
	worthEven = 2
	// worthNode: a node has nothing left but system apps, and can be given away or take something large.
	worthNode = 10
)

// Bounds on what a rebalancing does and looks at.
const (
	// DefaultMoves is how many allocations one rebalancing moves when nothing else is asked for.
	DefaultMoves = 50
	// MaxMoves is the most that can be asked for.
	MaxMoves = 10_000
	// DefaultParallel is how many allocations are on their way at a time.
	DefaultParallel = 4
	// maxRounds: what one goal changes may open something for another, so they take turns, but not for ever.
	maxRounds = 4
	// maxBlocked slots are looked at in each round, each on at most maxTried nodes; the same for nodes to be freed.
	maxBlocked = 64
	maxTried   = 64
)

// Move is one allocation that rebalancing wants elsewhere.
type Move struct {
	ID   spec.AllocationID `json:"id"`
	Slot spec.Slot         `json:"slot"`
	From spec.NodeID       `json:"from"`
	To   spec.NodeID       `json:"to"`
	Why  string            `json:"why"` // the gain that it takes part in
}

// Gain is one thing that a rebalancing is good for.
type Gain struct {
	What  string `json:"what"`  // "frees n7 whole"
	Moves int    `json:"moves"` // that it takes
	Worth int    `json:"worth"` // in moves; never less than Moves
}

// Rebalancing is moves with what they are good for: proposed, or wished by an operator and under way. It is never
// changed.
type Rebalancing struct {
	ID       string    `json:"id"` // "r-" and a hash of the moves
	Since    spec.Time `json:"since,omitempty"`
	By       string    `json:"by,omitempty"`
	Auto     bool      `json:"auto,omitempty"`     // nobody asked for it: the commit lets the cluster rebalance itself
	Parallel int       `json:"parallel,omitempty"` // allocations on their way at a time
	Gains    []Gain    `json:"gains,omitempty"`
	Moves    []Move    `json:"moves,omitempty"` // in the order in which they are made; of a wish, those not done yet
	Of       int       `json:"of"`              // moves in all
}

// Terms bound what a rebalancing proposes.
type Terms struct {
	Moves int        // most; 0: DefaultMoves
	Gain  spec.Milli // what a gain has to be worth for each of its moves, in moves; 0: one
	// Auto leaves out apps whose windows are closed, and allocations that were placed after Since: nobody asked for these moves.
	Auto  bool
	Since spec.Time
}

// Rebalance proposes moves that make the cluster better than it is: places for slots that have none, allocations evenly
// over their failure domains, whole nodes free. It changes nothing. The same input gives the same proposal, and once a
// proposal is carried out, another one is empty, unless the bound on moves cut it short.
//
// Moved are only allocations of services that are as they should be, under a built-in policy, without affinities and
// rules (same, group_by, near, apart) that tie them or others to them, no gang and not pinned. Batch work, system apps and everything in the course of
// a rollout stay.
func Rebalance(in Input, t Terms) Rebalancing {
	if t.Moves <= 0 {
		t.Moves = DefaultMoves
	}
	t.Moves, t.Gain = min(t.Moves, MaxMoves), max(t.Gain, 1000)
	in.Rebalance = nil // another one takes the place of the one under way
	w := newWorld(&in)
	w.advance()
	w.steps()
	w.retire()
	w.place()
	r := newRebalancer(w, t)
	for range maxRounds {
		before := len(r.out.Moves)
		r.mendRules()
		r.makeRoom()
		r.evenOut()
		r.freeNodes()
		if len(r.out.Moves) == before {
			break
		}
	}
	r.out.Of, r.out.Auto = len(r.out.Moves), t.Auto
	r.out.ID = rebalancingID(r.out.Moves)
	return r.out
}

// Without returns what is left of a wish when some of its moves are done; nil when nothing is.
func (r *Rebalancing) Without(done []spec.AllocationID) *Rebalancing {
	if r == nil || len(done) == 0 {
		return r
	}
	left := *r
	left.Moves = slices.DeleteFunc(slices.Clone(r.Moves), func(m Move) bool { return slices.Contains(done, m.ID) })
	if len(left.Moves) == 0 {
		return nil
	}
	return &left
}

// Still returns what is left of a proposal when some of its moves are no longer possible: a gain falls away with any of
// its moves.
func (r *Rebalancing) Still(possible func(*Move) bool) Rebalancing {
	left := *r
	left.Gains, left.Moves = nil, nil
	moves := r.Moves
	for _, g := range r.Gains {
		own := moves[:g.Moves]
		moves = moves[g.Moves:]
		good := true
		for i := range own {
			good = good && possible(&own[i])
		}
		if good {
			left.Gains, left.Moves = append(left.Gains, g), append(left.Moves, own...)
		}
	}
	left.Of, left.ID = len(left.Moves), rebalancingID(left.Moves)
	return left
}

func rebalancingID(moves []Move) string {
	b, err := json.Marshal(moves)
	if err != nil {
		panic("reconcile: moves of plain fields do not encode: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return "r-" + hex.EncodeToString(sum[:6])
}

// mover is an allocation that may be moved, and where it now stands.
type mover struct {
	x     *app
	a     *spec.AllocationView
	node  int
	given spec.Grant
	moved bool // once is enough; or it was placed a moment ago
}

// rebalancer tries moves on the fleet of a plan.
type rebalancer struct {
	w      *world
	terms  Terms
	out    Rebalancing
	apps   []*app // with movers, by name
	movers map[*app][]*mover
	at     [][]*mover // by node
	system []int      // allocations of system apps on each node
	failed map[string]bool
	wished map[spec.AppName]bool // apps that others wish to be near or apart from
}

func newRebalancer(w *world, t Terms) *rebalancer {
	r := &rebalancer{
		w: w, terms: t, movers: map[*app][]*mover{}, at: make([][]*mover, w.fleet.Len()),
		system: make([]int, w.fleet.Len()), failed: map[string]bool{}, wished: map[spec.AppName]bool{},
	}
	for _, a := range w.in.Desired.Apps {
		for _, f := range a.Affinities {
			r.wished[f.App] = f.App != ""
		}
	}
	for _, x := range w.apps {
		if x.desired != nil && x.desired.app.Kind == spec.KindSystem {
			for i := range x.views {
				if n := w.nodeOf[x.first+i]; n >= 0 {
					r.system[n]++
				}
			}
		}
		if !r.movable(x) {
			continue
		}
		r.apps = append(r.apps, x)
		for i := range x.views {
			if n := w.nodeOf[x.first+i]; n < 0 || !w.fleet.Open(int(n)) || x.views[i].Want == spec.WantStop {
				continue
			}
			m := &mover{x: x, a: &x.views[i], node: int(w.nodeOf[x.first+i]), given: x.views[i].Grant(), moved: r.terms.Auto && x.views[i].Placed > r.terms.Since}
			r.movers[x] = append(r.movers[x], m)
			r.at[m.node] = append(r.at[m.node], m)
		}
	}
	if w.roles == nil {
		w.roles = w.newRoles()
	}
	return r
}

// movable reports whether the allocations of an app may be moved at all.
func (r *rebalancer) movable(x *app) bool {
	if x.desired == nil || x.desired.app.Kind != spec.KindService || x.held != "" || !r.w.whole(x) || x.desired.app.Pinned || len(x.desired.app.Affinities) > 0 {
		return false
	}
	if _, builtIn := place.BuiltIn(r.w.policyOf(x.desired.app).Name); !builtIn {
		return false
	}
	if r.terms.Auto {
		if g := r.w.gateOf(x.desired.app); g.wait != nil {
			return false // when its window opens, there is another look: see NextOpening
		}
	}
	if x.desired.app.Gang || len(x.wantedBy)+len(x.keptOff) > 0 || r.wished[x.name] {
		return false
	}
	return !slices.ContainsFunc(x.desired.app.Constraints, func(c spec.Constraint) bool {
		return c.Operator == spec.OpSame || c.Operator == spec.OpGroupBy || c.App != ""
	})
}

// full reports whether no more moves may be proposed.
func (r *rebalancer) full() bool { return len(r.out.Moves) >= r.terms.Moves }

// done is a move that was tried, with what it takes to undo it.
type done struct {
	m     *mover
	from  int
	given spec.Grant
}

// try moves an allocation to the best of the nodes, which must be sorted, by the policy of its app. What it leaves is
// free for others, as moves are made in order.
func (r *rebalancer) try(m *mover, only []int32, policy place.Policy) (done, bool) {
	if list := r.tryAll([]*mover{m}, only, policy); len(list) > 0 {
		return list[0], true
	}
	return done{}, false
}

// tryAll moves allocations of one app to the best of the nodes, in order, as many as find a place: the nodes are looked at
// once for all of them.
func (r *rebalancer) tryAll(movers []*mover, only []int32, policy place.Policy) []done {
	w := r.w
	movers = slices.DeleteFunc(slices.Clone(movers), func(m *mover) bool { return m.moved })
	if len(movers) == 0 || len(only) == 0 {
		return nil
	}
	x := movers[0].x
	q := w.request(&job{x: x, version: x.version}, len(movers))
	q.Only = only
	show := w.reserved.hide(x)
	b := w.fleet.Batch(q)
	show()
	if len(b.Nodes) == 0 {
		return nil
	}
	picks, err := policy.Place(b)
	if err != nil {
		return nil
	}
	var list []done
	for k := range picks {
		m := movers[k]
		list = append(list, done{m, m.node, m.given})
		to := w.fleet.At(picks[k].Node)
		r.shift(m, to, w.fleet.Grant(to, m.a.Slot, q))
		m.moved = true
	}
	return list
}

// shift puts an allocation on another node, with what that gives to it.
func (r *rebalancer) shift(m *mover, to int, given spec.Grant) {
	w, x := r.w, m.x
	w.fleet.Release(m.node, x.version.need, &m.given)
	w.fleet.Take(to, x.version.need, &given)
	w.reserved.count(x, m.node, x.version.need, -1)
	w.reserved.count(x, to, x.version.need, 1)
	w.ownOf(x)
	x.own = without(x.own, m.node)
	x.own = append(x.own, int32(to))
	r.at[m.node] = slices.DeleteFunc(r.at[m.node], func(o *mover) bool { return o == m })
	r.at[to] = append(r.at[to], m)
	m.node, m.given = to, given
}

func (r *rebalancer) undo(list []done) {
	for _, d := range slices.Backward(list) {
		r.shift(d.m, d.from, d.given)
		d.m.moved = false
	}
}

// keep writes down moves that belong to one gain, if they pay and the bound allows them; otherwise they are taken back.
func (r *rebalancer) keep(list []done, what string, worth int) bool {
	if len(list) == 0 || len(list)*int(r.terms.Gain) > worth*1000 || len(r.out.Moves)+len(list) > r.terms.Moves {
		r.undo(list)
		return false
	}
	for _, d := range list {
		r.out.Moves = append(r.out.Moves, Move{ID: d.m.a.ID, Slot: d.m.a.Slot, From: r.w.fleet.ID(d.from), To: r.w.fleet.ID(d.m.node), Why: what})
	}
	r.out.Gains = append(r.out.Gains, Gain{What: what, Moves: len(list), Worth: worth})
	return true
}

// open lists the nodes that take allocations and meet a condition, in order.
func (r *rebalancer) open(ok func(node int) bool) []int32 {
	var out []int32
	for n := range r.w.fleet.Len() {
		if r.w.fleet.Open(n) && ok(n) {
			out = append(out, int32(n))
		}
	}
	return out
}

// work is how many allocations a node has besides those of system apps.
func (r *rebalancer) work(node int) int { return r.w.fleet.Load(node) - r.system[node] }

// policyOf is the built-in policy of an app.
func (r *rebalancer) policyOf(x *app) place.Policy {
	p, _ := r.w.policy(r.w.policyOf(x.desired.app).Name)
	return p
}

// bySize orders the largest first, then by slot.
func bySize(a, b *mover) int {
	for d := range a.x.version.need {
		if c := cmp.Compare(b.x.version.need[d], a.x.version.need[d]); c != 0 {
			return c
		}
	}
	return a.a.Slot.Compare(b.a.Slot)
}
