package reconcile_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// rollout returns the record of an app.
func (l *lab) rollout(app string) spec.Rollout {
	for _, r := range l.in.Rollouts {
		if r.App == spec.AppName(app) {
			return r
		}
	}
	return spec.Rollout{}
}

// worldExcept lets the nodes follow, but what runs the given command never becomes healthy.
func (l *lab) worldExcept(bad string) {
	for i := range l.in.Current {
		a := &l.in.Current[i]
		if a.Want == spec.WantRun && l.in.Versions[a.Version].Tasks[0].Command[0] == bad {
			if !a.State.Terminal() {
				a.State = spec.StateRunning
			}
			continue
		}
		l.follow(a)
	}
}

func TestRolloutThatNeverGetsHealthyGoesBack(t *testing.T) {
	l, web := ten(t)
	l.commit(edit(web, command("bad")))
	for range 80 {
		l.step()
		l.worldExcept("bad")
		l.advance(10 * spec.Second)
		if r := l.running("web"); r["v1"] != 10 {
			t.Fatalf("running %v: an old allocation stopped for a bad one", r)
		}
	}
	r := l.rollout("web")
	if r.State != spec.RolloutFailed || !strings.Contains(r.Reason, "10m") || len(l.live("web")) != 10 {
		t.Fatalf("rollout %+v, %d live", r, len(l.live("web")))
	}
	p, _ := l.plan()
	want(t, p, spec.Summary{Failed: 1}) // no flip-flop, and no silence either
	l.commit(edit(web, command("v3")))
	l.settle()
	if r := l.running("web"); r["v3"] != 10 {
		t.Fatalf("running %v, want the newer version", r)
	}
}

// That nothing is left to do does not mean that all is as the commit says: a plan names the app whose rollout has failed,
// what runs instead and what its last allocation ended with.
func TestAFailedRolloutIsInThePlan(t *testing.T) {
	l := newLab(t, 4)
	web := service("web", 2)
	l.commit(web)
	l.settle()
	good := l.live("web")[0].Commit
	l.commit(edit(web, command("bad")))
	for range 70 {
		l.step()
		for _, a := range l.live("web") {
			if l.in.Versions[a.Version].Tasks[0].Command[0] == "bad" {
				l.fail(a)
				a.Reason = `task "t": exit code 1`
			}
		}
		l.worldExcept("bad")
		l.advance(10 * spec.Second)
	}
	p, _ := l.plan()
	want(t, p, spec.Summary{Failed: 1})
	a := &p.Apps[0]
	if !a.Unfinished() || !a.Idle() || a.Older != good || a.Rollout.Failed == "" {
		t.Errorf("the plan says %+v of the rollout %+v", a, a.Rollout)
	}
	if !strings.Contains(a.Rollout.Reason, string(a.Rollout.Failed)) || !strings.Contains(a.Rollout.Reason, "exit code 1") {
		t.Errorf("the reason is %q", a.Rollout.Reason)
	}
	for _, f := range a.Fields {
		if f.Effect != "not carried out" {
			t.Errorf("%s: %s", f.Path, f.Effect)
		}
	}
	// The app moves for another reason: what differs in the spec has no part in it.
	l.drain(string(l.live("web")[0].Node))
	p, _ = l.plan()
	if p.Summary.Move == 0 || len(p.Apps[0].Fields) == 0 || p.Apps[0].Fields[0].Effect != "not carried out" {
		t.Errorf("%+v\n%s", p.Apps[0].Fields, show(p))
	}
	l.in.Drains = nil
	l.commit(web)
	p, _ = l.plan()
	want(t, p, spec.Summary{})
}

