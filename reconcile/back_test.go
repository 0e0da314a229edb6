package reconcile_test

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/spec"
)

// strategies are all ways in which an app changes.
var strategies = map[string]func(*spec.App){
	"rolling":                func(*spec.App) {},
	"rolling, two at a time": func(a *spec.App) { a.Update.MaxParallel = 2 },
	"rolling, half healthy":  func(a *spec.App) { a.Update.MinHealthy = 500 },
	"rolling, all healthy":   func(a *spec.App) { a.Update.MinHealthy, a.Update.Surge = 1000, 700 },
	"canary":                 func(a *spec.App) { a.Update.Strategy, a.Update.Canary = spec.StrategyCanary, 2 },
	"canary by hand": func(a *spec.App) {
		a.Update.Strategy, a.Update.Canary, a.Update.AutoPromote = spec.StrategyCanary, 1, false
	},
	"blue and green":              func(a *spec.App) { a.Update.Strategy = spec.StrategyBlueGreen },
	"blue and green by hand":      func(a *spec.App) { a.Update.Strategy, a.Update.AutoPromote = spec.StrategyBlueGreen, false },
	"recreate":                    func(a *spec.App) { a.Update.Strategy = spec.StrategyRecreate },
	"rolling, without going back": func(a *spec.App) { a.Update.AutoRevert = false },
}

// only wants all slots of an app to run one version, healthy, and nothing else of it.
func (l *lab) only(t *testing.T, app string, count int, version, about string) {
	t.Helper()
	seen := map[int]bool{}
	for _, a := range l.live(app) {
		if v := l.in.Versions[a.Version].Tasks[0].Command[0]; seen[a.Index] || !a.Healthy || a.Canary || v != version || a.Index >= count {
			t.Fatalf("%s: %s runs %s, healthy %v, a canary %v", about, a.ID, v, a.Healthy, a.Canary)
		}
		seen[a.Index] = true
	}
	if len(seen) != count {
		t.Fatalf("%s: %d slots, want %d", about, len(seen), count)
	}
}

// TestThereAndBackInEveryStrategy commits a version and goes back to the one before at every moment of its rollout, the
// new one healthy or not: what runs in the end is what ran at the beginning, and nothing is left over.
func TestThereAndBackInEveryStrategy(t *testing.T) {
	for about, set := range strategies {
		for _, works := range []bool{true, false} {
			for at := range 9 {
				about := fmt.Sprintf("%s, works %v, back after %d turns", about, works, at)
				l := newLab(t, 6)
				web := edit(service("web", 4), set)
				l.commit(web)
				l.settle()
				first := l.where("web")
				l.commit(edit(web, command("v2")))
				l.play(at, works)
				l.commit(web)
				l.settle()
				l.only(t, "web", 4, "v1", about)
				if r := l.in.Rollouts[0]; r.State != spec.RolloutDone {
					t.Fatalf("%s: the rollout is %s: %s", about, r.State, r.Reason)
				}
				if at == 0 && fmt.Sprint(l.where("web")) != fmt.Sprint(first) {
					t.Fatalf("%s: on %v, before on %v", about, l.where("web"), first)
				}
			}
		}
	}
}

// play lets turns pass in which what runs v2 gets healthy or not.
func (l *lab) play(turns int, works bool) {
	for range turns {
		l.step()
		for i := range l.in.Current {
			if a := &l.in.Current[i]; works || a.Want == spec.WantStop || l.in.Versions[a.Version].Tasks[0].Command[0] != "v2" {
				l.follow(a)
			}
		}
		l.advance(11 * spec.Second)
	}
}

// TestARolloutIsOvertakenAtAnyMoment commits a third version while the second rolls out, has canaries, fails or goes
// back: the third is what runs in the end, and the second is gone.
func TestARolloutIsOvertakenAtAnyMoment(t *testing.T) {
	for about, set := range strategies {
		for _, works := range []bool{true, false} {
			for at := range 9 {
				about := fmt.Sprintf("%s, works %v, overtaken after %d turns", about, works, at)
				l := newLab(t, 6)
				web := edit(service("web", 4), func(a *spec.App) { set(a); a.Update.Deadline = 30 * spec.Second })
				l.commit(web)
				l.settle()
				l.commit(edit(web, command("v2")))
				l.play(at, works)
				l.commit(edit(web, command("v3")))
				for range 3 { // a person promotes what waits for one
					l.settle()
					for i := range l.in.Rollouts {
						l.in.Rollouts[i].Promoted = true
					}
				}
				l.only(t, "web", 4, "v3", about)
			}
		}
	}
}

// TestAFailedRolloutDoesNotComeBack: after it went back nothing starts any more, however long the commit stays.
func TestAFailedRolloutDoesNotComeBack(t *testing.T) {
	for about, set := range strategies {
		l := newLab(t, 6)
		web := edit(service("web", 4), func(a *spec.App) { set(a); a.Update.Deadline = spec.Minute })
		l.commit(web)
		l.settle()
		l.commit(edit(web, command("v2")))
		l.play(40, false)
		r, gen := l.in.Rollouts[0], l.gen
		if r.State != spec.RolloutFailed || r.Reason == "" {
			t.Fatalf("%s: the rollout is %s %q", about, r.State, r.Reason)
		}
		l.play(40, false)
		if l.gen != gen {
			t.Errorf("%s: it goes on after it has failed", about)
		}
		if web.Update.AutoRevert {
			l.only(t, "web", 4, "v1", about)
		} else if n := l.running("web")["v1"]; n < 3 {
			t.Errorf("%s: %d of v1 work, want all but one", about, n)
		}
	}
}

// TestCountsThereAndBack: a count that goes from n to m and back moves nothing that survived, whatever else runs. Of too
// many, those go that leave the rest even, which may be some that were there first; but nothing starts for that.
func TestCountsThereAndBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l, apps := drawLab(rt, t)
		l.in.Desired.Preemption = false
		l.rest(rt)
		live := func() map[spec.AllocationID]spec.NodeID {
			m := map[spec.AllocationID]spec.NodeID{}
			for i := range l.in.Current {
				if a := &l.in.Current[i]; a.Want == spec.WantRun && !a.State.Terminal() {
					m[a.ID] = a.Node
				}
			}
			return m
		}
		app := apps[0]
		if app.Kind == spec.KindSystem {
			return
		}
		before := live()
		commit := func(n int) {
			apps[0] = edit(app, count(n))
			l.commit(apps...)
			l.rest(rt)
		}
		m := rapid.IntRange(0, 8).Draw(rt, "m")
		commit(m)
		between := live()
		commit(app.Count)
		after := live()
		for id, node := range before {
			_, survived := between[id]
			_, stayed := after[id]
			mayGo := m > app.Count && strings.HasPrefix(string(id), string(app.Name)+"-")
			if survived && (stayed || !mayGo) && after[id] != node {
				rt.Fatalf("%s was on %s, and is on %q", id, node, after[id])
			}
		}
		for id := range after {
			if _, was := between[id]; !was && m > app.Count {
				rt.Fatalf("%s starts though the count is lower", id)
			}
		}
	})
}
