package master

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/server"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// handlers does what each route of package api is for.
func (m *Master) handlers() map[string]server.Handler {
	all := map[string]server.Handler{
		"status": server.JSON(m.getStatus), "nodes": server.JSON(m.getNodes), "node": server.JSON(m.getNode),
		"apps": server.JSON(m.getApps), "app": server.JSON(m.getApp), "allocations": server.JSON(m.getAllocations),
		"allocation": server.JSON(m.getAllocation), "explain": server.JSON(m.getExplain), "explainAllocation": server.JSON(m.getExplain),
		"usage": server.JSON(m.getUsage), "files": server.JSON(m.getFiles), "blocked": server.JSON(m.getBlocked), "runs": server.JSON(m.getRuns), "roles": server.JSON(m.getRoles), "history": server.JSON(m.getHistory), "plugins": server.JSON(m.getPlugins),
	}
	for _, more := range []map[string]server.Handler{m.wishes(), m.previews(), m.streams(), m.doors()} {
		maps.Copy(all, more)
	}
	return all
}

func badRequest(message, remedy string) error {
	return &api.Error{Status: http.StatusBadRequest, Message: message, Remedy: remedy}
}

func (m *Master) getStatus(c *server.Call) (any, error) {
	st := api.Status{Version: m.config.Version, Started: m.started, Now: m.now(), Phase: m.trouble.Load().phase, Source: m.source()}
	s, err := m.snapshot(c.Context())
	if err != nil {
		t := m.trouble.Load()
		if t.what != "" {
			st.Waiting = t.what
			st.Problems = []api.Problem{{Subject: "master", What: t.what, Remedy: t.remedy}}
		}
		return st, nil
	}
	if !s.status.Settled {
		st.Phase, st.Waiting = api.PhaseSettling, "for the reports of the agents that may hold allocations"
	}
	st.Source.Head = s.status.Head
	if f := s.following; f != nil {
		st.Cluster = f.Revision.Cluster.Name
		st.Follows = &api.Followed{Commit: f.Revision.Commit, Subject: f.Revision.Subject, Author: f.Revision.Author, Time: f.Revision.Time,
			Signed: f.Signed, Plan: f.Plan.ID, By: f.By, Left: f.Left}
		st.Plan = &s.plan.Summary
	}
	if r := s.status.Failure; r != nil {
		st.Refused = &api.Refused{Commit: r.Commit, Subject: r.Subject, Diagnostics: r.Diagnostics}
	}
	if p := s.pending; p != nil {
		st.Pending = &api.PendingPlan{Plan: p.Plan.ID, Commit: p.Revision.Commit, Subject: p.Revision.Subject, Why: p.Why, Summary: p.Plan.Summary}
	}
	st.Nodes, st.Work, st.Runs = s.countNodes(), s.countWork(), s.countRuns()
	st.Waits = s.waits()
	st.Problems = m.problems(s, &st, m.standing(c.Context(), s))
	return st, nil
}

func (m *Master) source() api.Source {
	r := m.config.Repository
	s := api.Source{URL: publicURL(r.URL), Branch: r.Branch, Path: m.config.Path}
	if at := m.repo.LastContact(); !at.IsZero() {
		s.Contact = spec.TimeOf(at)
	}
	return s
}

// publicURL leaves out credentials that somebody wrote into a URL.
func publicURL(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return url
	}
	authority, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = authority[i+1:]
	}
	return scheme + "://" + authority + "/" + path
}

func (s *snapshot) countNodes() (n api.NodeCounts) {
	for i := range s.nodes {
		switch s.nodes[i].State {
		case spec.NodeReady:
			n.Ready++
		case spec.NodeDraining:
			n.Draining++
		case spec.NodeDrained:
			n.Drained++
		case spec.NodeUnknown:
			n.Unknown++
		case spec.NodeDown:
			n.Down++
		}
	}
	return n
}

