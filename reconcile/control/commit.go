package control

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/stowage/stowage/spec"
)

// candidate is a good revision on its way to be followed, while its plugins answer.
type candidate struct {
	revision   spec.Revision
	signed     bool
	behind     int
	rollback   *Rollback // somebody asked for it: it needs no further approval
	expansions map[spec.AppName]*spec.Expansion
	asked      map[spec.AppName]bool
	digests    map[string]string // of images by tag
	images     []string          // by tag; nil: to be listed again
	until      spec.Time         // answers are not waited for after this
	planned    bool
}

func (c *Core) newCandidate(r spec.Revision, signed bool, behind int) *candidate {
	c.dirty = true
	c.forgetFailed(r.Commit)
	return &candidate{
		revision: r, signed: signed, behind: behind, until: c.now.Add(AnswerWithin),
		expansions: map[spec.AppName]*spec.Expansion{}, asked: map[spec.AppName]bool{}, digests: addImages(c.state.Images(r.Commit), nil),
	}
}

func (k *candidate) desired(scales []spec.Scale) *desired {
	return expand(k.revision.Cluster, func(n spec.AppName) *spec.Expansion { return k.expansions[n] }, scales, k.digests)
}

// answered reports whether all plugins and registries that the revision needs have answered.
func (k *candidate) answered(c *Core) bool {
	for i := range k.revision.Cluster.Frameworks {
		if k.expansions[k.revision.Cluster.Frameworks[i].Name] == nil {
			return false
		}
	}
	for _, p := range k.revision.Cluster.Plugins {
		if _, ok := c.policies[p.Name]; p.Kind == spec.PluginPolicy && !ok {
			return false
		}
	}
	return k.resolved(c)
}

// list returns the expansions in the order of the blocks.
func (k *candidate) list() []spec.Expansion {
	var out []spec.Expansion
	for i := range k.revision.Cluster.Frameworks {
		if x := k.expansions[k.revision.Cluster.Frameworks[i].Name]; x != nil {
			out = append(out, *x)
		}
	}
	return out
}

// onRevision takes the head of the branch.
func (c *Core) onRevision(e RevisionSeen) {
	r := e.Revision
	c.head = r.Commit
	if r.Cluster == nil {
		if c.failure == nil || c.failure.Commit != r.Commit {
			c.tell("commit "+r.Commit.Short(), "not used", firstError(r.Diagnostics))
		}
		c.failure = &r
		return
	}
	c.failure = nil
	if c.candidate != nil && c.candidate.rollback == nil && c.candidate.revision.Commit == r.Commit {
		return
	}
	if f := c.state.Following; f != nil && (f.Revision.Commit == r.Commit || f.Left == r.Commit) {
		// The branch came back to what is followed, or has not moved since the rollback.
		if c.candidate != nil && c.candidate.rollback == nil {
			c.candidate = nil
		}
		if p := c.state.Pending; p != nil && p.Revision.Commit != r.Commit {
			c.record(Entry{Dropped: &Dropped{p.Plan.ID, "the branch went back to " + r.Commit.Short()}})
		}
		return
	}
	if p := c.state.Pending; p != nil && p.Revision.Commit == r.Commit {
		return
	}
	c.candidate = c.newCandidate(r, e.Signed, e.Behind)
}

// refuseCandidate drops a revision whose driver found an error in it, as if it could not be read.
func (c *Core) refuseCandidate(ds []spec.Diagnostic) {
	k := c.candidate
	c.candidate = nil
	r := k.revision
	r.Diagnostics = append(slices.Clone(r.Diagnostics), ds...)
	if k.rollback != nil {
		c.refuse(k.rollback.Request, "commit "+r.Commit.Short()+" cannot be used: "+firstError(ds)+" Choose another one from stowage history.")
		return
	}
	r.Cluster = nil
	if c.head == r.Commit {
		c.failure = &r
	}
	c.tell("commit "+r.Commit.Short(), "not used", firstError(ds))
}

func firstError(ds []spec.Diagnostic) string {
	for _, d := range ds {
		if d.Severity == spec.SeverityError {
			return fmt.Sprintf("%s:%d: %s: %s", d.Pos.File, d.Pos.Line, d.Summary, d.Detail)
		}
	}
	return "it cannot be read"
}

