package reconcile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

func reserve(name, role string, cpu spec.MilliCPU, rules ...spec.Constraint) spec.Reservation {
	return spec.Reservation{Name: name, Role: spec.RoleName(role), Resources: spec.Resources{CPU: cpu}, Constraints: rules}
}

func onZone(v string) spec.Constraint {
	return spec.Constraint{Attribute: "zone", Operator: spec.OpEqual, Value: v}
}

func TestReservations(t *testing.T) {
	nodes := func() []spec.NodeView {
		return []spec.NodeView{attribute(node("n1", 4000, spec.TiB), "zone", "z1"), attribute(node("n2", 4000, spec.TiB), "zone", "z2")}
	}
	for _, tt := range []struct {
		name string
		keep []spec.Reservation
		apps []*spec.App
		want map[string]int
		rule string // of what blocks the first app
	}{
		{"kept from others on every node that its constraints accept", []spec.Reservation{reserve("peak", "db", 2000, onZone("z1"))},
			[]*spec.App{needs("web", "w", 9, 1, 0, 0)}, map[string]int{"w": 6}, "1 reservation peak for role db"},
		{"without constraints on every node", []spec.Reservation{reserve("peak", "db", 1000)},
			[]*spec.App{needs("web", "w", 9, 1, 0, 0)}, map[string]int{"w": 6}, "2 reservation peak for role db"},
		{"the role and those below it see all of it", []spec.Reservation{reserve("peak", "db", 2000)},
			[]*spec.App{needs("db/main", "d", 9, 1, 0, 0)}, map[string]int{"d": 8}, "2 cpu"},
		{"what the role uses is not kept twice", []spec.Reservation{reserve("peak", "db", 3000)},
			[]*spec.App{needs("web", "w", 9, 1, 0, 0), needs("db", "d", 4, 1, 0, 0)}, map[string]int{"w": 2, "d": 4}, "1 reservation peak for role db"},
		{"two reservations of a role on a node add up", []spec.Reservation{reserve("a", "db", 1000), reserve("b", "db", 2000, onZone("z1"))},
			[]*spec.App{needs("web", "w", 9, 1, 0, 0)}, map[string]int{"w": 4}, "1 reservation a, b for role db; 1 reservation a for role db"},
		{"what is kept for a role below is part of what is kept for the one above", []spec.Reservation{reserve("e", "eng", 2000), reserve("d", "eng/db", 1000)},
			[]*spec.App{needs("web", "w", 9, 1, 0, 0)}, map[string]int{"w": 4}, "2 reservation e for role eng"},
		{"and kept from its siblings", []spec.Reservation{reserve("e", "eng", 2000), reserve("d", "eng/db", 1000)},
			[]*spec.App{needs("eng/web", "w", 9, 1, 0, 0)}, map[string]int{"w": 6}, "2 reservation d for role eng/db"},
		{"other resources are free", []spec.Reservation{reserve("peak", "db", 4000)},
			[]*spec.App{needs("web", "w", 9, 0, 1, 0)}, map[string]int{"w": 9}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := cluster(t, nodes()...)
			l.in.Desired.Reservations = tt.keep
			l.commit(tt.apps...)
			p := l.step()
			for app, want := range tt.want {
				if got := len(l.live(app)); got != want {
					t.Errorf("%s has %d, want %d\n%s", app, got, want, show(p))
				}
			}
			if b := blocked(p, string(tt.apps[0].Name)); (b != nil) != (tt.rule != "") || b != nil && !strings.HasPrefix(rules(b), tt.rule) {
				t.Errorf("blocked %+v, want %s", b, tt.rule)
			}
			l.settle()
		})
	}
}

// TestAReservationOutlivesItsUsers: what a role no longer uses is kept for it until it comes back.
func TestAReservationOutlivesItsUsers(t *testing.T) {
	l := cluster(t, node("n1", 4000, spec.TiB))
	l.in.Desired.Reservations = []spec.Reservation{reserve("peak", "db", 2000)}
	d, w := needs("db", "d", 2, 1, 0, 0), needs("web", "w", 9, 1, 0, 0)
	l.commit(d, w)
	l.settle()
	l.has("w", 2)
	l.commit(edit(d, count(0)), w)
	l.settle()
	l.has("w", 2)
	l.commit(d, w)
	l.settle()
	l.has("d", 2)
	l.has("w", 2)
}