func (s *snapshot) countWork() api.WorkCounts {
	w := api.WorkCounts{Apps: len(s.apps), States: map[spec.State]int{}}
	for i := range s.plan.Apps {
		if b := s.plan.Apps[i].Blocked; b != nil {
			w.Blocked, w.Leaving, w.Kept = w.Blocked+b.Homeless(), w.Leaving+b.Leaving, w.Kept+b.Kept
		}
	}
	for i := range s.apps {
		w.Looping += len(s.loops(s.apps[i].App))
		if s.apps[i].Held != "" {
			w.Held++
		}
	}
	for i := range s.allocations {
		a := &s.allocations[i]
		w.States[a.State]++
		if a.State.Terminal() {
			continue
		}
		w.Allocations++
		if a.State == spec.StateRunning {
			w.Running++
		}
		if a.Healthy {
			w.Healthy++
		}
	}
	return w
}

// problems lists what a person should look at, worst first.
func (m *Master) problems(s *snapshot, st *api.Status, misplaced []spec.Misplaced) (list []api.Problem) {
	add := func(subject, what, remedy string) {
		list = append(list, api.Problem{Subject: subject, What: what, Remedy: remedy})
	}
	if e := s.status.Contact.Err; e != "" {
		st.Source.Error = e
		add("repository", e, "")
	}
	if r := st.Refused; r != nil {
		n := 0
		for _, d := range r.Diagnostics {
			if d.Severity == spec.SeverityError {
				n++
			}
		}
		add("commit "+r.Commit.Short(), "it cannot be used: "+spec.Plural(n, "error")+"; the last good one stays", "stowage status shows them; mend them and commit")
	}
	for i := range s.nodes {
		if n := &s.nodes[i]; n.State == spec.NodeUnknown || n.State == spec.NodeDown {
			add(string(n.ID), "not in touch since "+n.LastSeen.Std().Format("2006-01-02 15:04:05"), "look at the agent there; stowage node remove "+string(n.ID)+" if it is gone for good")
		}
	}
	for i := range s.drains {
		if d := &s.drains[i]; d.Wait != nil && d.Wait.Opens == 0 {
			add(string(d.Node), "its drain waits for "+d.Wait.Text, fmt.Sprintf("stowage drain %s lets it begin now, stowage undrain %[1]s takes it back", d.Node))
		}
	}
	for i := range s.runs {
		v := &s.runs[i]
		if v.Schedule == nil && v.Root == "" {
			continue // the app is gone, and nothing that anybody commits would make this go away
		}
		if r := lastRun(v); r != nil && r.State == spec.RunFailed {
			add(string(r.App), "its last run failed: "+r.Reason, "stowage explain "+string(r.Name))
		}
	}
	for i := range s.apps {
		a := &s.apps[i]
		failed := failed(a.Rollout)
		if failed {
			add(string(a.App), "rollout failed: "+a.Rollout.Reason+s.said(a.Rollout.Failed), logsOf(a.Rollout.Logs, "mend it and commit"))
		}
		loops := s.loops(a.App)
		if len(loops) > 0 {
			list = append(list, looping(a.App, loops))
		}
		switch {
		case a.Held != "":
			add(string(a.App), "held: "+a.Held, "stowage explain "+string(a.App))
		case a.Blocked > 0 && !((failed || len(loops) > 0) && s.backsOff(a.App)):
			add(s.blocked(a))
		case !failed && len(loops) == 0:
			if slot, what := s.ailing(a.App); what != "" {
				add(string(a.App), what, "stowage explain "+slot.String())
			}
		}
	}
	for i := 0; i < len(misplaced); {
		first, n := &misplaced[i], 1
		for ; i+n < len(misplaced) && misplaced[i+n].Slot.App == first.Slot.App; n++ {
		}
		what := first.String()
		if n > 1 {
			what += more(n - 1)
		}
		add(string(first.Slot.App), what, mendMisplaced+string(first.Slot.App))
		i += n
	}
	return list
}

// failed reports whether a rollout, if there is one, did not bring what its commit asks for.
func failed(r *spec.Rollout) bool {
	return r != nil && (r.State == spec.RolloutFailed || r.State == spec.RolloutReverting)
}

// mendMisplaced is what to do about an allocation that stands where its rules no longer allow.
const mendMisplaced = "nothing moves by itself: stowage rebalance moves what it may, stowage restart "

// saidLast is the last line of a failed task as the end of a sentence.
func saidLast(line string) string {
	if line == "" {
		return ""
	}
	return "; it said last: " + line
}