func TestHalfwayFailureRestoresWhatWasReplaced(t *testing.T) {
	l, web := ten(t)
	l.commit(edit(web, command("v2")))
	for range 8 {
		l.step()
		l.world()
		l.advance(11 * spec.Second)
	}
	half := l.running("web")
	if half["v2"] == 0 || half["v1"] == 0 {
		t.Fatalf("running %v, want some of both", half)
	}
	for i := range l.in.Current { // from now on the new version is ill
		if a := &l.in.Current[i]; l.in.Versions[a.Version].Tasks[0].Command[0] == "v2" {
			a.Healthy, a.HealthySince = false, 0
		}
	}
	for range 200 {
		l.step()
		l.worldExcept("v2")
		l.advance(11 * spec.Second)
	}
	if r := l.running("web"); r["v1"] != 10 || len(l.live("web")) != 10 || l.rollout("web").State != spec.RolloutFailed {
		t.Fatalf("running %v, rollout %+v", r, l.rollout("web"))
	}
}

func canary(manual bool) func(*spec.App) {
	return func(a *spec.App) {
		a.Update.Strategy, a.Update.Canary, a.Update.AutoPromote = spec.StrategyCanary, 2, !manual
	}
}

func TestCanariesArePromoted(t *testing.T) {
	for _, manual := range []bool{false, true} {
		l, web := ten(t)
		l.commit(edit(web, func(a *spec.App) { command("v2")(a); canary(manual)(a) }))
		want(t, l.step(), spec.Summary{Start: 2})
		l.world()
		l.advance(11 * spec.Second)
		if r := l.running("web"); r["v1"] != 10 || r["v2"] != 2 {
			t.Fatalf("running %v", r)
		}
		if manual {
			for range 100 {
				l.step()
				l.world()
				l.advance(spec.Minute)
			}
			if r := l.running("web"); r["v1"] != 10 || r["v2"] != 2 || l.rollout("web").State != spec.RolloutCanaries {
				t.Fatalf("not promoted, and yet running %v, %+v", r, l.rollout("web"))
			}
			for i := range l.in.Rollouts {
				l.in.Rollouts[i].Promoted = true
			}
		}
		l.settle()
		if r := l.running("web"); r["v2"] != 10 || len(r) != 1 {
			t.Fatalf("manual %v: running %v", manual, r)
		}
		for _, a := range l.live("web") {
			if a.Canary {
				t.Errorf("%s is still a canary", a.ID)
			}
		}
	}
}

func TestFailingCanariesStop(t *testing.T) {
	l, web := ten(t)
	l.commit(edit(web, func(a *spec.App) { command("bad")(a); canary(false)(a) }))
	for range 80 {
		l.step()
		l.worldExcept("bad")
		l.advance(10 * spec.Second)
	}
	if r := l.running("web"); r["v1"] != 10 || len(l.live("web")) != 10 {
		t.Fatalf("running %v, %d live", r, len(l.live("web")))
	}
}

func TestNewerCommitReplacesCanaries(t *testing.T) {
	l, web := ten(t)
	l.commit(edit(web, func(a *spec.App) { command("v2")(a); canary(true)(a) }))
	l.step()
	l.world()
	l.advance(spec.Minute)
	l.commit(edit(web, func(a *spec.App) { command("v3")(a); canary(true)(a) }))
	want(t, l.step(), spec.Summary{Start: 2, Stop: 2})
	l.world()
	l.advance(spec.Minute)
	if r := l.running("web"); r["v1"] != 10 || r["v3"] != 2 || r["v2"] != 0 {
		t.Fatalf("running %v", r)
	}
}

func TestBlueGreen(t *testing.T) {
	l, web := ten(t)
	l.commit(edit(web, func(a *spec.App) { command("v2")(a); a.Update.Strategy = spec.StrategyBlueGreen }))
	l.step()
	l.world()
	if r := l.running("web"); r["v1"] != 10 || r["v2"] != 10 {
		t.Fatalf("running %v, want 10 of both", r)
	}
	l.advance(11 * spec.Second)
	l.settle()
	if r := l.running("web"); r["v2"] != 10 || len(r) != 1 {
		t.Fatalf("running %v", r)
	}
}

