package control

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

const start = spec.Time(1e18)

// rig drives a core, and plays the agents.
type rig struct {
	t       testing.TB
	core    *Core
	now     spec.Time
	entries []Entry
	sends   map[spec.NodeID]spec.Assignment
	answers []Answer
	asks    []Expand
	lookups []Resolve
	wake    spec.Time
	plans   int
}

func newRig(t testing.TB, fresh bool) *rig {
	r := &rig{t: t, now: start, sends: map[spec.NodeID]spec.Assignment{}}
	r.lead(NewState(), fresh)
	return r
}

func (r *rig) lead(state *State, fresh bool) {
	r.wake = 0
	r.core = New(Config{Fresh: fresh, Audit: func(reconcile.Input, spec.Plan, reconcile.Report, *reconcile.Decision) { r.plans++ }}, state, r.now)
	r.step()
}

func (r *rig) step(events ...Event) {
	r.t.Helper()
	r.answers = nil
	before := r.plans
	var proposed []Event
	for i, e := range r.core.Step(r.now, events...) {
		switch e := e.(type) {
		case Record:
			if i != 0 {
				r.t.Error("something comes before what has to be recorded first")
			}
			r.entries = append(r.entries, e.Entries...)
		case Send:
			r.sends[e.Node] = e.Assignment
		case Answer:
			r.answers = append(r.answers, e)
		case Expand:
			r.asks = append(r.asks, e)
		case Resolve:
			r.lookups = append(r.lookups, e)
		case Propose:
			proposed = append(proposed, Proposed{e.Number, reconcile.Rebalance(e.Input, e.Terms)})
		case Wake:
			r.wake = e.At
		}
	}
	if r.plans > before+2 {
		r.t.Errorf("one step made %d plans", r.plans-before)
	}
	if len(proposed) > 0 {
		r.step(proposed...)
	}
}

func (r *rig) advance(d spec.Duration) {
	for end := r.now.Add(d); ; {
		if r.wake == 0 || r.wake > end {
			r.now = end
			return
		}
		r.now = r.wake
		r.wake = 0
		for _, id := range r.core.nodeOrder {
			r.step(NodeSeen{id, r.core.nodes[id].session})
		}
		r.step(Tick{})
	}
}

func (r *rig) join(names ...spec.NodeID) {
	for _, id := range names {
		n := spec.Node{ID: id, Capacity: spec.Resources{CPU: 4000, Memory: 8 * spec.GiB, Disk: spec.TiB}}
		r.step(NodeConnected{id, 1}, NodeReported{id, 1, spec.Report{Full: true, Node: &n}})
	}
}

// obey has every agent run what it was told.
func (r *rig) obey() {
	for _, id := range r.core.nodeOrder {
		a := r.sends[id]
		rep := spec.Report{Generation: a.Generation}
		for _, al := range a.Allocations {
			st := spec.AllocationStatus{State: spec.StateRunning, Healthy: true, HealthySince: r.now, Since: r.now}
			if al.Want == spec.WantStop {
				st = spec.AllocationStatus{State: spec.StateComplete, Since: r.now}
			}
			rep.Allocations = append(rep.Allocations, spec.ReportAllocation{ID: al.ID, Status: st})
		}
		r.step(NodeReported{id, r.core.nodes[id].session, rep})
	}
}

func app(name spec.AppName, count int) *spec.App {
	return &spec.App{Name: name, Kind: spec.KindService, Count: count, Role: spec.DefaultRole, Priority: spec.DefaultPriority,
		Update:     spec.Update{Strategy: spec.StrategyRolling, MaxParallel: 1, HealthyFor: spec.DefaultHealthyFor, Deadline: spec.DefaultUpdateDeadline, AutoRevert: true},
		Restart:    spec.Restart{Attempts: 3, Interval: 10 * spec.Minute, Delay: spec.Second, MaxDelay: spec.Minute},
		Reschedule: spec.Reschedule{After: spec.DefaultRescheduleAfter, Delay: spec.Second, MaxDelay: spec.Minute},
		Network:    spec.Network{Mode: spec.NetworkHost},
		Tasks:      []spec.Task{{Name: "main", Lifecycle: spec.LifecycleMain, CPU: 100, Memory: 64 * spec.MiB, Rootfs: spec.RootfsHost, Command: []string{"true"}}}}
}