func TestPlansShowReservations(t *testing.T) {
	l := cluster(t, attribute(node("n1", 4000, spec.TiB), "zone", "z1"), node("n2", 2000, spec.TiB))
	l.in.Desired.Reservations = []spec.Reservation{reserve("big", "db", 9000), reserve("none", "db", 1000, onZone("z9")), reserve("peak", "db", 2000, onZone("z1"))}
	l.commit(needs("db", "d", 1, 0.5, 0, 0))
	p, _ := l.plan()
	if len(p.Reservations) != 3 || p.Reservations[2].Name != "peak" || p.Reservations[2].Nodes != 1 || p.Reservations[1].Nodes != 0 {
		t.Errorf("%+v", p.Reservations)
	}
	var warnings []string
	for _, w := range p.Warnings {
		warnings = append(warnings, w.Rule)
	}
	if got := strings.Join(warnings, "; "); got != "reservation big is larger than any of its nodes; reservation none is on no node" {
		t.Errorf("%s", got)
	}
}

// TestWhatIsReservedOnANode: each reservation with its role, and what of it is not used there.
func TestWhatIsReservedOnANode(t *testing.T) {
	l := cluster(t, attribute(node("n1", 8000, spec.TiB), "zone", "z1"), node("n2", 4000, spec.TiB))
	l.in.Desired.Reservations = []spec.Reservation{reserve("peak", "db", 3000, onZone("z1")), reserve("all", "web", 1000)}
	l.commit(pinned(needs("db/main", "d", 2, 1, 0, 0), "n1"), pinned(needs("web", "w", 4, 0.5, 0, 0), "n2"))
	l.settle()
	for id, want := range map[spec.NodeID]string{"n1": "all web 1 1; peak db 3 1", "n2": "all web 1 0", "n3": ""} {
		var got []string
		for _, r := range reconcile.ReservedOn(l.in, id) {
			got = append(got, fmt.Sprintf("%s %s %s %s", r.Name, r.Role, r.Amount.CPU, r.Unused.CPU))
		}
		if strings.Join(got, "; ") != want {
			t.Errorf("%s: %q, want %q", id, strings.Join(got, "; "), want)
		}
	}
}

// TestTheLargestTaskLeavesReservationsAlone: what still fits is told to everybody, so what is kept for somebody does not.
func TestTheLargestTaskLeavesReservationsAlone(t *testing.T) {
	l := cluster(t, attribute(node("n1", 8000, spec.TiB), "zone", "z1"), node("n2", 4000, spec.TiB))
	l.in.Desired.Reservations = []spec.Reservation{reserve("peak", "db", 6000, onZone("z1"))}
	l.commit(pinned(needs("db", "d", 1, 1, 0, 0), "n1"), pinned(needs("web", "w", 1, 0.5, 0, 0), "n1"))
	p, _ := l.plan()
	if p.Capacity.Largest.CPU != 4000 {
		t.Errorf("the largest is %+v, want 4 on n2", p.Capacity.Largest)
	}
	l.in.Desired.Reservations[0].CPU = 2000 // 1 of it is used: 8 - 1.5 - 1 is more than n2 has
	if p, _ = l.plan(); p.Capacity.Largest.CPU != 5500 {
		t.Errorf("the largest is %+v, want 5.5 on n1\n%s", p.Capacity.Largest, show(p))
	}
}

// TestPreemptionLeavesWhatIsPromised: who is within the guarantee or a reservation of its role is no victim.
func TestPreemptionLeavesWhatIsPromised(t *testing.T) {
	for _, promise := range []func(*spec.Cluster){
		func(*spec.Cluster) {},
		func(c *spec.Cluster) { c.Roles = []spec.Role{guaranteed("low", 1, 2000)} },
		func(c *spec.Cluster) { c.Reservations = []spec.Reservation{reserve("r", "low", 2000)} },
	} {
		l := cluster(t, node("n1", 2000, spec.TiB))
		l.in.Desired.Preemption = true
		promise(l.in.Desired)
		promised := len(l.in.Desired.Roles)+len(l.in.Desired.Reservations) > 0
		low := edit(needs("low", "low", 2, 1, 0, 0), func(a *spec.App) { a.Priority, a.Update.MinHealthy = 10, 1 })
		l.commit(low)
		l.settle()
		l.commit(low, edit(needs("high", "high", 1, 1, 0, 0), func(a *spec.App) { a.Priority = 90 }))
		l.step()
		if promised {
			l.has("high", 0)
			l.has("low", 2)
		} else {
			l.has("high", 1)
			l.has("low", 1)
		}
	}
}
