package control

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/stowage/stowage/spec"
)

// node is what the leader knows of a node beside the journal.
type node struct {
	id        spec.NodeID
	session   uint64
	connected bool
	full      bool // a full report came since this core leads
	seen      spec.Time
	state     spec.NodeState // ready, unknown or down; draining is seen from the drain
	since     spec.Time
	cells     []*cell // sorted by ID
	queued    bool
	skew      spec.Duration // of its clock; 0: none that matters
	muted     bool          // in Core.mute
	round     int           // of NodesSeen in which it was muted last
}

func (c *Core) addNode(id spec.NodeID, now spec.Time) *node {
	n := &node{id: id, seen: now, state: spec.NodeReady, since: now, cells: c.orphans[id]}
	delete(c.orphans, id)
	c.nodes[id], c.views = n, nil
	c.silenceAt = earliest(c.silenceAt, now.Add(spec.NodeUnknownAfter))
	i, _ := slices.BinarySearch(c.nodeOrder, id)
	c.nodeOrder, c.inOrder = slices.Insert(c.nodeOrder, i, id), slices.Insert(c.inOrder, i, n)
	return n
}

// session returns the node of a session that is the newest one.
func (c *Core) session(id spec.NodeID, session uint64) *node {
	if n := c.nodes[id]; n != nil && n.session == session {
		return n
	}
	return nil
}

func (c *Core) onConnected(e NodeConnected) {
	n := c.nodes[e.Node]
	if n == nil {
		n = c.addNode(e.Node, c.now)
	}
	if n.session > e.Session {
		return
	}
	n.session, n.connected, n.full, n.skew = e.Session, true, false, 0
}

// onNodesSeen takes one word for all open sessions.
func (c *Core) onNodesSeen(e NodesSeen) {
	before := c.mute
	c.mute = nil
	c.round++
	for _, id := range e.Silent {
		n := c.nodes[id]
		if n == nil {
			continue
		}
		if !n.muted {
			n.seen = c.lastSeen(n)
		}
		n.muted, n.round = true, c.round
		c.mute = append(c.mute, n)
	}
	for _, n := range before {
		if n.round == c.round {
			continue
		}
		n.muted = false
		if n.connected {
			c.see(n)
		}
	}
	c.allSeen = c.now
}

// lastSeen is when a node was last heard of.
func (c *Core) lastSeen(n *node) spec.Time {
	if n.connected && !n.muted {
		return max(n.seen, c.allSeen)
	}
	return n.seen
}

// see notes a sign of life.
func (c *Core) see(n *node) {
	n.seen = c.now
	if !n.full {
		return
	}
	if n.state != spec.NodeReady {
		c.setNode(n, spec.NodeReady, "in touch again")
	}
	if c.blackout != 0 {
		c.endBlackout()
	}
}

func (c *Core) setNode(n *node, s spec.NodeState, why string) {
	n.state, n.since = s, c.now
	c.reviewNode(n.id)
	c.tell(string(n.id), string(s), why)
	c.dirty = true
	c.outdate()
	if c.silenceAt == 0 {
		c.silenceAt = c.now.Add(spec.NodeUnknownAfter)
	}
}

// silence notices nodes that have not been heard of. It looks at all of them only when the first could be due.
func (c *Core) silence() {
	if c.silenceAt == 0 || c.now < c.silenceAt {
		return
	}
	c.silenceAt = 0
	down := c.downAfter()
	for _, n := range c.inOrder {
		if n.state == spec.NodeReady && c.now >= c.lastSeen(n).Add(spec.NodeUnknownAfter) {
			c.setNode(n, spec.NodeUnknown, fmt.Sprintf("silent for %s", spec.NodeUnknownAfter))
		}
		if n.state == spec.NodeUnknown && c.now >= n.since.Add(down) {
			c.setNode(n, spec.NodeDown, fmt.Sprintf("silent for %s, longer than any app waits", c.now.Sub(c.lastSeen(n))))
		}
		switch n.state {
		case spec.NodeReady:
			c.silenceAt = earliest(c.silenceAt, c.lastSeen(n).Add(spec.NodeUnknownAfter))
		case spec.NodeUnknown:
			c.silenceAt = earliest(c.silenceAt, n.since.Add(down))
		}
	}
	c.noteBlackout()
}