func commit(name string, approval spec.Approval, apps ...*spec.App) spec.Revision {
	return spec.Revision{Commit: spec.Commit(strings.Repeat(name, 20)), Subject: name, Cluster: &spec.Cluster{Name: "t",
		Sync:   spec.Sync{Approval: approval, Prune: true, MaxPrune: spec.Percent{Value: 50}},
		Policy: spec.PolicyRef{Name: "binpack"}, Disruption: spec.Disruption{MaxUnavailable: spec.Percent{Value: 10}}, Apps: apps}}
}

// replayed is the state that the journal gives, by way of its bytes.
func (r *rig) replayed() *State {
	s := NewState()
	for _, e := range r.entries {
		b, err := e.Encode()
		if err != nil {
			r.t.Fatal(err)
		}
		if e, err = DecodeEntry(b); err != nil {
			r.t.Fatal(err)
		}
		s.Apply(e)
	}
	return s
}

func (r *rig) sameAsJournal() {
	r.t.Helper()
	live, _ := r.core.State().Encode()
	again, _ := r.replayed().Encode()
	if !bytes.Equal(live, again) {
		r.t.Errorf("the journal gives\n%s\nand not\n%s", again, live)
	}
}

func TestApprovalTwiceIsNoOp(t *testing.T) {
	r := newRig(t, true)
	r.join("n1", "n2")
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalManual, app("web", 2))})
	p := r.core.Pending()
	if p == nil || len(r.core.Allocations()) != 0 {
		t.Fatal("a commit under manual approval does not wait")
	}
	r.step(Approve{Request: 1, ID: "p-other"})
	if len(r.answers) != 1 || r.answers[0].Err == "" {
		t.Errorf("another plan was approved: %+v", r.answers)
	}
	r.step(Approve{Request: 2, ID: p.Plan.ID, Mode: ModeExact, By: "me"})
	if len(r.answers) != 1 || r.answers[0].Err != "" || len(r.core.Allocations()) != 2 {
		t.Fatalf("the approval was answered with %+v", r.answers)
	}
	g := r.core.State().Generation
	r.step(Approve{Request: 3, ID: p.Plan.ID})
	if len(r.answers) != 1 || !r.answers[0].NoOp || r.core.State().Generation != g {
		t.Errorf("the second approval was answered with %+v", r.answers)
	}
	if h := r.core.History(); len(h) != 1 || h[0].Nodes != len(r.core.Nodes()) || h[0].Nodes == 0 || h[0].By != "me" || h[0].Full == nil {
		t.Errorf("the history is %+v", h)
	}
	r.sameAsJournal()
}

func TestBoundedApprovalAllowsOtherNodesAndRefusesMore(t *testing.T) {
	r := newRig(t, true)
	r.join("n1", "n2")
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalManual, app("web", 2))})
	shown := *r.core.Pending()
	r.step(Drain{Nodes: []spec.NodeID{"n1"}})
	r.step(Approve{Request: 1, ID: shown.Plan.ID, Mode: ModeExact})
	if len(r.answers) != 1 || len(r.answers[0].Differs) == 0 || r.core.State().Following != nil {
		t.Fatalf("an exact approval of a stale plan was answered with %+v", r.answers)
	}
	next := r.core.Pending().Plan.ID
	if next == shown.Plan.ID || r.answers[0].Plan.ID != next {
		t.Error("the refusal does not bring the new plan")
	}
	r.step(Approve{Request: 2, Plan: &shown.Plan})
	if len(r.answers) != 1 || r.answers[0].Err != "" {
		t.Fatalf("the same changes on other nodes were refused: %+v", r.answers)
	}
	for _, v := range r.core.Allocations() {
		if v.Node != "n2" {
			t.Errorf("%s is on %s", v.Slot, v.Node)
		}
	}
	less := shown.Plan
	less.ID, less.Apps = "p-less", nil
	r.step(RevisionSeen{Revision: commit("bb", spec.ApprovalManual, app("web", 4))})
	less.Commit = r.core.Pending().Revision.Commit
	r.step(Approve{Request: 3, Plan: &less})
	if len(r.answers) != 1 || len(r.answers[0].Differs) != 2 {
		t.Errorf("more than was shown is answered with %+v", r.answers)
	}
	r.sameAsJournal()
}

