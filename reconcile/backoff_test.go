package reconcile_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

// newest returns the youngest allocation of an app that is meant to run.
func (l *lab) newest(app string) *spec.AllocationView {
	var best *spec.AllocationView
	for _, a := range l.live(app) {
		if best == nil || a.Generation > best.Generation {
			best = a
		}
	}
	return best
}

// fail lets an allocation end with an error.
func (l *lab) fail(a *spec.AllocationView) {
	a.State, a.Healthy, a.HealthySince, a.Since = spec.StateFailed, false, 0, l.in.Now
	a.AllocationStatus.Reason = "exit code 1"
}

// Whatever brought the newest allocation of a slot, when that failed the next one waits, longer each time.
func TestEveryFailureBacksOff(t *testing.T) {
	web := service("web", 1)
	web.Reschedule.Delay = 10 * spec.Second
	for name, bring := range map[string]func(l *lab){
		"start": func(l *lab) {},
		"move": func(l *lab) {
			l.settle()
			l.drain(string(l.newest("web").Node))
		},
		"replace": func(l *lab) { l.settle(); l.commit(edit(web, command("v2"))) },
		"blue green": func(l *lab) { // without a good version there are no canaries, and it rolls
			l.commit(edit(web, func(a *spec.App) { command("v2")(a); a.Update.Strategy = spec.StrategyBlueGreen }))
		},
		"lost node": func(l *lab) { l.settle(); l.lose(string(l.newest("web").Node)) },
		"overdue": func(l *lab) {
			l.settle()
			l.in.Drains = []spec.Drain{{Node: l.newest("web").Node, Deadline: l.in.Now}}
		},
		"restart": func(l *lab) {
			l.settle()
			l.in.Restarts = append(l.in.Restarts, restart("web", l.gen+1))
		},
		"surge": func(l *lab) {
			l.settle()
			l.commit(edit(web, func(a *spec.App) { command("v2")(a); a.Update.MinHealthy, a.Update.Surge = 1000, 1000 }))
		},
		"stop first": func(l *lab) {
			l.settle()
			l.commit(edit(web, func(a *spec.App) { command("v2")(a); a.Update.Strategy = spec.StrategyRecreate }))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t, 3)
			l.commit(web)
			bring(l)
			l.step()
			for attempt, delay := 1, 10*spec.Second; attempt < 5; attempt, delay = attempt+1, delay*2 {
				failed := l.newest("web")
				if attempt > 1 && failed.Attempt != attempt-1 {
					t.Fatalf("the allocation says attempt %d, want %d", failed.Attempt, attempt-1)
				}
				l.fail(failed)
				until := l.in.Now.Add(delay)
				for _, wait := range []spec.Duration{0, delay - 1} {
					l.in.Now = until.Add(wait - delay)
					p, r := l.plan()
					if b := blocked(p, "web"); b == nil || b.After != until || r.Next == 0 || r.Next > until || p.Summary.Changes() > p.Summary.Stop {
						t.Fatalf("attempt %d, after %s of %s: next %v\n%s", attempt, wait, delay, r.Next, show(p))
					}
					l.step()
				}
				l.in.Now = until
				if p := l.step(); now(p, spec.ChangeStart)+now(p, spec.ChangeMove)+now(p, spec.ChangeReplace) != 1 {
					t.Fatalf("the delay is over, and nothing starts\n%s", show(p))
				}
			}
			l.world()
			l.advance(6 * spec.Minute)
			l.settle()
			l.fail(l.newest("web"))
			if p, _ := l.plan(); blocked(p, "web").After != l.in.Now.Add(10*spec.Second) {
				t.Errorf("it was healthy for long, and yet waits as if it had not been\n%s", show(p))
			}
		})
	}
}

func TestRolloutWaitsForTheSlotThatBacksOff(t *testing.T) {
	l, web := ten(t)
	l.commit(edit(web, command("v2")))
	for range 40 {
		l.step()
		for _, a := range l.live("web") {
			if a.Slot.Index == 0 && l.in.Versions[a.Version].Tasks[0].Command[0] == "v2" {
				l.fail(a)
			}
		}
		l.world()
		l.advance(spec.Second)
		if r := l.running("web"); r["v1"] != 10 || r["v2"] != 0 {
			t.Fatalf("running %v: slot 0 has not been replaced", r)
		}
	}
}

