package reconcile_test

import (
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

// gang makes an app of which all or nothing is placed.
func gang(name string, count int, cpu float64) *spec.App {
	a := needs("default", name, count, cpu, 0, 0)
	a.Gang, a.Update.Strategy = true, spec.StrategyRecreate
	return a
}

func (l *lab) has(app string, n int) {
	l.t.Helper()
	if got := len(l.live(app)); got != n {
		l.t.Errorf("%s has %d, want %d", app, got, n)
	}
}

func TestAGangStartsAsOne(t *testing.T) {
	l := cluster(t, node("n1", 2000, spec.TiB), node("n2", 1000, spec.TiB))
	l.commit(gang("train", 4, 1))
	p := l.step()
	l.has("train", 0)
	b := blocked(p, "train")
	if b == nil || len(b.Slots) != 4 || b.Fits != 3 || b.Reasons[0].Rule != "gang: 3 of 4 would fit, and none starts without the others" ||
		b.Reasons[0].Detail != "train[0..2] would fit, train[3] would not" || b.Reasons[1].Rule != "cpu" {
		t.Fatalf("%+v", b)
	}
	l.in.Nodes = append(l.in.Nodes, node("n3", 1000, spec.TiB))
	l.step()
	l.has("train", 4)
	l.settle()
	l.commit(gang("train", 6, 1)) // more of it: the two new ones as one
	l.step()
	l.has("train", 4)
}

// TestAGangTakesItsTurnAsOne: under contention a gang is served whole when it is next, and leaves all to others when it
// does not fit.
func TestAGangTakesItsTurnAsOne(t *testing.T) {
	l := cluster(t, pool(10, 100, 0))
	l.commit(gang("a", 4, 1), needs("default", "b", 20, 1, 0, 0))
	l.step()
	l.has("a", 4)
	l.has("b", 6)
	l = cluster(t, pool(10, 100, 0))
	l.commit(gang("a", 11, 1), needs("default", "b", 20, 1, 0, 0))
	l.step()
	l.has("a", 0)
	l.has("b", 10)
	// Two gangs never hold each other up with halves.
	l = cluster(t, pool(10, 100, 0))
	l.commit(gang("a", 6, 1), gang("b", 6, 1))
	l.step()
	l.has("a", 6)
	l.has("b", 0)
}

func TestAGangIsReplacedAsOne(t *testing.T) {
	l := cluster(t, node("n1", 2000, spec.TiB), node("n2", 2000, spec.TiB))
	a := gang("train", 4, 1)
	l.commit(a)
	l.settle()
	l.commit(edit(a, command("v2"))) // there is room only where the old ones were
	p := l.step()
	if now(p, spec.ChangeReplace) != 4 {
		t.Fatalf("%s", show(p))
	}
	l.settle()
	if r := l.running("train"); r["v2"] != 4 || len(r) != 1 {
		t.Fatalf("running %v", r)
	}
	// What does not fit as a whole replaces nothing: the old ones work on.
	l.commit(edit(a, func(a *spec.App) { command("v3")(a); a.Tasks[0].CPU = 1500 }))
	p = l.step()
	b := blocked(p, "train")
	if p.Summary.Changes() != 0 || b == nil || b.Fits != 2 {
		t.Fatalf("%+v\n%s", b, show(p))
	}
	l.world()
	if r := l.running("train"); r["v2"] != 4 || len(r) != 1 {
		t.Fatalf("running %v", r)
	}
}

func TestALostMemberOfAGangIsReplaced(t *testing.T) {
	l := cluster(t, node("n1", 2000, spec.TiB), node("n2", 2000, spec.TiB), node("n3", 1000, spec.TiB))
	l.commit(gang("train", 4, 1))
	l.settle()
	if w := l.where("train"); w["n1"] != 2 || w["n2"] != 1 && w["n3"] != 1 {
		t.Logf("on %v", w)
	}
	// Two are lost where one would fit: neither is replaced, and those that run are left alone.
	lost := l.where("train")["n2"]
	l.lose("n2")
	p := l.step()
	if b := blocked(p, "train"); lost == 2 && (b == nil || b.Fits != 1 || p.Summary.Start != 0 || p.Summary.Stop != 0) {
		t.Fatalf("%s", show(p))
	}
	l.in.Nodes = append(l.in.Nodes, node("n4", 2000, spec.TiB))
	l.in.Nodes[3].LastSeen = l.in.Now
	l.settle()
	if l.where("train")["n2"] != 0 && len(l.live("train")) < 4 {
		t.Fatalf("%v", l.where("train"))
	}
}

// TestAGangWaitsForItself: while a slot backs off after a failure, the others that are missing wait with it.
func TestAGangWaitsForItself(t *testing.T) {
	l := cluster(t, node("n1", 8000, spec.TiB))
	a := gang("train", 3, 1)
	l.commit(a)
	l.settle()
	l.live("train")[0].State, l.in.Current[0].Healthy, l.in.Current[0].Since = spec.StateFailed, false, l.in.Now
	l.commit(edit(a, count(5)))
	p := l.step()
	b := blocked(p, "train")
	if p.Summary.Start != 0 || b == nil || b.After == 0 || !strings.HasPrefix(b.Reasons[0].Rule, "gang: it waits for one of its slots") {
		t.Fatalf("%+v\n%s", b, show(p))
	}
	for range 3 {
		l.step()
		l.world()
		l.advance(11 * spec.Second)
	}
	l.has("train", 5)
}

func TestAGangPreemptsAsOneAndIsNoVictim(t *testing.T) {
	low := edit(needs("default", "low", 4, 1, 0, 0), func(a *spec.App) { a.Priority, a.Update.MinHealthy = 10, 1 })
	l := cluster(t, node("n1", 2000, spec.TiB), node("n2", 2000, spec.TiB))
	l.in.Desired.Preemption = true
	l.commit(low)
	l.settle()
	high := func(n int) *spec.App { return edit(gang("high", n, 1), func(a *spec.App) { a.Priority = 90 }) }
	l.commit(low, high(5)) // one more than all that could go
	if p := l.step(); len(l.live("high")) != 0 || p.Summary.Changes() != 0 {
		t.Fatalf("%s", show(p))
	}
	l.commit(low, high(3))
	l.step()
	l.has("high", 3)
	l.has("low", 1)
	l.settle()
	// What runs is a gang of low priority now: nobody takes a part of it.
	l = cluster(t, node("n1", 4000, spec.TiB))
	l.in.Desired.Preemption = true
	quiet := edit(gang("quiet", 4, 1), func(a *spec.App) { a.Priority = 10 })
	l.commit(quiet)
	l.settle()
	l.commit(quiet, edit(needs("default", "loud", 1, 1, 0, 0), func(a *spec.App) { a.Priority = 90 }))
	l.step()
	l.has("loud", 0)
	l.has("quiet", 4)
}

func TestAGangAndAQuota(t *testing.T) {
	l := cluster(t, pool(10, 100, 0))
	l.in.Desired.Roles = []spec.Role{{Name: "default", Weight: 1, Quota: &spec.Resources{CPU: 3000}}}
	l.commit(gang("train", 4, 1))
	b := blocked(l.step(), "train")
	if b == nil || b.Fits != 3 || len(b.Slots) != 4 {
		t.Fatalf("%+v", b)
	}
}