// TestGenerationsLeapWhereTheJournalIsEmpty: a master that begins anew before the first node joined has lost nothing as long
// as its journal is there, with what it follows or has waiting; one without a journal may have.
func TestGenerationsLeapWhereTheJournalIsEmpty(t *testing.T) {
	for approval, lost := range map[spec.Approval]bool{spec.ApprovalAuto: false, spec.ApprovalManual: false, "": true} {
		r := newRig(t, true)
		rev := commit("aa", spec.ApprovalAuto, app("web", 1))
		if approval != "" {
			rev = commit("aa", approval, app("web", 1))
			r.step(RevisionSeen{Revision: rev})
			if s := r.core.State(); (s.Following == nil) == (s.Pending == nil) {
				t.Fatalf("%q: followed is %+v, %+v waits", approval, s.Following, s.Pending)
			}
		}
		r.lead(r.replayed(), false)
		r.step(RevisionSeen{Revision: rev})
		r.advance(SettleFor + spec.Second)
		if p := r.core.State().Pending; p != nil {
			r.step(Approve{Request: 1, ID: p.Plan.ID})
		}
		r.join("n1")
		r.advance(spec.Second)
		all := r.core.Allocations()
		if len(all) != 1 || (all[0].Generation > 1000) != lost {
			t.Errorf("%q: lost is %t, and there are %+v", approval, lost, all)
		}
		r.sameAsJournal()
	}
}

func TestEmptyJournalWaitsForAgents(t *testing.T) {
	r := newRig(t, false)
	r.join("n1")
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalAuto, app("web", 2))})
	r.advance(SettleFor - spec.Second)
	if len(r.core.Allocations()) != 0 || r.core.State().Following != nil {
		t.Fatal("something was decided before agents had time to come back")
	}
	// One comes back with what the lost journal had decided.
	a := app("web", 2)
	old := spec.Allocation{ID: "web-0-41", Slot: spec.Slot{App: "web"}, Node: "n2", Generation: 41, Version: a.Hash(), Runtime: a.RuntimeHash(), Want: spec.WantRun}
	n := spec.Node{ID: "n2", Capacity: spec.Resources{CPU: 4000, Memory: 8 * spec.GiB, Disk: spec.TiB}}
	r.step(NodeConnected{"n2", 7}, NodeReported{"n2", 7, spec.Report{Full: true, Node: &n, Generation: 57, Allocations: []spec.ReportAllocation{
		{ID: old.ID, Decided: &old, Spec: a, Status: spec.AllocationStatus{State: spec.StateRunning, Healthy: true, HealthySince: start, Since: start}}}}})
	r.advance(2 * spec.Second)
	all := r.core.Allocations()
	if len(all) != 2 || all[0].ID != old.ID || all[0].Want != spec.WantRun || all[1].Index != 1 || all[1].Generation <= 57 {
		t.Fatalf("after the loss of the journal there are %+v", all)
	}
	if r.sends["n2"].Generation <= 57 {
		t.Error("an assignment is not newer than what the agent follows")
	}
	r.sameAsJournal()
}

func TestNewLeaderWaitsForFullReports(t *testing.T) {
	r := newRig(t, true)
	r.join("n1", "n2")
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalAuto, app("web", 2))})
	r.obey()
	assignment := r.sends["n1"]
	r.sends = map[spec.NodeID]spec.Assignment{}
	r.lead(r.replayed(), true)
	plans := r.plans
	r.step(NodeConnected{"n2", 2}, NodeReported{"n2", 2, spec.Report{Full: true, Generation: assignment.Generation}})
	r.advance(5 * spec.Second)
	if r.plans != plans || len(r.sends) != 0 {
		t.Fatal("a new leader decides before all nodes have reported")
	}
	rep := spec.Report{Full: true, Generation: assignment.Generation}
	for _, al := range assignment.Allocations {
		rep.Allocations = append(rep.Allocations, spec.ReportAllocation{ID: al.ID, Decided: &al, Status: spec.AllocationStatus{State: spec.StateRunning, Healthy: true, HealthySince: start, Since: start}})
	}
	r.step(NodeConnected{"n1", 2}, NodeReported{"n1", 1, spec.Report{Full: true}}, NodeReported{"n1", 2, rep})
	if r.plans == plans {
		t.Error("a new leader does not decide after all nodes have reported")
	}
	if len(r.sends) != 0 || len(r.core.Allocations()) != 2 {
		t.Errorf("a change of leader changed something: %+v", r.sends)
	}
}

func TestForgottenByTheAgentIsLost(t *testing.T) {
	r := newRig(t, true)
	r.join("n1", "n2")
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalAuto, app("web", 1))})
	r.obey()
	was := r.core.Allocations()[0]
	r.step(NodeConnected{was.Node, 2}, NodeReported{was.Node, 2, spec.Report{Full: true, Generation: 0}})
	all := r.core.Allocations()
	if all[0].State != spec.StateLost || r.core.State().Failures != nil {
		t.Errorf("what the agent no longer knows is %s", all[0].State)
	}
	r.advance(2 * spec.Second)
	if all = r.core.Allocations(); len(all) != 2 || all[1].State.Terminal() {
		t.Errorf("the lost one is not replaced: %+v", all)
	}
	r.sameAsJournal()
}

