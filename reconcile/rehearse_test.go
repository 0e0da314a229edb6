package reconcile_test

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// inUse is what really is in use: what has not ended, but for what waits for others to end.
func (l *lab) inUse() (cpu spec.MilliCPU, memory spec.Bytes) {
	for i := range l.in.Current {
		a := &l.in.Current[i]
		if n := l.node(a.Node); a.State.Terminal() || n == nil || n.State != spec.NodeReady || a.State == spec.StatePlaced && l.waits(a) {
			continue
		}
		r := l.in.Versions[a.Version].Needs()
		cpu, memory = cpu+r.CPU, memory+r.Memory
	}
	return cpu, memory
}

func (l *lab) waits(a *spec.AllocationView) bool {
	for _, id := range a.After {
		for i := range l.in.Current {
			if o := &l.in.Current[i]; o.ID == id && !o.State.Terminal() {
				return true
			}
		}
	}
	return false
}

// TestTheWorstMoment carries plans out step by step, with endings one by one in any order: at no moment more is in use than the
// plan said, and where nobody had to wait for another's room the moment it told of came.
func TestTheWorstMoment(t *testing.T) {
	reached, tight, above := 0, 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		l, apps := drawLab(rt, t)
		l.rest(rt)
		for i := range apps {
			a := apps[i]
			if rapid.Bool().Draw(rt, "changes") {
				if b := drawApp(rt, string(a.Name), 6); b.Kind == a.Kind {
					apps[i] = b
				}
			} else {
				apps[i] = edit(a, command("other"))
			}
		}
		l.commit(apps...)
		p, _ := reconcile.Plan(l.in)
		w := p.Worst
		if w == nil {
			return
		}
		if !w.Whole {
			rt.Fatalf("the rehearsal did not end: %+v", w)
		}
		level := func(cpu spec.MilliCPU, memory spec.Bytes) float64 {
			return max(float64(cpu)/float64(w.Total.CPU), float64(memory)/float64(w.Total.Memory))
		}
		told, most, before := level(w.Used.CPU, w.Used.Memory), 0.0, level(p.Capacity.Before.CPU, p.Capacity.Before.Memory)
		look := func(when string) {
			cpu, memory := l.inUse()
			now := level(cpu, memory)
			if most = max(most, now); now > told+1e-5 {
				text, _ := json.Marshal(w)
				rt.Fatalf("%s %.4f is in use, the plan says at most %.4f: %s\n%s", when, now, told, text, show(p))
			}
		}
		for range 150 {
			q, r := reconcile.Plan(l.in)
			d := reconcile.Decide(l.in, q, r, l.gen+1)
			if !d.Empty() {
				l.gen++
			}
			l.in = reconcile.Apply(l.in, d)
			look("after a decision")
			var stops []int
			for i := range l.in.Current {
				if a := &l.in.Current[i]; a.Want == spec.WantStop && !a.State.Terminal() {
					stops = append(stops, i)
				}
			}
			for _, i := range rapid.Permutation(stops).Draw(rt, "order") {
				l.follow(&l.in.Current[i])
				look("after an end")
			}
			l.world()
			look("when all have followed")
			l.advance(11 * spec.Second)
			if d.Empty() && len(stops) == 0 {
				break
			}
		}
		switch {
		case len(w.Tight) > 0:
			tight++
		case most < told-1e-5:
			text, _ := json.Marshal(w)
			rt.Fatalf("at most %.4f was in use, the plan says %.4f: %s\n%s", most, told, text, show(p))
		default:
			reached++
		}
		if told > max(before, level(p.Capacity.After.CPU, p.Capacity.After.Memory)) {
			above++
		}
	})
	if reached == 0 || tight == 0 || above == 0 {
		t.Errorf("%d reached, %d tight, %d above both ends", reached, tight, above)
	}
}

func TestWhoHasTooLittleRoomOnTheWay(t *testing.T) {
	l := newLab(t, 1)
	web := asks("web", 3, 2500, spec.GiB) // 7.5 of 8: none fits beside them
	l.commit(web)
	l.settle()
	l.commit(edit(web, command("other")))
	p, _ := l.plan()
	if w := p.Worst; w == nil || !w.Whole || w.Used.CPU != 7500 || len(w.Tight) != 1 || w.Tight[0].App != "web" || w.Tight[0].StopFirst != 3 || len(w.Tight[0].Nodes) != 1 {
		t.Errorf("%+v", w)
	}
	l = newLab(t, 1) // of two, one fits beside them, and the next waits for it to leave
	l.commit(edit(web, func(a *spec.App) { a.Count = 2 }))
	l.settle()
	l.commit(edit(web, func(a *spec.App) { a.Count = 2; command("other")(a) }))
	p, _ = l.plan()
	if w := p.Worst; w == nil || w.Used.CPU != 7500 || w.Step != 1 || len(w.Tight) != 1 || w.Tight[0].Waits != 1 || w.Tight[0].StopFirst != 0 || p.Capacity.After.CPU != 5000 {
		t.Errorf("%+v", w)
	}
	l = newLab(t, 2) // with more room nobody waits: one leaves while the next starts
	l.commit(web)
	l.settle()
	l.commit(edit(web, command("other")))
	if p, _ = l.plan(); p.Worst == nil || p.Worst.Used.CPU != 12_500 || len(p.Worst.Tight) != 0 {
		t.Errorf("%+v", p.Worst)
	}
	l.settle()
	if p, _ = l.plan(); p.Worst != nil {
		t.Errorf("nothing is done, and its worst moment is %+v", p.Worst)
	}
}