func TestOneNodeReplacesInItsOwnRoom(t *testing.T) {
	l := cluster(t, node("n1", 1000, spec.GiB))
	web := asks("web", 1, 800, 800*spec.MiB)
	web.Network.Ports = []spec.PortSpec{{Name: "http", Static: 80, Protocol: spec.TCP}}
	l.commit(web)
	l.settle()
	l.commit(edit(web, command("v2")))
	p := l.step()
	c := p.Apps[0].Changes[0]
	if c.Kind != spec.ChangeReplace || c.KeepOld || len(c.Takeover) != 1 || !c.Now {
		t.Fatalf("%s", show(p))
	}
	l.settle()
	if r := l.running("web"); r["v2"] != 1 {
		t.Fatalf("running %v", r)
	}
}

func TestFullClusterReplacesWithoutTakingTheLast(t *testing.T) {
	l := cluster(t, node("n1", 1000, spec.GiB), node("n2", 1000, spec.GiB))
	web := asks("web", 2, 800, 800*spec.MiB)
	l.commit(web)
	l.settle()
	l.commit(edit(web, command("v2")))
	for range 20 {
		l.step()
		n := 0
		for _, a := range l.live("web") {
			if a.Healthy {
				n++
			}
		}
		if n == 0 {
			t.Fatal("the last healthy allocation was stopped")
		}
		l.world()
		l.world()
		l.advance(11 * spec.Second)
	}
	if r := l.running("web"); r["v2"] != 2 {
		t.Fatalf("running %v", r)
	}
}

func TestDependencyThatNeverComesFails(t *testing.T) {
	l := newLab(t, 3)
	a := service("a", 1)
	a.DependsOn = []spec.Dependency{{App: "db", Deadline: 5 * spec.Minute}}
	l.commit(a, edit(service("db", 1), command("bad")), service("other", 1))
	for range 50 {
		l.step()
		l.worldExcept("bad")
		l.advance(10 * spec.Second)
	}
	r := l.rollout("a")
	if r.State != spec.RolloutFailed || !strings.Contains(r.Reason, "db") || len(l.live("a")) != 0 || len(l.live("other")) != 1 {
		t.Fatalf("%+v", r)
	}
	p, _ := l.plan()
	want(t, p, spec.Summary{Failed: 1}) // what does not happen is not shown, but that it failed
	l.world()                           // db becomes healthy after all
	l.advance(11 * spec.Second)
	l.settle()
	if len(l.live("a")) != 1 {
		t.Fatalf("a does not start: %+v", l.rollout("a"))
	}
}

func TestLostNodeComesBack(t *testing.T) {
	l, _ := ten(t)
	l.lose("n03")
	l.settle()
	if n := len(l.live("web")); n != 11 { // the lost one stays recorded
		t.Fatalf("%d live", n)
	}
	n := l.node("n03")
	n.State, n.LastSeen = spec.NodeReady, l.in.Now
	p := l.step()
	want(t, p, spec.Summary{Stop: 1})
	l.settle()
	if r := l.running("web"); r["v1"] != 10 || len(l.live("web")) != 10 {
		t.Fatalf("running %v", r)
	}
}

func TestOneMissedHeartbeatChangesNothing(t *testing.T) {
	l, _ := ten(t)
	n := l.node("n03")
	n.State = spec.NodeUnknown
	l.advance(12 * spec.Second)
	p, r := l.plan()
	want(t, p, spec.Summary{})
	if r.Next != n.LastSeen.Add(30*spec.Second) {
		t.Fatalf("next %v, want the moment the node counts as lost", r.Next)
	}
}