func TestGuardsWaitEvenUnderAuto(t *testing.T) {
	r := newRig(t, true)
	r.join("n1")
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalAuto, app("a", 1), app("b", 1), app("c", 1))})
	r.obey()
	r.step(RevisionSeen{Revision: commit("bb", spec.ApprovalAuto)})
	p := r.core.Pending()
	if p == nil || len(p.Plan.Guards) == 0 {
		t.Fatal("a commit without any app takes effect by itself")
	}
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalAuto, app("a", 1), app("b", 1), app("c", 1))})
	if r.core.Pending() != nil {
		t.Error("a plan waits though the branch went back")
	}
}

// TestWaitingPlanFollowsTheNodes begins with a plan for a cluster without nodes: it is made again when they join.
func TestWaitingPlanFollowsTheNodes(t *testing.T) {
	r := newRig(t, true)
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalManual, app("web", 4))})
	first := r.core.Pending()
	if first == nil || first.Plan.Summary.Blocked != 4 {
		t.Fatalf("without nodes all is blocked: %+v", first)
	}
	plans := r.plans
	r.join("n1", "n2", "n3")
	r.advance(spec.Second)
	p := r.core.Pending()
	if p.Plan.ID == first.Plan.ID || p.Plan.Summary.Start != 4 || p.Plan.Summary.Blocked != 0 {
		t.Fatalf("the plan is not made again when nodes join: %+v", p.Plan.Summary)
	}
	if n := r.plans - plans; n != 1 {
		t.Errorf("three nodes that join together cost %d plans", n)
	}
	again := func(what string, start, blocked int) {
		t.Helper()
		r.advance(spec.Second)
		if s := r.core.Pending().Plan.Summary; s.Start != start || s.Blocked != blocked {
			t.Errorf("%s: %+v", what, s)
		}
	}
	for _, id := range []spec.NodeID{"n1", "n2"} {
		r.step(Drain{Nodes: []spec.NodeID{id}})
	}
	r.step(RemoveNode{Node: "n3"})
	again("no node takes anything", 0, 4)
	r.step(Undrain{Nodes: []spec.NodeID{"n1"}})
	again("one node is back", 4, 0)
	id := r.core.Pending().Plan.ID
	r.step(Undrain{Nodes: []spec.NodeID{"n2"}})
	r.step(Drain{Nodes: []spec.NodeID{"n2"}})
	again("nothing that matters has changed", 4, 0)
	if r.core.Pending().Plan.ID != id {
		t.Error("a plan that does the same has another ID")
	}
	r.step(Approve{Request: 7, ID: id})
	if len(r.answers) != 1 || r.answers[0].Err != "" || len(r.core.Allocations()) != 4 {
		t.Errorf("%+v, %d allocations", r.answers, len(r.core.Allocations()))
	}
	r.sameAsJournal()
}

// What runs on a removed node runs on beside its replacement: a node in touch that has work is drained first.
func TestANodeWithWorkIsNotRemoved(t *testing.T) {
	r := newRig(t, true)
	r.join("n1", "n2")
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalAuto, app("web", 2))})
	r.obey()
	remove := func(n Request) Answer {
		t.Helper()
		r.answers = nil
		r.step(RemoveNode{Request: n, Node: "n1"})
		if len(r.answers) != 1 {
			t.Fatalf("%d answers", len(r.answers))
		}
		return r.answers[0]
	}
	if a := remove(1); !strings.Contains(a.Err, "stowage drain n1") || len(r.core.Nodes()) != 2 {
		t.Fatalf("removed: %+v, %d nodes", a, len(r.core.Nodes()))
	}
	r.step(NodeDisconnected{Node: "n1", Session: 1})
	for r.core.nodes["n1"].state == spec.NodeReady && r.wake != 0 {
		r.now = r.wake
		r.step(NodeSeen{"n2", 1}, Tick{})
	}
	if a := remove(2); a.Err != "" || len(r.core.Nodes()) != 1 {
		t.Fatalf("an unknown node stays: %+v", a)
	}
	r.sameAsJournal()
}