// downAfter is longer than every reschedule.after.
func (c *Core) downAfter() spec.Duration {
	longest := spec.DefaultRescheduleAfter
	if d := c.following(); d != nil {
		for _, app := range d.cluster.Apps {
			longest = max(longest, app.Reschedule.After)
		}
	}
	return longest + spec.Second
}

func (c *Core) onReport(e NodeReported) {
	n := c.session(e.Node, e.Session)
	if n == nil || (!e.Report.Full && !n.full) {
		return
	}
	r := &e.Report
	if r.Full {
		n.full = true
	}
	c.see(n)
	n.gauge(r.Sent, c.now)
	if r.Node != nil {
		c.described(n, *r.Node)
	}
	if r.Full {
		c.fullReport(n, r)
	}
	for i := range r.Allocations {
		c.onStatus(n, &r.Allocations[i])
	}
	if r.Full && r.Generation != c.state.Generation {
		c.queue(n)
	}
}

// TrustedSkew is how far an agent's clock may be off before the times that it tells are put right. Less than that is the
// time that a report was under way.
const TrustedSkew = 2 * spec.Second

// gauge compares a node's clock with the master's. Of several reports on a link the one that took least tells most.
func (n *node) gauge(sent, now spec.Time) {
	if sent == 0 {
		return // an agent that does not tell
	}
	skew := sent.Sub(now)
	if skew > -TrustedSkew && skew < TrustedSkew {
		skew = 0
	}
	n.skew = skew
}

// right puts a time that an agent told right.
func (n *node) right(t spec.Time) spec.Time {
	if t == 0 {
		return 0
	}
	return t.Add(-n.skew)
}

// putRight does the same with the times that decisions rest on.
func (n *node) putRight(s spec.AllocationStatus) spec.AllocationStatus {
	if n.skew != 0 {
		s.Since, s.HealthySince = n.right(s.Since), n.right(s.HealthySince)
	}
	return s
}

// whyGathering is what the story adds to a node that joins a new cluster.
const whyGathering = "nothing is placed before %d nodes have joined, %d so far"

func (c *Core) described(n *node, d spec.Node) {
	d.ID = n.id
	d.Tidy()
	old := c.state.Nodes[n.id]
	if old != nil && reflect.DeepEqual(old.Node, d) {
		return
	}
	c.record(Entry{Joined: &d})
	c.outdate()
	if old == nil {
		why := ""
		if g := c.gathering(); g != nil {
			why = fmt.Sprintf(whyGathering, g.Expected, g.Joined)
		}
		c.tell(string(n.id), "joined", why)
	}
}

// fullReport compares what an agent holds with what was decided: the unknown is adopted, the missing is lost.
func (c *Core) fullReport(n *node, r *spec.Report) {
	reported := make(map[spec.AllocationID]bool, len(r.Allocations))
	adopted := Adopted{Generation: r.Generation, Versions: map[spec.Hash]*spec.App{}}
	for i := range r.Allocations {
		ra := &r.Allocations[i]
		reported[ra.ID] = true
		if ra.Spec != nil {
			adopted.Versions[ra.Decided.Version] = ra.Spec
		}
		if ra.Decided == nil || ra.Gone || ra.Decided.Node != n.id {
			continue
		}
		h := c.state.Allocations[ra.ID]
		switch {
		case h == nil:
			adopted.Allocations = append(adopted.Allocations, *ra.Decided)
		case h.Ended != nil && h.Ended.State == spec.StateLost:
			adopted.Allocations = append(adopted.Allocations, h.Allocation)
		}
		if k := len(adopted.Allocations); k > 0 && adopted.Allocations[k-1].ID == ra.ID {
			if ra.Status.State.Terminal() {
				adopted.Ended = append(adopted.Ended, EndedAllocation{ra.ID, n.putRight(ra.Status)})
			}
		}
	}
	c.missing(n, r.Generation, reported)
	c.adopt(n, &adopted)
}