func TestCommitThatMendsDoesNotWait(t *testing.T) {
	l := newLab(t, 2)
	web := service("web", 1)
	web.Reschedule.Delay = spec.Minute
	l.commit(web)
	l.step()
	l.fail(l.newest("web"))
	want(t, l.step(), spec.Summary{Blocked: 1})
	l.commit(edit(web, command("v2")))
	want(t, l.step(), spec.Summary{Start: 1})
}

// What waits before its next attempt says after which end: of the newest, with the allocation whose output tells more.
func TestWhatWaitsSaysWhatFailed(t *testing.T) {
	l := newLab(t, 2)
	web := service("web", 2)
	web.Reschedule.Delay = spec.Minute
	l.commit(web)
	l.step()
	var last *spec.AllocationView
	for _, a := range l.live("web") {
		l.advance(spec.Second)
		l.fail(a)
		a.Reason = `task "t": exit code 7`
		last = a
	}
	p, _ := l.plan()
	want(t, p, spec.Summary{Blocked: 2})
	b := p.Apps[0].Blocked
	if f := b.Failed; f == nil || f.ID != last.ID || f.Node != last.Node || f.Why != last.Reason || b.After == 0 {
		t.Fatalf("failed is %+v, and it waits until %d", b.Failed, b.After)
	}
	if b.Homeless() != 2 {
		t.Errorf("%d of them do nothing", b.Homeless())
	}
	if d := b.Reasons[0].Detail; !strings.Contains(d, "exit code 7") || !strings.Contains(d, "2 slots wait") {
		t.Errorf("the reason is %+v", b.Reasons)
	}
}

// A slot whose successor waits before its next attempt, and whose old allocation works meanwhile, does not lack anything.
func TestWhatWorksMeanwhileIsNotHomeless(t *testing.T) {
	l := newLab(t, 2)
	web := service("web", 2)
	web.Reschedule.Delay = spec.Minute
	l.commit(web)
	l.settle()
	l.commit(edit(web, command("bad")))
	l.step()
	l.fail(l.newest("web"))
	p, _ := l.plan()
	if b := blocked(p, "web"); b == nil || b.After == 0 || len(b.Slots) != 1 || b.Kept != 1 || b.Homeless() != 0 {
		t.Errorf("%+v\n%s", b, show(p))
	}
}

func TestFailedCanaryIsNotTriedAgain(t *testing.T) {
	l, web := ten(t)
	l.commit(edit(web, func(a *spec.App) { command("v2")(a); canary(false)(a) }))
	l.step()
	for _, a := range l.live("web") {
		if a.Canary {
			l.fail(a)
			break
		}
	}
	l.world()
	l.settle()
	if r := l.running("web"); r["v1"] != 10 || len(l.live("web")) != 10 || l.rollout("web").State != spec.RolloutFailed {
		t.Fatalf("running %v, %+v", r, l.rollout("web"))
	}
	l.commit(web)
	l.settle()
	l.commit(edit(web, func(a *spec.App) { command("v2")(a); canary(false)(a); a.Count = 11 }))
	l.settle()
	if r := l.running("web"); r["v2"] != 11 {
		t.Fatalf("running %v, %+v", r, l.rollout("web"))
	}
}

func TestSystemAppStartsAgainOnItsNode(t *testing.T) {
	l := newLab(t, 3)
	logs := service("logs", 0)
	logs.Kind = spec.KindSystem
	l.commit(logs)
	l.settle()
	list := l.live("logs")
	node := list[len(list)-1].Node
	l.fail(list[len(list)-1])
	l.advance(spec.Second)
	l.settle()
	if n := l.where("logs"); len(n) != 3 || n[node] != 1 {
		t.Fatalf("%v, want one on %s again", n, node)
	}
	if !slices.ContainsFunc(l.live("logs"), func(a *spec.AllocationView) bool { return a.Node == node && a.Attempt == 1 }) {
		t.Error("the attempt is not counted")
	}
}