// TestDriverFindsAMistake has a driver complain of its block: the commit is refused like one that cannot be read.
func TestDriverFindsAMistake(t *testing.T) {
	r := newRig(t, true)
	r.join("n1")
	good := commit("aa", spec.ApprovalAuto, app("web", 1))
	good.Cluster.Plugins = []spec.Plugin{{Name: "redis", Kind: spec.PluginFramework}}
	good.Cluster.Frameworks = []spec.Framework{{Driver: "redis", Name: "cache"}}
	r.step(RevisionSeen{Revision: good})
	fine := spec.Expansion{Driver: "redis", Name: "cache", Apps: []*spec.App{app("cache/primary", 1)}}
	r.step(Expanded{good.Commit, fine})
	bad := commit("bb", spec.ApprovalAuto, app("web", 2))
	bad.Cluster.Plugins, bad.Cluster.Frameworks = good.Cluster.Plugins, good.Cluster.Frameworks
	complaint := spec.Expansion{Driver: "redis", Name: "cache", Diagnostics: []spec.Diagnostic{
		{Severity: spec.SeverityError, Summary: "Too few replicas", Detail: "Ask for 3.", Pos: spec.Pos{File: "cache.hcl", Line: 7}}}}
	r.step(RevisionSeen{Revision: bad})
	r.step(Expanded{bad.Commit, complaint})
	r.advance(spec.Minute)
	s := r.core.Status()
	if r.core.State().Following.Revision.Commit != good.Commit || len(r.core.Allocations()) != 2 {
		t.Errorf("the last good commit does not stay: %d allocations", len(r.core.Allocations()))
	}
	if s.Failure == nil || s.Failure.Commit != bad.Commit || len(s.Failure.Diagnostics) != 1 || s.Failure.Diagnostics[0].Pos.Line != 7 {
		t.Errorf("the failure is %+v", s.Failure)
	}
	if why := r.core.Events("", 0); !slices.ContainsFunc(why, func(e spec.Event) bool {
		return e.What == "not used" && strings.Contains(e.Why, "cache.hcl:7: Too few replicas")
	}) {
		t.Errorf("the story does not say where the mistake is: %v", why)
	}
	r.step(Rollback{Request: 9, Revision: bad, Head: bad.Commit})
	r.step(Expanded{bad.Commit, complaint})
	if len(r.answers) != 1 || !strings.Contains(r.answers[0].Err, "cache.hcl:7") {
		t.Errorf("a rollback to it: %+v", r.answers)
	}
	r.step(Expanded{good.Commit, complaint}) // the driver has changed its mind about what is followed
	if x := r.core.State().Expansions["cache"]; !strings.Contains(x.Held, "cache.hcl:7") || len(x.Apps) != 1 {
		t.Errorf("what is followed: %+v", x)
	}
	r.sameAsJournal()
}

func TestFrameworksAreExpandedAndHeld(t *testing.T) {
	r := newRig(t, true)
	r.join("n1")
	rev := commit("aa", spec.ApprovalAuto, app("web", 1))
	rev.Cluster.Plugins = []spec.Plugin{{Name: "redis", Kind: spec.PluginFramework}}
	rev.Cluster.Frameworks = []spec.Framework{{Driver: "redis", Name: "cache"}}
	r.step(RevisionSeen{Revision: rev})
	if len(r.asks) != 1 || r.core.State().Following != nil {
		t.Fatalf("the driver was asked %d times before the commit is planned", len(r.asks))
	}
	if r.wake != 0 && r.wake < r.now.Add(spec.Second) {
		t.Errorf("the core asks for a tick after %s while it waits for the driver", r.wake.Sub(r.now))
	}
	primary := app("cache/primary", 1)
	primary.Framework = "redis cache"
	r.step(Expanded{rev.Commit, spec.Expansion{Driver: "redis", Name: "cache", Apps: []*spec.App{primary}}})
	if len(r.core.Allocations()) != 2 {
		t.Fatalf("there are %d allocations", len(r.core.Allocations()))
	}
	asked := len(r.asks)
	r.obey()
	r.step(Tick{})
	if len(r.asks) == asked || len(r.asks[len(r.asks)-1].Owned) != 1 {
		t.Error("the driver is not asked again when its allocation got healthy")
	}
	r.step(Expanded{rev.Commit, spec.Expansion{Driver: "redis", Name: "cache", Held: "it crashed"}})
	r.advance(spec.Minute)
	held := ""
	for _, v := range r.core.Apps() {
		if v.App == "cache/primary" {
			held = v.Held
		}
	}
	if held != "it crashed" || len(r.core.Allocations()) != 2 {
		t.Errorf("held is %q, with %d allocations", held, len(r.core.Allocations()))
	}
	r.sameAsJournal()
}

