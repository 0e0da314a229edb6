package reconcile_test

import (
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// TestGathering: as long as the first nodes of a cluster have not all joined, nothing of any kind starts, and every step says what
// it waits for. No deadline passes meanwhile, and without the wait all of it starts at once.
func TestGathering(t *testing.T) {
	l := newLab(t, 1)
	l.commit(service("a", 2), edit(service("b", 1), batch), edit(service("c", 1), func(a *spec.App) { a.Kind = spec.KindSystem }), edit(service("d", 3), canaries(1)))
	until := l.in.Now.Add(spec.Hour)
	l.in.Gathering = &reconcile.Gathering{Joined: 1, Expected: 3, Until: until}
	for range 2 {
		p, r := l.plan()
		steps := 0
		for _, a := range p.Apps {
			for _, c := range a.Changes {
				steps++
				if c.Kind != spec.ChangeStart || c.Now || c.Node != "n01" || c.After != "when the new cluster's 3 nodes have joined, 1 so far, or none has for 1m" {
					t.Errorf("%s: %+v", c.Slot, c)
				}
			}
			if a.Rollout != nil && a.Rollout.State != spec.RolloutRolling {
				t.Errorf("%s: %+v", a.App, a.Rollout)
			}
		}
		if d := reconcile.Decide(l.in, p, r, 1); steps != 7 || r.Next != until || len(d.Start) > 0 {
			t.Errorf("%d steps, next in %s, %d starts", steps, r.Next.Sub(l.in.Now), len(d.Start))
		}
		l.step()
		l.advance(50 * spec.Minute) // longer than the deadline of a rollout
	}
	l.in.Gathering = nil
	p, _ := l.plan()
	for _, a := range p.Apps {
		for _, c := range a.Changes {
			if !c.Now || c.After != "" {
				t.Errorf("%s still waits: %+v", c.Slot, c)
			}
		}
	}
}