func TestFailedAllocationBacksOff(t *testing.T) {
	l := newLab(t, 2)
	web := service("web", 1)
	web.Reschedule.Delay = 10 * spec.Second
	l.commit(web)
	l.settle()
	for attempt, delay := 0, 10*spec.Second; attempt < 4; attempt, delay = attempt+1, delay*2 {
		a := l.live("web")[0]
		a.State, a.Healthy, a.Since, a.AllocationStatus.Reason = spec.StateFailed, false, l.in.Now, "exit 1"
		p, r := l.plan()
		if b := blocked(p, "web"); b == nil || b.After != l.in.Now.Add(delay) || r.Next != b.After {
			t.Fatalf("attempt %d: blocked %+v, next %v", attempt, b, r.Next)
		}
		l.advance(delay)
		p = l.step()
		if c := p.Apps[0].Changes[0]; c.Attempt != attempt+1 {
			t.Fatalf("attempt %d, want %d", c.Attempt, attempt+1)
		}
	}
}

func TestDrainWithoutRoomSaysSo(t *testing.T) {
	l := cluster(t, node("n1", 1000, spec.GiB), node("n2", 100, spec.GiB))
	l.commit(asks("web", 1, 800, 100*spec.MiB))
	l.settle()
	l.drain("n1")
	p := l.step()
	want(t, p, spec.Summary{Blocked: 1})
	if len(l.live("web")) != 1 {
		t.Fatal("stopped without a replacement")
	}
	l.in.Drains[0].Deadline = l.in.Now.Add(spec.Hour)
	if _, r := l.plan(); r.Next == 0 {
		t.Fatal("nobody wakes up at the deadline")
	}
	l.advance(spec.Hour)
	l.step()
	if len(l.live("web")) != 0 {
		t.Fatal("the deadline has passed, and it still runs")
	}
}

func TestPruneIsGuarded(t *testing.T) {
	l := newLab(t, 3)
	var apps []*spec.App
	for _, n := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"} {
		apps = append(apps, service(n, 1))
	}
	l.in.Desired.Sync.MaxPrune = spec.Percent{Value: 20}
	l.commit(apps...)
	l.settle()
	for keep, guards := range map[int]int{8: 0, 7: 1, 0: 2} {
		l.commit(apps[:keep]...)
		if p, _ := l.plan(); len(p.Guards) != guards || p.Summary.Stop != 10-keep {
			t.Errorf("%d left: guards %+v, %+v", keep, p.Guards, p.Summary)
		}
	}
	l.in.Desired.Sync.Prune = false
	if p, _ := l.plan(); p.Summary.Stop != 0 || len(p.Apps) == 0 || p.Apps[0].Held == "" {
		t.Errorf("prune is off: %s", show(p))
	}
}

// An app that leaves the repository while it waits for its next attempt, or for a place, is in the plan, once; max_prune counts the one that
// has run.
func TestWhatLeavesWhileNothingOfItRunsIsInThePlan(t *testing.T) {
	l := newLab(t, 3)
	huge := asks("huge", 1, 1_000_000, spec.MiB)
	keep, crash, other := service("keep", 1), service("crash", 1), service("other", 1)
	l.in.Desired.Sync.MaxPrune = spec.Percent{Value: 20}
	l.commit(crash, huge, keep, other)
	l.settle()
	l.fail(l.newest("crash"))
	l.fail(l.newest("other"))
	want(t, l.step(), spec.Summary{Blocked: 3})
	l.commit(keep)
	p := l.step()
	want(t, p, spec.Summary{Forget: 3})
	if len(p.Guards) != 1 || p.Guards[0].Detail != "2 of 3 apps would stop, 20% are allowed at once" {
		t.Errorf("%+v", p.Guards)
	}
	p = l.step()
	if want(t, p, spec.Summary{}); len(p.Apps)+len(p.Guards) > 0 {
		t.Errorf("once it is followed: %s", show(p))
	}
}

func TestMovedRestartsNothing(t *testing.T) {
	l, web := ten(t)
	l.commit(edit(web, func(a *spec.App) { a.Name = "shop/web" }))
	l.in.Desired.Moved = []spec.Moved{{From: "web", To: "shop/web"}}
	p, r := l.plan()
	want(t, p, spec.Summary{})
	if d := reconcile.Decide(l.in, p, r, l.gen+1); len(d.Renamed) != 1 {
		t.Fatalf("%+v", d)
	}
	l.settle()
	if n := len(l.live("shop/web")); n != 10 {
		t.Fatalf("%d live under the new name", n)
	}
}