func TestNewerFormatsAreRefused(t *testing.T) {
	for _, text := range []string{`{"v":3,"resumed":{}}`, `{"v":1}`, `{`, `{"v":1,"time":"x"}`} {
		if _, err := DecodeEntry([]byte(text)); err == nil {
			t.Errorf("the entry %s is accepted", text)
		}
	}
	if _, err := DecodeState([]byte(`{"format_version":3}`)); err == nil {
		t.Error("a state of a newer format is accepted")
	}
}

// TestTheFirstNodeAfterALongWaitFallsSilent: a master that had nobody to listen to for a while notices all the same.
func TestTheFirstNodeAfterALongWaitFallsSilent(t *testing.T) {
	for _, wait := range []spec.Duration{0, spec.Second, spec.NodeUnknownAfter, 2 * spec.NodeUnknownAfter, spec.Hour} {
		r := newRig(t, true)
		r.advance(wait)
		r.join("n1")
		for r.wake != 0 && r.core.nodes["n1"].state != spec.NodeDown {
			r.now = r.wake
			r.wake = 0
			r.step(Tick{})
		}
		n, _ := r.core.Node("n1")
		if n.State != spec.NodeDown {
			t.Errorf("joined after %s: %s for ever", wait, n.State)
		}
	}
}

func TestStandingStillIsNotTheNodesSilence(t *testing.T) {
	r := newRig(t, true)
	r.join("n1", "n2")
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalAuto, app("web", 2))})
	r.obey()
	r.now = r.wake.Add(5 * spec.Minute)
	r.step(Tick{})
	for _, n := range r.core.Nodes() {
		if n.State != spec.NodeReady {
			t.Errorf("%s is %s because the master stood still", n.ID, n.State)
		}
	}
	for range 11 {
		r.now = r.now.Add(spec.Second)
		r.step(Tick{})
	}
	if n := r.core.Nodes()[0]; n.State != spec.NodeUnknown {
		t.Errorf("%s is %s after a real silence", n.ID, n.State)
	}
}

// TestStandingStillAtTheEndOfASilence: the Wake that was missed is the one for looking at a node that was just not silent.
func TestStandingStillAtTheEndOfASilence(t *testing.T) {
	r := newRig(t, true)
	r.join("n1", "n2")
	r.now = r.now.Add(spec.Second)
	r.step(NodeSeen{"n2", 1})
	if r.wake > r.core.lastSeen(r.core.nodes["n1"]).Add(spec.NodeUnknownAfter) {
		t.Fatalf("the wake is at %s after the beginning, want one for the silence of n1", r.wake.Sub(start))
	}
	r.now = r.wake.Add(5 * spec.Minute)
	r.step(Tick{})
	for _, n := range r.core.Nodes() {
		if n.State != spec.NodeReady {
			t.Errorf("%s is %s because the master stood still", n.ID, n.State)
		}
	}
	for range 11 {
		r.now = r.now.Add(spec.Second)
		r.step(Tick{})
	}
	if n := r.core.Nodes()[0]; n.State != spec.NodeUnknown {
		t.Errorf("%s is %s after a real silence", n.ID, n.State)
	}
}

// big is a cluster at rest.
func big(b *testing.B, nodes, per int) *rig {
	r := newRig(b, true)
	for i := range nodes {
		r.join(spec.NodeID(fmt.Sprintf("n%05d", i)))
	}
	var apps []*spec.App
	for i := range nodes * per / 100 {
		apps = append(apps, app(spec.AppName(fmt.Sprintf("app-%05d", i)), 100))
	}
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalAuto, apps...)})
	r.obey()
	r.advance(spec.Minute)
	return r
}

// BenchmarkStatus takes reports of one allocation each, a thousand at a time, from 1,000 nodes with 20,000 allocations.
func BenchmarkStatus(b *testing.B) {
	r := big(b, 1000, 20)
	all := r.core.Allocations()
	var events []Event
	for i := range 1000 {
		v := &all[i*len(all)/1000]
		st := v.AllocationStatus
		st.Restarts++
		events = append(events, NodeReported{v.Node, 1, spec.Report{Allocations: []spec.ReportAllocation{{ID: v.ID, Status: st}}}})
	}
	b.ResetTimer()
	for range b.N {
		r.now += 1000
		r.core.Step(r.now, events...)
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "status/s")
}

// BenchmarkOne takes single heartbeats: a step without news must not look at the whole cluster.
func BenchmarkOne(b *testing.B) {
	r := big(b, 1000, 20)
	e := NodeSeen{"n00500", 1}
	b.ResetTimer()
	for range b.N {
		r.now++
		r.core.Step(r.now, e)
	}
}