// missing handles what an agent should hold and does not: it has cleaned up, or lost its memory.
func (c *Core) missing(n *node, g spec.Generation, reported map[spec.AllocationID]bool) {
	for _, k := range n.cells {
		h := c.state.Allocations[k.id]
		switch {
		case h == nil || reported[k.id]:
		case h.Retired:
			c.gone = append(c.gone, k.id)
		case h.Ended != nil:
		case h.Allocation.Generation <= g || c.view(k).State.Rank() > spec.StatePlaced.Rank():
			c.ended = append(c.ended, EndedAllocation{k.id, spec.AllocationStatus{
				State: spec.StateLost, Since: c.now, Reason: "the agent of " + string(n.id) + " no longer knows it"}})
		case h.Allocation.Want == spec.WantStop:
			c.ended = append(c.ended, EndedAllocation{k.id, spec.AllocationStatus{
				State: spec.StateComplete, Since: c.now, Reason: "stopped before its agent heard of it"}})
		}
	}
}

// adopt takes up allocations that the journal does not have. A generation from the future means that the journal was
// lost: others will come back too, and nothing is planned before they had time to.
func (c *Core) adopt(n *node, a *Adopted) {
	lost := a.Generation > c.state.Generation
	if !lost && len(a.Allocations) == 0 {
		return
	}
	c.lost = c.lost || lost
	if lost && c.settled {
		c.settled, c.settleAt = false, c.now.Add(SettleFor)
	}
	for i := range a.Allocations {
		al := &a.Allocations[i]
		a.Generation = max(a.Generation, al.Generation)
		if a.Versions[al.Version] == nil {
			a.Versions[al.Version] = c.state.Versions[al.Version]
		}
	}
	a.Allocations = slices.DeleteFunc(a.Allocations, func(al spec.Allocation) bool { return a.Versions[al.Version] == nil })
	before := c.state.Runs
	c.record(Entry{Adopted: a})
	c.tellOvertaken(before)
	if len(a.Allocations) > 0 {
		c.rebuild()
		c.tell(string(n.id), spec.Plural(len(a.Allocations), "allocation")+" adopted", "the journal did not know them")
	}
	c.queue(n)
}

// onStatus takes the status of one allocation. States only go forward, and not on from an end.
func (c *Core) onStatus(n *node, ra *spec.ReportAllocation) {
	k := c.cells[ra.ID]
	if k == nil || k.node != n.id {
		return
	}
	if ra.Gone {
		c.gone = append(c.gone, ra.ID)
		return
	}
	if k.index < 0 {
		return
	}
	v, h := c.view(k), c.state.Allocations[ra.ID]
	if h.Ended != nil || ra.Status.State.Rank() < v.State.Rank() {
		return
	}
	if ra.Status.State.Terminal() {
		c.ended = append(c.ended, EndedAllocation{ra.ID, n.putRight(ra.Status)})
		return
	}
	if ra.Status.State != v.State || ra.Status.Healthy != v.Healthy || ra.Status.Restarts != v.Restarts {
		c.noteworthy(v, &ra.Status)
	}
	v.AllocationStatus = n.putRight(ra.Status)
}

// whyUnchecked says that being healthy means no more than to run.
const whyUnchecked = "it runs, and no check of it gates"

// unchecked tells of an allocation that is healthy whether anything was asked for that.
func (c *Core) unchecked(v *spec.AllocationView) string {
	app := c.state.Versions[v.Version]
	if app == nil {
		return ""
	}
	for i := range app.Tasks {
		if slices.ContainsFunc(app.Tasks[i].Checks, func(k spec.Check) bool { return k.Gate || k.Start }) {
			return ""
		}
	}
	return whyUnchecked
}

