package control

import (
	"cmp"
	"slices"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// Nodes returns all nodes that have joined, sorted by ID.
func (c *Core) Nodes() []spec.NodeView {
	views := make([]spec.NodeView, 0, len(c.nodeOrder))
	for _, n := range c.inOrder {
		if r := c.state.Nodes[n.id]; r != nil {
			views = append(views, c.nodeView(n, r))
		}
	}
	return views
}

// nodeViews are the nodes as a plan needs them, and the drains. They are kept from plan to plan while none joins or
// leaves: LastSeen, which goes on for those that are ready, means something to a plan only of the others.
func (c *Core) nodeViews() ([]spec.NodeView, []spec.Drain) {
	if c.views == nil {
		c.views, c.wishes = c.Nodes(), c.drains()
	}
	for i := range c.wishes { // whether a node is empty changes without a word
		c.reviewNode(c.wishes[i].Node)
	}
	return c.views, slices.Clone(c.wishes)
}

// reviewNode brings the view of a node up to date whose state may be another one.
func (c *Core) reviewNode(id spec.NodeID) {
	k, found := slices.BinarySearchFunc(c.views, id, func(v spec.NodeView, id spec.NodeID) int { return cmp.Compare(v.ID, id) })
	if v, ok := c.Node(id); ok && found {
		c.views[k] = v
	}
}

// Node returns one node that has joined.
func (c *Core) Node(id spec.NodeID) (spec.NodeView, bool) {
	n, r := c.nodes[id], c.state.Nodes[id]
	if n == nil || r == nil {
		return spec.NodeView{}, false
	}
	return c.nodeView(n, r), true
}

func (c *Core) nodeView(n *node, r *NodeRecord) spec.NodeView {
	v := spec.NodeView{Node: r.Node, State: n.state, LastSeen: c.lastSeen(n), Since: n.since}
	if r.Drain != nil && n.state == spec.NodeReady {
		v.State, v.Since = spec.NodeDrained, r.Drain.Since
		if c.busy(n) {
			v.State = spec.NodeDraining
		}
	}
	return v
}

// busy reports whether anything on the node has not ended.
func (c *Core) busy(n *node) bool {
	return slices.ContainsFunc(n.cells, func(k *cell) bool {
		h := c.state.Allocations[k.id]
		return h != nil && h.Ended == nil
	})
}

// Allocations returns a copy of all allocations, sorted by slot, then generation. Those on silent nodes are as they
// were last seen, but not healthy, and their reason says so.
func (c *Core) Allocations() []spec.AllocationView {
	all := slices.Clone(c.current)
	for i := range all {
		c.doubt(&all[i])
	}
	return all
}

// doubt marks what is not known for certain any more.
func (c *Core) doubt(v *spec.AllocationView) {
	if v.State.Terminal() || c.reachable(v.Node) {
		return
	}
	state := spec.NodeDown
	if n := c.nodes[v.Node]; n != nil {
		state = n.state
	}
	v.Healthy, v.HealthySince = false, 0
	v.Reason = "node " + string(v.Node) + " is " + string(state) + ": last seen " + string(v.State)
}

// Allocation returns one allocation.
func (c *Core) Allocation(id spec.AllocationID) (spec.AllocationView, bool) {
	if k := c.cells[id]; k != nil && k.index >= 0 {
		v := *c.view(k)
		c.doubt(&v)
		return v, true
	}
	return spec.AllocationView{}, false
}

// App returns the app as the revision says that is followed; nil when it has none of that name.
func (c *Core) App(name spec.AppName) *spec.App {
	if d := c.following(); d != nil {
		return d.app(name)
	}
	return nil
}

// Reserved tells what reservations keep on a node, by name, and how much of it is used.
func (c *Core) Reserved(id spec.NodeID) []spec.NodeReservation {
	if d := c.following(); d == nil || len(d.cluster.Reservations) == 0 {
		return nil
	}
	return reconcile.ReservedOn(c.Input(), id)
}

// Version returns a version that an allocation or a rollout mentions; nil when none does.
func (c *Core) Version(h spec.Hash) *spec.App { return c.state.Versions[h] }

// AppView sums up one app.
type AppView struct {
	App     spec.AppName     `json:"app"`
	Kind    spec.Kind        `json:"kind"`
	Role    spec.RoleName    `json:"role"`
	Desired int              `json:"desired"` // slots; of a system app, those that it has now
	Running int              `json:"running"` // slots with a running allocation; batch slots that completed count too
	Healthy int              `json:"healthy"` // likewise
	Blocked int              `json:"blocked"`
	Run     bool             `json:"run,omitempty"` // the app of a run
	Held    string           `json:"held,omitempty"`
	Waits   *spec.WindowWait `json:"waits,omitempty"` // what its change waits for
	Rollout *spec.Rollout    `json:"rollout,omitempty"`
	Scale   *spec.Scale      `json:"scale,omitempty"` // who chose Desired; nil: the specification
}

// Apps sums up the apps of the revision that is followed, and those that still have allocations; sorted by name.
func (c *Core) Apps() []AppView {
	d := c.following()
	if d == nil {
		return nil
	}
	views := make([]AppView, 0, len(d.cluster.Apps))
	held := c.heldApps(d, c.said(c.state.Following.Revision.Commit))
	roots := spec.Roots(d.cluster.Apps)
	i := 0
	for _, app := range d.cluster.Apps {
		for i < len(c.current) && c.current[i].App < app.Name {
			var v AppView
			v, i = c.leaving(i)
			if v.App != "" {
				views = append(views, v)
			}
		}
		v := AppView{App: app.Name, Kind: app.Kind, Role: app.Role, Desired: app.Count, Held: held[app.Name]}
		if s, ok := c.Scale(app.Name); ok {
			v.Scale = &s
		}
		if roots[app.Name] != "" {
			v.Desired = 0 // its runs have allocations
		}
		i = c.count(&v, i)
		views = append(views, v)
	}
	for i < len(c.current) {
		var v AppView
		v, i = c.leaving(i)
		if v.App != "" {
			views = append(views, v)
		}
	}
	c.annotate(views)
	return views
}

// leaving sums up an app that is no longer desired but has allocations that have not ended; its name is "" otherwise.
func (c *Core) leaving(i int) (AppView, int) {
	a := &c.current[i]
	v := AppView{App: a.App}
	if app := c.state.Versions[a.Version]; app != nil {
		v.Kind, v.Role = app.Kind, app.Role
		if app.Run != nil {
			v.Desired, v.Run = app.Count, true
		}
	}
	alive := false
	j := i
	for ; j < len(c.current) && c.current[j].App == a.App; j++ {
		alive = alive || !c.current[j].State.Terminal()
	}
	if !alive {
		return AppView{}, j
	}
	return v, c.count(&v, i)
}

// count adds up the allocations of an app from index i on, and returns the index behind them.
func (c *Core) count(v *AppView, i int) int {
	slots, last, lastRunning, lastHealthy := 0, -1, -1, -1
	for ; i < len(c.current) && c.current[i].App == v.App; i++ {
		a := &c.current[i]
		done := v.Kind == spec.KindBatch && a.State == spec.StateComplete && a.Want == spec.WantRun
		reachable := c.reachable(a.Node)
		if (done || (reachable && a.State == spec.StateRunning)) && a.Index != lastRunning {
			v.Running, lastRunning = v.Running+1, a.Index
		}
		if (done || (reachable && a.Healthy)) && a.Index != lastHealthy {
			v.Healthy, lastHealthy = v.Healthy+1, a.Index
		}
		if a.Want == spec.WantRun && !a.State.Terminal() && a.Index != last {
			slots, last = slots+1, a.Index
		}
	}
	if v.Kind == spec.KindSystem {
		v.Desired = slots
	}
	return i
}

// Reachable reports whether the node is in touch.
func (c *Core) Reachable(id spec.NodeID) bool { return c.reachable(id) }

func (c *Core) reachable(id spec.NodeID) bool {
	n := c.nodes[id]
	return n != nil && n.state == spec.NodeReady
}

func (c *Core) annotate(views []AppView) {
	for i := range views {
		v := &views[i]
		if k, found := slices.BinarySearchFunc(c.plan.Apps, v.App, func(p spec.AppPlan, n spec.AppName) int { return cmp.Compare(p.App, n) }); found {
			p := &c.plan.Apps[k]
			v.Waits = p.Waits
			if p.Blocked != nil {
				v.Blocked = len(p.Blocked.Slots)
			}
		}
		if k, found := slices.BinarySearchFunc(c.state.Rollouts, v.App, func(r spec.Rollout, n spec.AppName) int { return cmp.Compare(r.App, n) }); found {
			r := c.state.Rollouts[k]
			v.Rollout = &r
		}
		if v.Kind == spec.KindSystem {
			v.Desired += v.Blocked
		}
	}
}

// BlockedView is an app with slots that have no place.
type BlockedView struct {
	App spec.AppName `json:"app"`
	spec.Blocked
}

// Blocked returns what has no place, as of the last plan. That was brief: it has no fixes, which Explained looks for.
func (c *Core) Blocked() []BlockedView { return blockedIn(&c.plan) }

// Explained returns what has no place, with fixes, from a plan of its own.
func (c *Core) Explained() []BlockedView {
	if len(c.Blocked()) == 0 {
		return nil
	}
	plan, _ := reconcile.Plan(c.Input())
	return blockedIn(&plan)
}

func blockedIn(p *spec.Plan) []BlockedView {
	var out []BlockedView
	for i := range p.Apps {
		if b := p.Apps[i].Blocked; b != nil && len(b.Slots) > 0 {
			out = append(out, BlockedView{p.Apps[i].App, *b})
		}
	}
	return out
}

// Events returns the newest lines of the story, oldest first, at most limit of them (0: all), about a subject ("":
// about all).
func (c *Core) Events(subject string, limit int) []spec.Event {
	var out []spec.Event
	for i := len(c.events) - 1; i >= 0 && (limit == 0 || len(out) < limit); i-- {
		if subject == "" || c.events[i].Subject == subject {
			out = append(out, c.events[i])
		}
	}
	slices.Reverse(out)
	return out
}

// History returns the revisions that were followed, oldest first.
func (c *Core) History() []HistoryEntry { return slices.Clone(c.state.History) }

// Pending returns the plan that waits for approval; nil when none does.
func (c *Core) Pending() *Pending { return c.state.Pending }

// Last returns the last plan of the revision that is followed: what is still to be done. It is brief
// (reconcile.Input.Brief): Preview of the followed revision gives the whole.
func (c *Core) Last() spec.Plan { return c.plan }

// Plan finds a plan that waits or took effect. The plan is nil when it took effect too long ago.
func (c *Core) Plan(id spec.PlanID) (plan *spec.Plan, known bool) {
	if p := c.state.Pending; p != nil && p.Plan.ID == id {
		return &p.Plan, true
	}
	if h := c.applied(id); h != nil {
		return h.Full, true
	}
	return nil, false
}

// Preview plans any cluster on the present state. Nothing changes. Blocks of frameworks that expansions lacks keep
// the apps that they have now.
func (c *Core) Preview(r spec.Revision, expansions []spec.Expansion, signed bool, behind int) (spec.Plan, reconcile.Report) {
	return reconcile.Plan(c.PreviewInput(r, Answers{Expansions: expansions}, signed, behind))
}

// Answers are what was asked for the sake of a preview.
type Answers struct {
	Expansions []spec.Expansion
	Images     map[string]Lookup // by tag, of images that have no recorded digest
}

// PreviewInput is the input of a Preview, good for planning elsewhere while the core goes on: it shares nothing that
// changes.
func (c *Core) PreviewInput(r spec.Revision, a Answers, signed bool, behind int) reconcile.Input {
	d := expand(r.Cluster, func(n spec.AppName) *spec.Expansion {
		for i := range a.Expansions {
			if a.Expansions[i].Name == n {
				return &a.Expansions[i]
			}
		}
		return c.state.Expansions[n]
	}, c.state.Scales, c.previewed(r.Commit, a.Images))
	in := c.input(d, &r, signed, behind)
	if len(a.Images) > 0 {
		in.Held = c.heldApps(d, func(image string) string { return cmp.Or(a.Images[image].Err, c.said(r.Commit)(image)) })
	}
	in.AtOnce = c.state.Following != nil && c.state.Following.atOnce() && c.state.Following.Revision.Commit == r.Commit
	in.Memory, in.Nodes, in.Current = nil, slices.Clone(in.Nodes), slices.Clone(in.Current)
	in.Rollouts, in.Restarts, in.Failures = slices.Clone(in.Rollouts), slices.Clone(in.Restarts), slices.Clone(in.Failures)
	versions := make(map[spec.Hash]*spec.App, len(in.Versions))
	for h, app := range in.Versions { // any order: copied key by key
		versions[h] = app
	}
	in.Versions = versions
	return in
}

// Input is the input of the next plan of what is followed: what a bug report holds. Zero before the first commit.
func (c *Core) Input() reconcile.Input {
	f := c.state.Following
	if f == nil {
		return reconcile.Input{}
	}
	return c.PreviewInput(f.Revision, Answers{}, f.Signed, 0)
}

// Status sums up the master.
type Status struct {
	Commit     spec.Commit     `json:"commit"` // followed
	Subject    string          `json:"subject,omitempty"`
	Head       spec.Commit     `json:"head"` // of the branch
	Left       spec.Commit     `json:"left,omitempty"`
	Failure    *spec.Revision  `json:"failure,omitempty"` // the head, when it is bad
	Contact    Contact         `json:"contact"`
	Generation spec.Generation `json:"generation"`
	Settled    bool            `json:"settled"`           // false: it waits for agents before it decides anything
	Pending    spec.PlanID     `json:"pending,omitempty"` // waits for approval
}

// Status returns the summary.
func (c *Core) Status() Status {
	s := Status{Head: c.head, Failure: c.failure, Contact: c.contact, Generation: c.state.Generation, Settled: c.settled}
	if f := c.state.Following; f != nil {
		s.Commit, s.Subject, s.Left = f.Revision.Commit, f.Revision.Subject, f.Left
	}
	if p := c.state.Pending; p != nil {
		s.Pending = p.Plan.ID
	}
	return s
}