// said is the same of an allocation.
func (s *snapshot) said(id spec.AllocationID) string {
	if id == "" {
		return ""
	}
	for i := range s.allocations {
		if a := &s.allocations[i]; a.ID == id {
			return saidLast(a.Said())
		}
	}
	return ""
}

// blocked says why slots of an app do nothing: after a failure they wait, otherwise they have no place.
func (s *snapshot) blocked(a *control.AppView) (subject, what, remedy string) {
	subject, what, remedy = string(a.App), fmt.Sprintf("%s blocked", spec.Plural(a.Blocked, "slot")), "stowage explain "+string(a.App)
	if p := planOf(&s.plan, a.App); p != nil && p.Blocked != nil {
		what = lacking(p.Blocked)
	}
	if s.backsOff(a.App) {
		f := planOf(&s.plan, a.App).Blocked.Failed
		what = fmt.Sprintf("%s failed on %s and waits for its next attempt: %s", f.Slot, f.Node, f.Why) + s.said(f.ID)
		if n := a.Blocked - 1; n > 0 {
			what += more(n)
		}
		remedy = logsOf(f.Logs, remedy)
	}
	return subject, what, remedy
}

// backsOff reports whether all slots of an app that do nothing wait before they are tried again.
func (s *snapshot) backsOff(app spec.AppName) bool {
	p := planOf(&s.plan, app)
	return p != nil && p.Blocked != nil && p.Blocked.After != 0 && p.Blocked.Failed != nil
}

// more says that the same holds for others.
func more(n int) string {
	if n == 1 {
		return "; so does 1 more"
	}
	return fmt.Sprintf("; so do %d more", n)
}

// logsOf names the command that shows what an allocation said, if it said anything, and what to do then.
func logsOf(arguments, then string) string {
	if arguments == "" {
		return then
	}
	return "stowage logs " + arguments + "; " + then
}

// lacking says what slots lack: a place at all, or one to go to.
func lacking(b *spec.Blocked) string {
	var parts []string
	for _, part := range []struct {
		n         int
		one, many string
	}{{b.Homeless(), "slot has no place", "slots have no place"}, {b.Leaving, "slot must move and cannot yet", "slots must move and cannot yet"},
		{b.Kept, "slot works and cannot be replaced yet", "slots work and cannot be replaced yet"}} {
		if part.n == 1 {
			parts = append(parts, "1 "+part.one)
		} else if part.n > 1 {
			parts = append(parts, fmt.Sprintf("%d %s", part.n, part.many))
		}
	}
	return strings.Join(parts, ", ")
}

func (m *Master) getNodes(c *server.Call) (any, error) {
	s, err := m.snapshot(c.Context())
	if err != nil {
		return nil, err
	}
	return s.nodeViews(), nil
}

func (s *snapshot) nodeViews() []api.Node {
	list := make([]api.Node, len(s.nodes))
	at := make(map[spec.NodeID]*api.Node, len(s.nodes))
	for i, n := range s.nodes {
		list[i] = api.Node{NodeView: n}
		at[n.ID] = &list[i]
	}
	for i := range s.drains {
		if n := at[s.drains[i].Node]; n != nil {
			n.Drain = &s.drains[i]
		}
	}
	needs := s.needs()
	for i := range s.allocations {
		a := &s.allocations[i]
		if n := at[a.Node]; n != nil && !a.State.Terminal() {
			n.Used = n.Used.Plus(needs(a))
			n.Allocations++
		}
	}
	return list
}

// needs returns a function that tells what an allocation takes: by the spec of its app as it is desired. Versions that
// are on their way out are so for moments only.
func (s *snapshot) needs() func(*spec.AllocationView) spec.Resources {
	of := make(map[spec.AppName]spec.Resources, len(s.apps))
	for i, app := range s.specs {
		if app != nil {
			of[s.apps[i].App] = app.Needs()
		}
	}
	return func(a *spec.AllocationView) spec.Resources { return of[a.App] }
}

func (m *Master) getNode(c *server.Call) (any, error) {
	s, err := m.snapshot(c.Context())
	if err != nil {
		return nil, err
	}
	for _, n := range s.nodeViews() {
		if string(n.ID) == c.PathValue("node") {
			err := m.look(c.Context(), func(core *control.Core) { n.Reservations = core.Reserved(n.ID) })
			return n, err
		}
	}
	return nil, nearest("node", c.PathValue("node"), s.nodeNames(), "see stowage node ls")
}