// consider plans the candidate once its plugins have answered, and follows it or lets it wait.
func (c *Core) consider() {
	k := c.candidate
	if k == nil || k.planned || (!k.answered(c) && c.now < k.until) {
		return
	}
	if c.state.Following == nil {
		c.rememberScales(k.revision.Cluster)
	}
	d := k.desired(c.state.Scales)
	in := c.input(d, &k.revision, k.signed, k.behind)
	in.AtOnce = k.rollback != nil
	plan := c.shadow(in)
	c.candidate = nil
	if k.rollback != nil {
		c.follow(Followed{Revision: k.revision, Expansions: k.list(), Images: k.used(), Plan: plan, Signed: k.signed, By: k.rollback.By, Left: k.rollback.Head}, d)
		c.act(Answer{Request: k.rollback.Request, Plan: &plan})
		return
	}
	why := c.mustWait(k, &plan)
	if why == "" {
		c.follow(Followed{Revision: k.revision, Expansions: k.list(), Images: k.used(), Plan: plan, Signed: k.signed}, d)
		return
	}
	c.record(Entry{Pending: &Pending{Revision: k.revision, Expansions: k.list(), Images: k.used(), Plan: plan, Why: why, Signed: k.signed}})
	c.tell("commit "+k.revision.Commit.Short(), "plan "+string(plan.ID)+" waits for approval", why)
}

// mustWait says why a person has to approve a plan; "" when nobody has to. What is followed has a say too: a commit
// does not lift the need for approval by itself.
func (c *Core) mustWait(k *candidate, plan *spec.Plan) string {
	if len(plan.Guards) > 0 {
		return plan.Guards[0].Rule + ": " + plan.Guards[0].Detail
	}
	now := k.revision.Cluster
	was := now
	if f := c.state.Following; f != nil {
		was = f.Revision.Cluster
	}
	if now.Sync.Approval != spec.ApprovalManual && was.Sync.Approval != spec.ApprovalManual {
		return ""
	}
	if idle(plan) && was != now && reflect.DeepEqual(was.Sync, now.Sync) && reflect.DeepEqual(was.Policy, now.Policy) {
		return "" // nothing to approve
	}
	return "sync approval is manual"
}

// idle reports whether a plan does nothing, and nothing is in its way.
func idle(plan *spec.Plan) bool {
	return len(plan.Schedules) == 0 && !slices.ContainsFunc(plan.Apps, func(a spec.AppPlan) bool { return !a.Idle() })
}

// follow makes a revision the one that decides; d is what it amounts to.
func (c *Core) follow(f Followed, d *desired) {
	c.record(Entry{Followed: &f})
	c.forgetLookups()
	c.desired, c.asked = d, map[spec.AppName]bool{}
	what := "followed"
	if f.Left != "" {
		what = "rolled back to"
	}
	c.tell("commit "+f.Revision.Commit.Short(), what, f.Revision.Subject)
}

// onApprove lets a plan take effect, if it still is what was shown.
func (c *Core) onApprove(e Approve) {
	id := e.ID
	if e.Plan != nil {
		id = e.Plan.ID
	}
	p := c.state.Pending
	if h := c.applied(id); h != nil && (p == nil || p.Plan.ID != id) {
		if f := c.state.Following; e.Now && f.Revision.Commit == h.Commit {
			c.hasten(e)
			return
		}
		c.act(Answer{Request: e.Request, Plan: h.Full, NoOp: true})
		return
	}
	if e.Plan != nil && c.state.Following != nil && e.Plan.Commit == c.state.Following.Revision.Commit && p == nil {
		c.act(Answer{Request: e.Request, NoOp: true})
		return
	}
	shown := e.Plan
	if e.Now && p == nil && id == "" {
		c.hasten(e)
		return
	}
	switch {
	case p == nil:
		c.refuse(e.Request, "no plan waits for approval. Commit a change first, or see stowage history.")
		return
	case !c.settled:
		c.refuse(e.Request, "this master has just begun to lead and waits for its nodes to report. Try again in a few seconds.")
		return
	case shown == nil && id == "":
		c.refuse(e.Request, c.whichPlan(p))
		return
	case shown == nil && id != p.Plan.ID:
		c.refuse(e.Request, fmt.Sprintf("plan %s does not wait for approval; %s does. Look at it with stowage show %s.", id, p.Plan.ID, p.Plan.ID))
		return
	case shown != nil && shown.Commit != p.Revision.Commit:
		c.refuse(e.Request, fmt.Sprintf("the plan is for commit %s, but %s waits for approval. Make a new plan with stowage plan.", shown.Commit.Short(), p.Revision.Commit.Short()))
		return
	case shown == nil:
		shown = &p.Plan
	}
	c.approve(e, p, shown)
}

// whichPlan says which plans could be meant where none is named while one waits: that one, or the one that is followed.
func (c *Core) whichPlan(p *Pending) string {
	text := fmt.Sprintf("no plan is named, and plan %s waits for approval. Approve it with stowage apply --now %s", p.Plan.ID, p.Plan.ID)
	if f := c.state.Following; f != nil && c.applied(f.Plan.ID) != nil {
		text += fmt.Sprintf(", or let what is followed already wait for no window with stowage apply --now %s", f.Plan.ID)
	}
	return text + "."
}

