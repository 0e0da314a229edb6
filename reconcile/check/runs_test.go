package check_test

import (
	"slices"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/check"
	"github.com/stowage/stowage/reconcile/runs"
	"github.com/stowage/stowage/spec"
)

// scheduled is a world in which a firing is due.
func scheduled() reconcile.Input {
	in := world()
	app := *in.Desired.Apps[0]
	app.Name, app.Kind, app.Count, app.Constraints, app.Network = "job", spec.KindBatch, 1, nil, spec.Network{}
	app.Schedule = &spec.Schedule{Cron: "* * * * *", Overlap: spec.OverlapForbid, CatchUp: spec.Hour, Deadline: spec.Hour, Enabled: true}
	c := *in.Desired
	c.Apps = []*spec.App{&app}
	in.Desired = &c
	p, r := reconcile.Plan(in)
	in = reconcile.Apply(in, reconcile.Decide(in, p, r, 1))
	in.Now = in.Now.Add(90 * spec.Second)
	return in
}

func TestRunLints(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(in *reconcile.Input, p *spec.Plan, r *reconcile.Report)
		want  bool
	}{
		{"as it is", func(*reconcile.Input, *spec.Plan, *reconcile.Report) {}, false},
		{"nothing is recorded of what starts", func(_ *reconcile.Input, _ *spec.Plan, r *reconcile.Report) { r.Runs = nil }, true},
		{"it waits and starts", func(_ *reconcile.Input, _ *spec.Plan, r *reconcile.Report) { r.Runs.Put[0].State = spec.RunWaiting }, true},
		{"another version", func(_ *reconcile.Input, _ *spec.Plan, r *reconcile.Report) { r.Runs.Put[0].Version = "other" }, true},
		{"a firing that was handled", func(_ *reconcile.Input, _ *spec.Plan, r *reconcile.Report) {
			r.Runs.Agendas[0].Next = r.Runs.Agendas[0].Handled
		}, true},
		{"two at once", func(_ *reconcile.Input, _ *spec.Plan, r *reconcile.Report) {
			other := r.Runs.Put[0]
			other.Key = "20260101-0000"
			other.Name = spec.RunName("job", other.Key)
			r.Runs.Put = append(r.Runs.Put, other)
		}, true},
		{"one comes back", func(in *reconcile.Input, _ *spec.Plan, r *reconcile.Report) {
			old := r.Runs.Put[0]
			old.State = spec.RunFailed
			in.Runs = []spec.Run{old}
		}, true},
		{"one fails without a reason", func(_ *reconcile.Input, p *spec.Plan, r *reconcile.Report) {
			r.Runs.Put[0].State, r.Runs.Put[0].Ended, p.Apps = spec.RunFailed, 1, nil
			p.Summary = spec.Summary{}
		}, true},
		{"one is forgotten", func(in *reconcile.Input, _ *spec.Plan, r *reconcile.Report) {
			r.Runs.Drop = []spec.AppName{r.Runs.Put[0].Name}
		}, true},
		{"an empty record", func(_ *reconcile.Input, p *spec.Plan, r *reconcile.Report) {
			*r.Runs, p.Apps, p.Summary = runs.Change{}, nil, spec.Summary{}
		}, true},
		{"the app itself starts", func(_ *reconcile.Input, p *spec.Plan, _ *reconcile.Report) {
			p.Apps[0].App, p.Apps[0].Changes[0].App = "job", "job"
		}, true},
	} {
		in := scheduled()
		p, r := reconcile.Plan(in)
		if len(p.Apps) != 1 || r.Runs == nil {
			t.Fatalf("the firing starts nothing: %+v", p)
		}
		c.spoil(&in, &p, &r)
		found := lint(in, p, r)
		if got := slices.ContainsFunc(found, func(v check.Violation) bool { return v.Rule == "runs" || v.Rule == "reason" }); got != c.want {
			t.Errorf("%s: found %v", c.name, found)
		}
	}
}

// TestARunIsPaidByTheRoleOfItsApp: what is guaranteed to the role, or reserved for it, is there for its runs.
func TestARunIsPaidByTheRoleOfItsApp(t *testing.T) {
	for rule, keep := range map[string]func(*spec.Cluster){
		"reservation": func(c *spec.Cluster) {
			c.Reservations = []spec.Reservation{{Name: "all", Role: "db", Resources: spec.Resources{CPU: 2000}}}
		},
		"guarantee": func(c *spec.Cluster) {
			c.Roles = []spec.Role{{Name: "db", Weight: 1, Guarantee: &spec.Resources{CPU: 4000}}}
		},
	} {
		in := scheduled()
		in.Nodes = in.Nodes[:2]
		keep(in.Desired)
		job := *in.Desired.Apps[0]
		job.Role = "db"
		in.Desired.Apps[0] = &job
		p, r := reconcile.Plan(in)
		if len(p.Apps) != 1 || p.Apps[0].Blocked != nil {
			t.Fatalf("%s: the run has no place: %+v", rule, p)
		}
		if found := lint(in, p, r); found != nil {
			t.Errorf("%s: found %v", rule, found)
		}
		for _, a := range r.Versions { // any order: one is enough
			a.Role = spec.DefaultRole
		}
		if found := lint(in, p, r); len(found) == 0 || found[0].Rule != rule {
			t.Errorf("of another role: found %v, want a violation of the %s", found, rule)
		}
	}
}