func (s *snapshot) appView(i int, whole bool) api.App {
	v, app := &s.apps[i], s.specs[i]
	a := api.App{Name: v.App, Kind: v.Kind, Role: v.Role, Count: v.Desired, Running: v.Running, Healthy: v.Healthy, Held: v.Held, Waits: v.Waits, Rollout: v.Rollout}
	if s.following != nil {
		a.Commit = s.following.Revision.Commit
	}
	if app != nil {
		a.Priority, a.Framework, a.Pos = app.Priority, app.Framework, app.Pos
		if whole {
			a.Spec, a.Version = app, app.Hash()
		}
	}
	first, _ := slices.BinarySearchFunc(s.allocations, v.App, func(al spec.AllocationView, n spec.AppName) int { return cmp.Compare(al.App, n) })
	for k := first; k < len(s.allocations) && s.allocations[k].App == v.App; k++ {
		if !s.allocations[k].State.Terminal() {
			a.Live++
		}
	}
	a.Loops = s.loops(v.App)
	if p := planOf(&s.plan, v.App); p != nil {
		a.Blocked, a.Steps, a.Version = p.Blocked, p.Steps, p.Version
		if p.Older != "" {
			a.Commit = p.Older
		}
	}
	return a
}

func (m *Master) getApps(c *server.Call) (any, error) {
	s, err := m.snapshot(c.Context())
	if err != nil {
		return nil, err
	}
	list := make([]api.App, len(s.apps))
	for i := range s.apps {
		list[i] = s.appView(i, false)
	}
	return list, nil
}

func (m *Master) getApp(c *server.Call) (any, error) {
	s, err := m.snapshot(c.Context())
	if err != nil {
		return nil, err
	}
	if i := s.indexOf(spec.AppName(c.PathValue("app"))); i >= 0 {
		return s.appView(i, true), nil
	}
	return nil, nearest("app", c.PathValue("app"), s.appNames(), "see stowage apps")
}

func (s *snapshot) indexOf(app spec.AppName) int {
	i, ok := slices.BinarySearchFunc(s.apps, app, func(a control.AppView, n spec.AppName) int { return cmp.Compare(a.App, n) })
	if !ok {
		return -1
	}
	return i
}

// below reports whether an app is the one named, or lies below that name; "" is above all.
func below(app spec.AppName, name string) bool {
	return name == "" || string(app) == name || strings.HasPrefix(string(app), name+"/")
}

// pick returns the allocations of an app and a node. Ended ones are left out unless asked for, but for those of batch
// work that is done, and those after which a slot waits for its next attempt; of a run that has ended also those, unless it is asked for
// by its name or its app's.
func (s *snapshot) pick(app, node string, ended bool) []spec.AllocationView {
	list := []spec.AllocationView{}
	over := map[spec.AppName]bool{}
	if app == "" && !ended {
		for i := range s.runs {
			for _, r := range s.runs[i].Runs {
				over[r.Name] = r.State.Ended()
			}
		}
	}
	for i := range s.allocations {
		a := &s.allocations[i]
		if below(a.App, app) && (node == "" || string(a.Node) == node) && (ended || !a.State.Terminal() || completed(a) && !over[a.App] || s.retried(i)) {
			list = append(list, *a)
		}
	}
	return list
}

// completed reports whether an allocation that has ended still holds its slot: batch work that is done.
func completed(a *spec.AllocationView) bool {
	return a.State == spec.StateComplete && a.Want == spec.WantRun
}

func (m *Master) getAllocations(c *server.Call) (any, error) {
	s, err := m.snapshot(c.Context())
	if err != nil {
		return nil, err
	}
	q := c.URL.Query()
	ended, err := flag(q.Get("ended"), false)
	if err != nil {
		return nil, err
	}
	list := s.pick(q.Get("app"), q.Get("node"), ended)
	s.sayLoops(list, m.now())
	return list, nil
}

func flag(text string, otherwise bool) (bool, error) {
	if text == "" {
		return otherwise, nil
	}
	b, err := strconv.ParseBool(text)
	if err != nil {
		return false, badRequest(fmt.Sprintf("%q is neither true nor false", text), "")
	}
	return b, nil
}