// hasten lets the changes of the revision that is followed wait for no window.
func (c *Core) hasten(e Approve) {
	f := c.state.Following
	switch {
	case f == nil:
		c.refuse(e.Request, "no commit is followed yet, so nothing waits for a window. See stowage status.")
		return
	case f.atOnce():
		c.act(Answer{Request: e.Request, NoOp: true})
		return
	}
	c.record(Entry{Hastened: &Hastened{f.Revision.Commit, e.By}})
	c.tell("commit "+f.Revision.Commit.Short(), "waits for no window any more", e.By)
	in := c.input(c.following(), &f.Revision, f.Signed, 0)
	in.AtOnce = true
	plan := c.shadow(in)
	c.act(Answer{Request: e.Request, Plan: &plan})
}

// atOnce reports whether the changes of the revision wait for no window: somebody said so, or went back to it.
func (f *Followed) atOnce() bool { return f.AtOnce || f.Left != "" }

func (c *Core) approve(e Approve, p *Pending, shown *spec.Plan) {
	k := candidateOf(p)
	d := k.desired(c.state.Scales)
	in := c.input(d, &p.Revision, p.Signed, p.Plan.Base.Behind)
	in.AtOnce = e.Now
	plan := c.shadow(in)
	var differs []string
	if e.Mode == ModeExact {
		if plan.ID != shown.ID {
			differs = append(difference(shown, &plan), moved(shown, &plan)...)
		}
	} else {
		differs = beyond(shown, &plan)
	}
	if len(differs) > 0 {
		if plan.ID != p.Plan.ID {
			c.record(Entry{Pending: &Pending{Revision: p.Revision, Expansions: p.Expansions, Images: p.Images, Plan: plan, Why: p.Why, Signed: p.Signed}})
		}
		c.act(Answer{Request: e.Request, Plan: &plan, Differs: differs, Err: fmt.Sprintf(
			"plan %s is stale: the cluster has moved since. Look at the new plan with stowage show %s, and apply that.", shown.ID, plan.ID)})
		return
	}
	f := Followed{Revision: p.Revision, Expansions: p.Expansions, Images: p.Images, Plan: plan, Signed: p.Signed, By: e.By, Mode: e.Mode, AtOnce: e.Now}
	if f.By == "" {
		f.By = "somebody"
	}
	if plan.ID != shown.ID {
		f.Shown = shown.ID
	}
	c.follow(f, d)
	c.act(Answer{Request: e.Request, Plan: &plan})
}

// renew plans what waits for approval again after nodes came, went or changed, or policy plugins did. A plan that would
// do the same keeps its ID, so that it can be approved as it was shown.
func (c *Core) renew() {
	p := c.state.Pending
	if p == nil || c.renewAt == 0 || c.now < c.renewAt || c.candidate != nil {
		return
	}
	c.renewAt = 0
	k := candidateOf(p)
	plan := c.shadow(c.input(k.desired(c.state.Scales), &p.Revision, p.Signed, p.Plan.Base.Behind))
	if len(difference(&p.Plan, &plan)) == 0 && plan.Summary == p.Plan.Summary {
		return
	}
	c.record(Entry{Pending: &Pending{Revision: p.Revision, Expansions: p.Expansions, Images: p.Images, Plan: plan, Why: p.Why, Signed: p.Signed}})
	c.tell("commit "+p.Revision.Commit.Short(), "plan "+string(plan.ID)+" waits for approval", "the cluster has changed since plan "+string(p.Plan.ID))
}

// outdate has what waits for approval planned again soon: nodes often come and go together.
func (c *Core) outdate() {
	if c.state.Pending != nil && c.renewAt == 0 {
		c.renewAt = c.now.Add(max(RenewAfter, PlanGap*spec.Duration(len(c.current))/100))
	}
}

func candidateOf(p *Pending) *candidate {
	k := &candidate{revision: p.Revision, signed: p.Signed, expansions: map[spec.AppName]*spec.Expansion{}, digests: p.Images}
	for i := range p.Expansions {
		k.expansions[p.Expansions[i].Name] = &p.Expansions[i]
	}
	return k
}

// applied finds a plan that took effect.
func (c *Core) applied(id spec.PlanID) *HistoryEntry {
	for i := len(c.state.History) - 1; i >= 0; i-- {
		if h := &c.state.History[i]; id != "" && (h.Plan == id || h.Shown == id) {
			return h
		}
	}
	return nil
}

// step identifies a change for comparing plans: whether it is another node does not matter.
type step struct {
	slot spec.Slot
	kind spec.ChangeKind
}