func TestSystemAppsFollowTheNodes(t *testing.T) {
	l := newLab(t, 3)
	logs := service("logs", 0)
	logs.Kind = spec.KindSystem
	l.commit(logs)
	want(t, l.step(), spec.Summary{Start: 3})
	l.settle()
	l.in.Nodes = append(l.in.Nodes, node("n99", 8000, spec.GiB))
	l.node("n99").LastSeen = l.in.Now
	want(t, l.step(), spec.Summary{Start: 1})
	l.settle()
	l.commit(edit(logs, command("v2")))
	want(t, l.step(), spec.Summary{Replace: 4})
	l.settle()
	if r := l.running("logs"); r["v2"] != 4 || len(r) != 1 {
		t.Fatalf("running %v", r)
	}
	l.drain("n99")
	want(t, l.step(), spec.Summary{Stop: 1})
}

func TestOperatorsRestartStaysInTheBudget(t *testing.T) {
	l, _ := ten(t)
	l.in.Restarts = []reconcile.Restart{{App: "web", Before: l.gen + 1, Reason: "asked"}}
	p := l.step()
	want(t, p, spec.Summary{Replace: 10})
	if now(p, spec.ChangeReplace) != 1 {
		t.Fatalf("%s", show(p))
	}
	l.settle()
	if len(l.in.Restarts) != 0 || len(l.live("web")) != 10 {
		t.Fatalf("wishes %v, %d live", l.in.Restarts, len(l.live("web")))
	}
}

func TestHeldAppsStayAsTheyAre(t *testing.T) {
	l, web := ten(t)
	l.commit(edit(web, command("v2")), service("other", 1))
	l.in.Held = map[spec.AppName]string{"web": "its framework driver is down"}
	p := l.step()
	want(t, p, spec.Summary{Start: 1, Held: 1})
	l.in.Desired.Policy.Name = "gone"
	p, _ = l.plan()
	if len(p.Apps) != 1 || p.Apps[0].App != "web" {
		t.Fatalf("%s", show(p))
	}
	l.commit(web, service("third", 1))
	if p, _ = l.plan(); !strings.Contains(show(p), `"gone\" is not running`) && !strings.Contains(show(p), "is not running") {
		t.Fatalf("%s", show(p))
	}
}

// TestAnEditWithoutAPlaceReplacesAllTheSame: its effect is what it is with room.
func TestAnEditWithoutAPlaceReplacesAllTheSame(t *testing.T) {
	l := cluster(t, equal(2, 4000, spec.TiB)...)
	web := edit(asks("web", 2, 3000, spec.GiB), func(a *spec.App) { a.Update.MinHealthy = 1000 })
	l.commit(web)
	l.settle()
	l.commit(edit(web, command("v2")))
	p, _ := l.plan()
	if b, f := blocked(p, "web"), p.Apps[0].Fields; b == nil || len(b.Slots) != 1 || len(f) != 1 || !strings.HasPrefix(f[0].Effect, "replaces 2,") {
		t.Errorf("%+v\n%s", f, show(p))
	}
}

func TestFieldsTellTheirEffect(t *testing.T) {
	l, web := ten(t)
	l.commit(edit(web, func(a *spec.App) {
		a.Count, a.Tasks[0].Memory = 12, 256*spec.MiB
		a.Tasks[0].Stop.Timeout = 3 * spec.Second
		a.Priority = 60
	}))
	p, _ := l.plan()
	got := ""
	for _, f := range p.Apps[0].Fields {
		got += f.Path + " " + f.From + "→" + f.To + " " + f.Effect + "; "
	}
	if got != "count 10→12 start 2; priority 50→60 nothing restarts; task.t.memory 128MiB→256MiB replaces 10, one at a time; task.t.stop.timeout 0s→3s in place; " {
		t.Fatal(got)
	}
}