// TestDrainTellsHowFarItIs drains two of three nodes: one allocation moves, one has no room anywhere and says why.
func TestDrainTellsHowFarItIs(t *testing.T) {
	r := newRig(t, true)
	r.join("n1", "n2", "n3")
	big, web := app("big", 2), app("web", 2)
	big.Tasks[0].CPU, web.Tasks[0].CPU = 3000, 1000
	big.Constraints = []spec.Constraint{{Attribute: "node.id", Operator: spec.OpDistinct}}
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalAuto, big, web)})
	r.obey()
	var on []spec.NodeID
	for _, a := range r.core.Allocations() {
		if a.App == "big" {
			on = append(on, a.Node)
		}
	}
	r.step(Drain{Request: 1, Nodes: on, Deadline: spec.Hour, Reason: "rack"})
	if len(r.answers) != 1 || r.answers[0].Err != "" || !slices.Equal(r.answers[0].Nodes, on) {
		t.Fatalf("%+v", r.answers)
	}
	asked := r.now
	r.advance(spec.Second)
	left, moving, waiting := 0, 0, 0
	var waits []spec.DrainStay
	for _, d := range r.core.Drains() {
		left, moving, waiting = left+d.Left, moving+d.Moving, waiting+d.Waiting
		waits = append(waits, d.Stays...)
		if d.Reason != "rack" || d.Deadline != asked.Add(spec.Hour) {
			t.Errorf("%+v", d)
		}
	}
	if left != 4 || moving+waiting != 4 || moving < 1 || waiting < 1 {
		t.Fatalf("%d left, %d moving, %d waiting", left, moving, waiting)
	}
	b := waits[0].Blocked
	if waits[0].Why != "no other node has a place" || b == nil || b.Leaving != 2 || b.Homeless() != 0 || len(b.Groups) == 0 {
		t.Errorf("it waits, and says %+v of %+v", waits[0], b)
	}
	r.step(Undrain{Request: 2, Nodes: []spec.NodeID{"n1", "n9"}})
	if len(r.answers) != 1 || r.answers[0].Err == "" || len(r.core.Drains()) != 2 {
		t.Errorf("an unknown name does not keep the others as they are: %+v", r.answers)
	}
	r.step(Undrain{Request: 3, Nodes: on})
	for range 4 {
		r.obey()
		r.advance(11 * spec.Second)
	}
	for _, a := range r.core.Allocations() {
		if a.Generation > 1 && a.Want == spec.WantRun {
			t.Errorf("%s runs on %s: what has not left should stay", a.ID, a.Node)
		}
	}
	r.sameAsJournal()
}

// TestNodesSeenIsNodeSeenOfEach tells one core of every node by itself and another of all but the silent ones in one
// word: both see the same nodes in the same states at all times.
func TestNodesSeenIsNodeSeenOfEach(t *testing.T) {
	nodes := []spec.NodeID{"n1", "n2", "n3", "n4"}
	random := rand.New(rand.NewPCG(7, 7))
	one, all := newRig(t, true), newRig(t, true)
	for _, r := range []*rig{one, all} {
		r.join(nodes...)
	}
	silent := map[spec.NodeID]bool{}
	for range 2000 {
		id := nodes[random.IntN(len(nodes))]
		switch random.IntN(12) {
		case 0:
			silent[id] = true
		case 1, 2:
			delete(silent, id)
		case 3:
			for _, r := range []*rig{one, all} {
				session := r.core.nodes[id].session
				r.step(NodeDisconnected{id, session})
				if !silent[id] {
					r.step(NodeConnected{id, session + 1}, NodeReported{id, session + 1, spec.Report{Full: true}})
				}
			}
		}
		var each []Event
		var mute []spec.NodeID
		for _, id := range nodes {
			if silent[id] {
				mute = append(mute, id)
			} else if n := one.core.nodes[id]; n.connected {
				each = append(each, NodeSeen{id, n.session})
			}
		}
		one.step(append(each, Tick{})...)
		all.step(NodesSeen{Silent: mute}, Tick{})
		for i := range nodes {
			a, b := one.core.inOrder[i], all.core.inOrder[i]
			if a.state != b.state || a.since != b.since || a.connected && one.core.lastSeen(a) != all.core.lastSeen(b) {
				t.Fatalf("%s is %s since %d, last seen %d, and in one word %s since %d, last seen %d", a.id, a.state, a.since, one.core.lastSeen(a), b.state, b.since, all.core.lastSeen(b))
			}
		}
		step := spec.Duration(1+random.IntN(4)) * spec.Second / 2
		one.now, all.now = one.now.Add(step), all.now.Add(step)
	}
}