func steps(p *spec.Plan) map[step]*spec.Change {
	out := map[step]*spec.Change{}
	for i := range p.Apps {
		for k := range p.Apps[i].Changes {
			ch := &p.Apps[i].Changes[k]
			if !p.Apps[i].Run && ch.Kind != spec.ChangeStay && ch.Kind != spec.ChangeBlocked {
				out[step{ch.Slot, ch.Kind}] = ch
			}
		}
	}
	return out
}

// preempted are the allocations that stop so that others have room.
func preempted(p *spec.Plan) map[spec.AllocationID]bool {
	out := map[spec.AllocationID]bool{}
	for i := range p.Apps {
		for k := range p.Apps[i].Changes {
			for _, v := range p.Apps[i].Changes[k].Victims {
				out[v.ID] = true
			}
		}
	}
	return out
}

// beyond lists what now does and shown does not say.
func beyond(shown, now *spec.Plan) []string {
	said, gone := steps(shown), preempted(shown)
	var out []string
	for i := range now.Apps {
		for k := range now.Apps[i].Changes {
			ch := &now.Apps[i].Changes[k]
			if !now.Apps[i].Run && ch.Kind != spec.ChangeStay && ch.Kind != spec.ChangeBlocked && said[step{ch.Slot, ch.Kind}] == nil {
				out = append(out, fmt.Sprintf("now also: %s %s (%s)", ch.Kind, ch.Slot, ch.Reason))
			}
			for _, v := range ch.Victims {
				if !gone[v.ID] {
					out = append(out, fmt.Sprintf("now also: %s is preempted for %s", v.ID, ch.Slot))
				}
			}
		}
	}
	for _, g := range now.Guards {
		if !slices.ContainsFunc(shown.Guards, func(o spec.Guard) bool { return o.Rule == g.Rule }) {
			out = append(out, "now crosses the limit "+g.Rule+": "+g.Detail)
		}
	}
	return out
}

// difference lists all that differs between two plans' changes.
func difference(shown, now *spec.Plan) []string {
	out := beyond(shown, now)
	does := steps(now)
	for i := range shown.Apps {
		for k := range shown.Apps[i].Changes {
			ch := &shown.Apps[i].Changes[k]
			if shown.Apps[i].Run || ch.Kind == spec.ChangeStay || ch.Kind == spec.ChangeBlocked {
				continue
			}
			other := does[step{ch.Slot, ch.Kind}]
			if other == nil {
				out = append(out, fmt.Sprintf("no longer: %s %s", ch.Kind, ch.Slot))
			} else if other.Node != ch.Node {
				out = append(out, fmt.Sprintf("%s %s: on %s instead of %s", ch.Kind, ch.Slot, other.Node, ch.Node))
			}
		}
	}
	return out
}

// moved lists what two plans rest on where that differs.
func moved(shown, now *spec.Plan) []string {
	var out []string
	if shown.Base.Commit != now.Base.Commit {
		out = append(out, fmt.Sprintf("followed then: %s; now: %s", shown.Base.Commit.Short(), now.Base.Commit.Short()))
	}
	if shown.Base.Generation != now.Base.Generation {
		out = append(out, fmt.Sprintf("decisions were made since: generation %d, then %d", shown.Base.Generation, now.Base.Generation))
	}
	if shown.Base.Nodes != now.Base.Nodes {
		out = append(out, "the nodes, their states or their resources have changed")
	}
	if !slices.Equal(shown.Policies, now.Policies) {
		out = append(out, "another version of a policy runs")
	}
	return out
}

// onRollback follows an older revision.
func (c *Core) onRollback(e Rollback) {
	switch f := c.state.Following; {
	case e.Revision.Cluster == nil:
		c.refuse(e.Request, "commit "+e.Revision.Commit.Short()+" cannot be used: "+firstError(e.Revision.Diagnostics)+" Choose another one from stowage history.")
	case f != nil && f.Revision.Commit == e.Revision.Commit:
		c.act(Answer{Request: e.Request, NoOp: true})
	default:
		c.candidate = c.newCandidate(e.Revision, e.Signed, 0)
		c.candidate.rollback = &e
		if p := c.state.Pending; p != nil {
			c.record(Entry{Dropped: &Dropped{p.Plan.ID, "rolled back to " + e.Revision.Commit.Short()}})
		}
	}
}

// onResume ends a rollback.
func (c *Core) onResume(e Resume) {
	if c.state.Following == nil || c.state.Following.Left == "" {
		c.act(Answer{Request: e.Request, NoOp: true})
		return
	}
	c.record(Entry{Resumed: &Resumed{}})
	c.act(Answer{Request: e.Request})
}

func (c *Core) refuse(r Request, err string) {
	c.tell("request", "refused", err)
	c.act(Answer{Request: r, Err: err})
}