func TestCapacityAndFailure(t *testing.T) {
	l := cluster(t, node("n1", 4000, 4*spec.GiB), node("n2", 4000, 4*spec.GiB))
	l.commit(asks("web", 4, 1500, spec.GiB))
	p := l.step()
	if c := p.Capacity; c.Total.CPU != 8000 || c.Before.CPU != 0 || c.After.CPU != 6000 || c.Largest.CPU != 1000 {
		t.Errorf("%+v", c)
	}
	if f := p.Failure; f == nil || f.Displaced != 2 || f.Homeless != 2 {
		t.Errorf("%+v", f)
	}
}

// What is free in one pool is not said to be free in another.
func TestCapacityIsToldByPool(t *testing.T) {
	l := cluster(t, in("gpu", node("g1", 4000, 4*spec.GiB)), node("n1", 8000, 8*spec.GiB), node("n2", 2000, 4*spec.GiB))
	l.commit(asks("web", 1, 1000, spec.GiB))
	l.settle()
	l.commit(asks("web", 3, 3000, spec.GiB))
	p := l.step()
	c := p.Capacity.Pools
	if len(c) != 2 || c[0].Pool != "default" || c[1].Pool != "gpu" {
		t.Fatalf("%+v", c)
	}
	if d := c[0]; d.Total.CPU != 10000 || d.Before.CPU != 1000 || d.After.CPU != 7000 || d.Largest.CPU != 2000 {
		t.Errorf("%+v\n%s", d, show(p))
	}
	if g := c[1]; g.Total.CPU != 4000 || g.Before.CPU != 0 || g.After.CPU != 0 || g.Largest.CPU != 4000 {
		t.Errorf("%+v", g)
	}
	l.in.Nodes = l.in.Nodes[1:]
	if p := l.step(); p.Capacity.Pools != nil {
		t.Errorf("of a single pool it is told twice: %+v", p.Capacity.Pools)
	}
}

// moody is a policy that fails when told to, or answers nonsense.
type moody struct{ answer []place.Pick }

func (m moody) Place(b *place.Batch) ([]place.Pick, error) {
	if m.answer != nil {
		return m.answer, nil
	}
	return nil, errors.New("it crashed")
}

func TestPolicyThatFailsHoldsItsApp(t *testing.T) {
	for name, answer := range map[string][]place.Pick{"it crashed": nil, "node number 99": {{Node: 99}}} {
		l := newLab(t, 3)
		web := service("web", 2)
		l.commit(web)
		l.settle()
		l.in.Policies = map[string]place.Policy{"moody": moody{answer}}
		l.commit(edit(web, func(a *spec.App) { command("v2")(a); a.Policy = &spec.PolicyRef{Name: "moody"} }), service("other", 1))
		p := l.step()
		want(t, p, spec.Summary{Start: 1, Held: 1})
		if !strings.Contains(show(p), name) || l.running("web")["v1"] != 2 {
			t.Fatalf("%s", show(p))
		}
		l.in.Policies["moody"] = place.Spread
		l.settle()
		if l.running("web")["v2"] != 2 {
			t.Fatalf("running %v", l.running("web"))
		}
	}
}

func TestOverdueDrainStartsElsewhere(t *testing.T) {
	l, _ := ten(t)
	l.drain("n03")
	l.in.Drains[0].Deadline = l.in.Now
	want(t, l.step(), spec.Summary{Start: 1, Stop: 1})
	l.settle()
	if l.where("web")["n03"] != 0 || len(l.live("web")) != 10 {
		t.Fatalf("on %v", l.where("web"))
	}
}

func TestAutoscaledCountNeedsNoRollout(t *testing.T) {
	l, web := ten(t)
	good := l.rollout("web")
	l.commit(edit(web, count(12)))
	l.settle()
	if r := l.rollout("web"); r.State != spec.RolloutDone || r.Started != good.Started {
		t.Fatalf("a change of count started a rollout: %+v", r)
	}
}
