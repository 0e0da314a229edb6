package check_test

import (
	"strings"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// crowded is the world in which two of five find no place.
func crowded() reconcile.Input {
	in := world()
	in.Desired.Apps[0].Count = 5
	return in
}

// besieged is the world in which one of two has to go for a more important one.
func besieged() reconcile.Input {
	in := world()
	low := in.Desired.Apps[0]
	low.Count, low.Tasks[0].CPU, low.Priority = 2, 1000, 10
	p, r := reconcile.Plan(in)
	in = reconcile.Apply(in, reconcile.Decide(in, p, r, 1))
	for i := range in.Current {
		in.Current[i].State, in.Current[i].Healthy, in.Current[i].HealthySince = spec.StateRunning, true, in.Now
	}
	high := *low
	high.Name, high.Count, high.Priority = "high", 1, 90
	c := *in.Desired
	c.Preemption, c.Apps = true, []*spec.App{&high, low}
	in.Desired = &c
	return in
}

// together is the world with an app that wants to be in one zone, of two.
func together() reconcile.Input {
	in := world()
	in.Nodes[1].Attributes["zone"] = "z2"
	in.Desired.Apps[0].Constraints = []spec.Constraint{{Attribute: "zone", Operator: spec.OpSame}}
	return in
}

// TestEveryFindingBites breaks a good plan, or what it was made from, in one place at a time, and wants to read of that.
func TestEveryFindingBites(t *testing.T) {
	type (
		input  = reconcile.Input
		plan   = spec.Plan
		report = reconcile.Report
	)
	change := func(f func(c []spec.Change)) func(*input, *plan, *report) {
		return func(_ *input, p *plan, _ *report) { f(p.Apps[0].Changes) }
	}
	blocked := func(f func(b *spec.Blocked)) func(*input, *plan, *report) {
		return func(_ *input, p *plan, _ *report) { f(p.Apps[0].Blocked) }
	}
	rollouts := func(f func(r *report)) func(*input, *plan, *report) {
		return func(_ *input, _ *plan, r *report) { f(r) }
	}
	cluster := func(f func(c *spec.Cluster)) func(*input, *plan, *report) {
		return func(in *input, _ *plan, _ *report) { f(in.Desired) }
	}
	kept := func(f func(a *spec.App)) func(*input, *plan, *report) { // the app changes under the hash that it has
		return func(in *input, _ *plan, _ *report) {
			a := in.Desired.Apps[0]
			in.Hashes = reconcile.HashApps(in.Desired.Apps)
			f(a)
		}
	}
	old := func(in *input, p *plan) *spec.AllocationView {
		for i := range in.Current {
			if in.Current[i].ID == p.Apps[0].Changes[0].Old {
				return &in.Current[i]
			}
		}
		return nil
	}
	victim := func(in *input, p *plan) *spec.AllocationView {
		for i := range in.Current {
			if in.Current[i].ID == p.Apps[0].Changes[0].Victims[0].ID {
				return &in.Current[i]
			}
		}
		return nil
	}
	for _, tt := range []struct {
		rule, says string
		in         input
		spoil      func(in *input, p *plan, r *report)
	}{
		{"budget", "of 3 slots lose their work, 0 have none already, at most 0 may", running(), func(in *input, p *plan, _ *report) {
			in.Desired.Disruption.MaxTotal = &spec.Percent{Value: 0, Absolute: true}
			p.Apps[0].Changes[0].KeepOld = false
		}},
		{"budget", "2 of 2 slots lose their work", everywhere(), func(in *input, p *plan, _ *report) { // both nodes of one slot
			in.Desired.Disruption.MaxTotal = &spec.Percent{Value: 1, Absolute: true}
			stops := map[spec.AllocationID]bool{}
			for i := range in.Current {
				in.Current[i].Slot.Index = i / 2
				stops[in.Current[i].ID] = i < 2
			}
			for i := range p.Apps[0].Changes {
				c := &p.Apps[0].Changes[i]
				c.Now, c.After, c.KeepOld = true, "", !stops[c.Old]
			}
		}},
		{"ports", "port http has no number", world(), change(func(c []spec.Change) { c[0].Ports[0].Number = 0 })},
		{"ports", "is held by web-1-1", running(), func(in *input, p *plan, _ *report) {
			c := &p.Apps[0].Changes[0]
			c.Takeover, c.Ports = nil, in.Current[1].Ports
		}},
		{"slots", "nobody does not exist", running(), change(func(c []spec.Change) { c[0].Old = "nobody" })},
		{"slots", "has ended", running(), func(in *input, p *plan, _ *report) { old(in, p).State = spec.StateComplete }},
		{"slots", "changes twice", running(), change(func(c []spec.Change) { c[1].Old = c[0].Old })},
		{"slots", "has been told to stop before", running(), func(in *input, p *plan, _ *report) { old(in, p).Want = spec.WantStop }},
		{"counts", `a change of kind "odd"`, world(), change(func(c []spec.Change) { c[0].Kind = "odd" })},
		{"counts", "its apps are not in order", related(), func(_ *input, p *plan, _ *report) { p.Apps[0], p.Apps[1] = p.Apps[1], p.Apps[0] }},
		{"state", "held, and yet something changes", world(), func(_ *input, p *plan, _ *report) { p.Apps[0].Held = "why" }},
		{"state", "listed without a change", world(), func(_ *input, p *plan, _ *report) { p.Apps[0].Changes = nil }},
		{"state", `placed on node "n9"`, world(), change(func(c []spec.Change) { c[0].Node = "n9" })},
		{"state", "a rollout without state or target", world(), rollouts(func(r *report) { r.Rollouts[0].State = "" })},
		{"state", "rollouts are not in order", world(), rollouts(func(r *report) { r.Rollouts = append(r.Rollouts, r.Rollouts[0]) })},
		{"reason", "a rollout failed without a reason", world(), rollouts(func(r *report) { r.Rollouts[0].State, r.Rollouts[0].Reason = spec.RolloutFailed, "" })},

		{"reason", "blocked without reason or slots", crowded(), blocked(func(b *spec.Blocked) { b.Reasons = nil })},
		{"reason", "a reason without a rule", crowded(), blocked(func(b *spec.Blocked) { b.Reasons[0].Rule = "" })},
		{"reason", "a group without rules or nodes", crowded(), blocked(func(b *spec.Blocked) { b.Groups[0].Rules = nil })},
		{"reason", "the groups are not in order", crowded(), blocked(func(b *spec.Blocked) { b.Groups[1].Nodes = 9 })},
		{"reason", "4 nodes were looked at, the groups have 5", crowded(), blocked(func(b *spec.Blocked) { b.Feasible++ })},
		{"reason", "nodes fail", crowded(), blocked(func(b *spec.Blocked) { b.Reasons[0].Nodes += 3 })},
		{"reason", "fixes are told", crowded(), blocked(func(b *spec.Blocked) { b.Fix = append(b.Fix, "pray") })},
		{"gang", "web[0] starts, and 2 slots do not", crowded(), kept(func(a *spec.App) { a.Gang = true })},

		{"preemption", "which the cluster does not allow", besieged(), cluster(func(c *spec.Cluster) { c.Preemption = false })},
		{"preemption", "nobody does not run", besieged(), change(func(c []spec.Change) { c[0].Victims[0].ID = "nobody" })},
		{"preemption", "makes room for high[0] already", besieged(), change(func(c []spec.Change) { c[0].Victims = append(c[0].Victims, c[0].Victims[0]) })},
		{"preemption", "is on n2, and makes no room on n1", besieged(), func(in *input, p *plan, _ *report) { victim(in, p).Node = "n2" }},
		{"preemption", "has priority 81, which is no 10 below 90", besieged(), change(func(c []spec.Change) { c[0].Victims[0].Priority = 81 })},
		{"preemption", "is of the app itself, of a system app or of a gang", besieged(), func(in *input, p *plan, _ *report) { in.Versions[victim(in, p).Version].Gang = true }},

		{"limit", "and yet one starts in", together(), change(func(c []spec.Change) { c[0].Node = "n2" })},
		{"quota", "cpu: 1500 after the plan, 0 before, 1000 are allowed", world(), cluster(func(c *spec.Cluster) {
			c.Roles = []spec.Role{{Name: spec.DefaultRole, Quota: &spec.Resources{CPU: 1000}}}
		})},
		{"quota", "gpu: 3000 after the plan, 0 before, 0 are allowed", world(), func(in *input, p *plan, r *report) {
			in.Desired.Roles = []spec.Role{{Name: spec.DefaultRole, Quota: &spec.Resources{Named: map[string]spec.Milli{"gpu": 0}}}}
			kept(func(a *spec.App) { a.Tasks[0].Resources = map[string]spec.Milli{"gpu": 1000} })(in, p, r)
		}},
		{"guarantee", "cpu: 4500 are left, 5000 are kept for role db", world(), cluster(func(c *spec.Cluster) {
			c.Roles = []spec.Role{{Name: "db", Guarantee: &spec.Resources{CPU: 5000}}}
		})},
		{"reservation", "cpu: 1500 are used of 2000, and 1000 are kept for role db", world(), cluster(func(c *spec.Cluster) {
			c.Reservations = []spec.Reservation{{Name: "r", Role: "db", Resources: spec.Resources{CPU: 1000}}}
		})},

		{"runs", "it was running, and waits again", scheduled(), func(in *input, _ *plan, r *report) {
			in.Runs = []spec.Run{r.Runs.Put[0]}
			r.Runs.Put[0].State = spec.RunWaiting
		}},
		{"runs", "it became another run", scheduled(), func(in *input, _ *plan, r *report) {
			in.Runs = []spec.Run{r.Runs.Put[0]}
			r.Runs.Put[0].Scheduled++
		}},
		{"runs", "it is not named after other", scheduled(), rollouts(func(r *report) { r.Runs.Put[0].App = "other" })},
	} {
		in := tt.in
		p, r := reconcile.Plan(in)
		if list := lint(in, p, r); len(list) > 0 {
			t.Errorf("%s: before anything is broken: %v", tt.says, list)
		}
		tt.spoil(&in, &p, &r)
		seen := false
		list := lint(in, p, r)
		for _, v := range list {
			seen = seen || v.Rule == tt.rule && strings.Contains(v.Detail, tt.says)
		}
		if !seen {
			t.Errorf("%s: %q is not found, but %v", tt.rule, tt.says, list)
		}
	}
}