func number(text string, otherwise int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, badRequest(fmt.Sprintf("%q is no whole number", text), "")
	}
	return n, nil
}

func (m *Master) getAllocation(c *server.Call) (any, error) {
	return m.allocation(c, c.PathValue("id"))
}

// allocation finds an allocation by its ID, or the newest one of a slot.
func (m *Master) allocation(c *server.Call, name string) (spec.AllocationView, error) {
	s, err := m.snapshot(c.Context())
	if err != nil {
		return spec.AllocationView{}, err
	}
	if a := s.find(name); a != nil {
		return *a, nil
	}
	return spec.AllocationView{}, s.notFound("allocation", name, "see stowage ps")
}

// find returns the allocation of that ID, or the one that counts of a slot: the newest that has not ended, else the newest.
func (s *snapshot) find(name string) *spec.AllocationView {
	slot, generation, err := spec.AllocationID(name).Parse()
	byID := err == nil
	if !byID {
		if slot, err = spec.ParseSlot(name); err != nil {
			return nil
		}
	}
	var best *spec.AllocationView
	first, _ := slices.BinarySearchFunc(s.allocations, slot.App, func(a spec.AllocationView, n spec.AppName) int { return cmp.Compare(a.App, n) })
	for i := first; i < len(s.allocations) && s.allocations[i].App == slot.App; i++ {
		a := &s.allocations[i]
		switch {
		case byID && (a.ID == spec.AllocationID(name) || a.Slot == slot && a.Generation == generation):
			return a
		case !byID && a.Slot == slot && (best == nil || !a.State.Terminal() || best.State.Terminal()):
			best = a
		}
	}
	if byID { // a renamed app's allocations keep their IDs
		for i := range s.allocations {
			if s.allocations[i].ID == spec.AllocationID(name) {
				return &s.allocations[i]
			}
		}
	}
	return best
}

func (m *Master) getBlocked(c *server.Call) (any, error) {
	s, err := m.snapshot(c.Context())
	if err != nil {
		return nil, err
	}
	list := []api.BlockedApp{}
	whole := m.whole(c.Context(), s)
	for i := range s.apps {
		a := s.appView(i, false)
		if p := planOf(whole, a.Name); p != nil && p.Blocked != nil && a.Blocked != nil {
			a.Blocked = p.Blocked
		}
		stands := standingOf(m.standing(c.Context(), s), a.Name, nil)
		if !failed(a.Rollout) {
			a.Rollout = nil
		}
		if a.Blocked != nil || a.Held != "" || a.Waits != nil || a.Rollout != nil || len(stands)+len(a.Loops) > 0 {
			list = append(list, api.BlockedApp{App: a.Name, Blocked: a.Blocked, Held: a.Held, Waits: a.Waits, Rollout: a.Rollout, Misplaced: stands, Loops: a.Loops, Pos: a.Pos})
		}
	}
	return list, nil
}

func (m *Master) getHistory(c *server.Call) (any, error) {
	s, err := m.snapshot(c.Context())
	if err != nil {
		return nil, err
	}
	list := make([]api.HistoryEntry, 0, len(s.history))
	for _, h := range slices.Backward(s.history) {
		list = append(list, api.HistoryEntry{Time: h.Time, Commit: h.Commit, Subject: h.Subject, Author: h.Author, Signed: h.Signed,
			By: h.By, Plan: h.Plan, Kept: h.Full != nil, Summary: h.Summary, Nodes: h.Nodes, Left: h.Left})
	}
	return list, nil
}

func (m *Master) getPlugins(*server.Call) (any, error) {
	list := []api.Plugin{}
	for _, p := range m.host.List() {
		reason := p.LastError
		if len(p.LastWords) > 0 && reason != "" {
			reason += "\n" + strings.Join(p.LastWords, "\n")
		}
		list = append(list, api.Plugin{Name: p.Name, Kind: p.Kind, SHA256: p.SHA256, State: string(p.Phase), Reason: reason,
			Version: p.Identity.Version, Pid: p.Pid, Restarts: p.Restarts, Override: p.Override})
	}
	return list, nil
}