// TestWrongClockOfANodeIsPutRight hears from a node whose clock is an hour ahead: what it says is healthy since is taken
// by the distance between the clocks.
func TestWrongClockOfANodeIsPutRight(t *testing.T) {
	r := newRig(t, true)
	r.join("n1")
	r.step(RevisionSeen{Revision: commit("a", spec.ApprovalAuto, app("web", 1))})
	r.advance(spec.Second)
	ahead := r.now.Add(spec.Hour)
	rep := spec.Report{Generation: r.sends["n1"].Generation, Sent: ahead, Allocations: []spec.ReportAllocation{{
		ID: r.sends["n1"].Allocations[0].ID, Status: spec.AllocationStatus{State: spec.StateRunning, Healthy: true, HealthySince: ahead.Add(-spec.Minute), Since: ahead}}}}
	r.step(NodeReported{"n1", 1, rep})
	v := r.core.Allocations()[0]
	if want := r.now.Add(-spec.Minute); v.HealthySince != want || v.Since != r.now {
		t.Errorf("healthy since %s and running since %s, want %s and %s", v.HealthySince.Std(), v.Since.Std(), want.Std(), r.now.Std())
	}
}

// TestRebalancingIsAWish: it is in the journal with its moves, outlives the leader, needs to be seen first where approval
// is manual, and can be ended.
func TestRebalancingIsAWish(t *testing.T) {
	r := newRig(t, true)
	r.join("n1", "n2")
	small, web := app("small", 1), app("web", 1)
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalManual, small, web)})
	r.advance(spec.Second)
	r.step(Approve{ID: r.core.Pending().Plan.ID})
	settle := func() {
		for range 4 {
			r.advance(11 * spec.Second)
			r.obey()
		}
	}
	settle()
	r.step(Rebalance{Request: 1})
	if len(r.answers) != 1 || r.answers[0].Err != "" || !r.answers[0].NoOp {
		t.Fatalf("nothing pays, and the answer is %+v", r.answers)
	}
	// A commit lets small run only where it does not.
	on := spec.NodeID("n1")
	if r.core.Allocations()[0].Node == on {
		on = "n2"
	}
	tied := *small
	tied.Constraints = []spec.Constraint{{Attribute: "node.id", Operator: spec.OpEqual, Value: string(on)}}
	r.step(RevisionSeen{Revision: commit("bb", spec.ApprovalManual, &tied, web)})
	r.advance(spec.Second)
	if p := r.core.Pending(); p != nil {
		r.step(Approve{ID: p.Plan.ID})
	}
	settle()
	r.step(Rebalance{Request: 2})
	a := r.answers[0]
	if a.Err == "" || a.Rebalancing == nil || len(a.Rebalancing.Moves) == 0 || !strings.Contains(a.Err, a.Rebalancing.ID) || r.core.Rebalancing() != nil {
		t.Fatalf("it begins unseen: %+v", a)
	}
	r.step(Rebalance{Request: 3, ID: "r-other"})
	if r.answers[0].Err == "" || r.core.Rebalancing() != nil {
		t.Fatalf("other moves begin: %+v", r.answers)
	}
	r.step(Rebalance{Request: 4, ID: a.Rebalancing.ID, By: "ann"})
	if w := r.core.Rebalancing(); r.answers[0].Err != "" || w == nil || w.By != "ann" || w.Parallel != reconcile.DefaultParallel {
		t.Fatalf("%+v, the wish is %+v", r.answers, r.core.Rebalancing())
	}
	r.sameAsJournal()
	r.step(CancelRebalance{Request: 5})
	if r.answers[0].Err != "" || r.core.Rebalancing() != nil {
		t.Fatalf("%+v", r.answers)
	}
	r.step(CancelRebalance{Request: 6})
	if !r.answers[0].NoOp {
		t.Fatalf("%+v", r.answers)
	}
	settle() // what was on its way is back
	r.step(Rebalance{Request: 7, ID: a.Rebalancing.ID})
	if r.answers[0].Err != "" {
		t.Fatal(r.answers[0].Err)
	}
	settle()
	settle()
	if r.core.Rebalancing() != nil {
		t.Fatalf("it does not end: %+v", r.core.Rebalancing())
	}
	for _, v := range r.core.Allocations() {
		if v.App == "small" && v.Want == spec.WantRun && v.Node != on {
			t.Errorf("%s is on %s", v.ID, v.Node)
		}
	}
	r.sameAsJournal()
}