// noteworthy tells what changed, and has the plan made again where it could differ.
func (c *Core) noteworthy(v *spec.AllocationView, now *spec.AllocationStatus) {
	if now.Restarts != v.Restarts {
		for i := range now.Tasks {
			t := &now.Tasks[i]
			if i >= len(v.Tasks) || v.Tasks[i].Restarts != t.Restarts {
				c.tellOf(&v.Allocation, "task "+string(t.Name)+": "+restartReason(t), saidLast(t.Output))
			}
		}
	}
	if now.State != v.State {
		c.tellOf(&v.Allocation, string(now.State)+" on "+string(v.Node), now.Reason)
	}
	if now.Healthy != v.Healthy {
		if now.Healthy {
			c.tellOf(&v.Allocation, "healthy", c.unchecked(v))
		} else {
			c.tellOf(&v.Allocation, "no longer healthy", now.Trouble())
		}
	}
	if now.State != v.State || now.Healthy != v.Healthy {
		c.ownedChanged(v)
	}
	// On the way to being healthy nothing is decided; an end is recorded, and that has the plan made again.
	if now.Healthy != v.Healthy {
		c.dirty = true
	}
}

// restartReason says why a task was started again; it may run already.
func restartReason(t *spec.TaskStatus) string {
	if t.Reason == "" && t.Exit != nil {
		return t.Exit.String() + ", started again"
	}
	return t.Reason
}

// saidLast introduces the last line that a failed task printed.
func saidLast(line string) string {
	if line == "" {
		return ""
	}
	return "it said last: " + line
}

// endWhy is why an allocation ended, and what it said then.
func endWhy(s *spec.AllocationStatus) string {
	said := s.Said()
	if s.State != spec.StateFailed || said == "" {
		return s.Reason
	}
	return s.Reason + "; " + saidLast(said)
}

// flushEnded records the ends that this Step heard of.
func (c *Core) flushEnded() {
	if len(c.ended) > 0 {
		var news []EndedAllocation
		told := make(map[spec.AllocationID]bool, len(c.ended))
		for _, e := range c.ended {
			if h := c.state.Allocations[e.ID]; h != nil && h.Ended == nil && !told[e.ID] {
				told[e.ID] = true
				news = append(news, e)
			}
		}
		c.ended = nil
		if len(news) > 0 {
			c.recordEnded(news)
		}
	}
	if len(c.gone) > 0 {
		gone := slices.DeleteFunc(c.gone, func(id spec.AllocationID) bool {
			h := c.state.Allocations[id]
			return h == nil || !h.Retired
		})
		c.gone = nil
		c.forget(gone)
	}
}

func (c *Core) recordEnded(news []EndedAllocation) {
	for i := range news {
		v := c.view(c.cells[news[i].ID])
		c.tellOf(&v.Allocation, string(news[i].Status.State)+" on "+string(v.Node), endWhy(&news[i].Status))
		c.ownedChanged(v)
	}
	c.record(Entry{Ended: &Ended{news}})
	for i := range news {
		c.refresh(news[i].ID)
		if news[i].Status.State == spec.StateLost {
			c.queue(c.nodes[c.cells[news[i].ID].node])
		}
		c.retireAt = earliest(c.retireAt, c.now.Add(KeepEnded))
	}
}

// forget removes retired allocations for good.
func (c *Core) forget(ids []spec.AllocationID) {
	if len(ids) == 0 {
		return
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	c.record(Entry{Forgotten: &Forgotten{ids}})
	for _, id := range ids {
		c.forgetCell(id)
	}
}

// dropNode forgets a node that was removed.
func (c *Core) dropNode(n *node) {
	delete(c.nodes, n.id)
	c.views = nil
	c.outdate()
	if len(n.cells) > 0 {
		c.orphans[n.id] = n.cells
	}
	if i, ok := slices.BinarySearch(c.nodeOrder, n.id); ok {
		c.nodeOrder, c.inOrder = slices.Delete(c.nodeOrder, i, i+1), slices.Delete(c.inOrder, i, i+1)
	}
	n.queued, n.connected = true, false // a Send that waits finds nobody
}
