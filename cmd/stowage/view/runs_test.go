package view

import (
	"strings"
	"testing"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
)

func TestRuns(t *testing.T) {
	at := func(seconds int) spec.Time { return spec.Time(seconds) * spec.Time(spec.Second) }
	list := []api.Runs{
		{App: "import", Schedule: &spec.Schedule{}, Runs: []spec.Run{
			{Name: "import/19700101-000010", App: "import", State: spec.RunFailed, By: "ann", Scheduled: at(10), Started: at(10), Ended: at(70), Reason: "import/19700101-000010[0] failed: exit code 3"},
			{Name: "import/19700101-000040", App: "import", State: spec.RunRunning, By: "ann", Scheduled: at(40), Started: at(40)}}},
		{App: "load", Root: "nightly"},
		{App: "nightly", Schedule: &spec.Schedule{Cron: "0 3 * * *", Timezone: "Europe/Berlin", Enabled: true}, Next: at(7200), Local: "1970-01-01 03:00 CET",
			Runs: []spec.Run{{Name: "nightly/19700101-0000", App: "nightly", State: spec.RunMissed, Scheduled: at(0), Ended: at(90), Reason: "nobody led", Firings: 3}}},
	}
	text := golden(t, "runs.txt", 0, func(p *Page) {
		p.RunsOverview(list)
		p.Line("")
		p.RunsOf(list)
		p.Line("")
		p.Run(&spec.Run{Name: "import/19700101-000040", App: "import", State: spec.RunWaiting, Parameters: map[string]string{"mode": "full", "date": "1970-01-01"},
			Needs: []spec.Dependency{{App: "read/19700101-000040"}}, Commit: "9c1e2d7aaaaaaaaa", Scheduled: at(40)})
	})
	if !strings.Contains(text, `date="1970-01-01" mode="full"`) {
		t.Error("the parameters are not told")
	}
}

func TestSchedulePlans(t *testing.T) {
	plan := &spec.Plan{ID: "p-1", Commit: "9c1e2d7aaaaaaaaa", Schedules: []spec.SchedulePlan{
		{App: "gone", Action: spec.ScheduleRemoved, Active: []spec.AppName{"gone/19700101-0000"}},
		{App: "load", Action: spec.ScheduleNew, Root: "nightly", Pos: spec.Pos{File: "a.hcl", Line: 9}},
		{App: "nightly", Action: spec.ScheduleChanged, Spec: &spec.Schedule{Cron: "0 3 * * *", Timezone: "Europe/Berlin", Enabled: true},
			Next: []spec.Time{spec.Time(2 * spec.Hour), spec.Time(26 * spec.Hour)}, Active: []spec.AppName{"nightly/19700101-0000"},
			Fields: []spec.FieldChange{{Path: "schedule.cron", From: "0 2 * * *", To: "0 3 * * *", Effect: "from the next run on"}}, Pos: spec.Pos{File: "a.hcl", Line: 3}},
	}}
	golden(t, "schedules.txt", 0, func(p *Page) { p.Plan(plan, PlanOptions{}) })
}
