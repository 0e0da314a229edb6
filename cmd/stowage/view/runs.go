package view

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/cron"
)

// RunsOverview prints a table of the apps with runs.
func (p *Page) RunsOverview(list []api.Runs) {
	if len(list) == 0 {
		p.Line("No app has runs: schedule = { … } gives one some.")
		return
	}
	rows := make([][]string, len(list))
	for i := range list {
		a := &list[i]
		active, last := 0, "-"
		for k := range a.Runs {
			r := &a.Runs[k]
			if !r.State.Ended() {
				active++
			} else {
				last = string(r.State) + " " + p.Ago(r.Ended)
			}
		}
		next := "-"
		if a.Next != 0 {
			next = a.Local
		}
		rows[i] = []string{string(a.App), begins(a.Schedule, a.Root), next, strconv.Itoa(active), last}
	}
	p.Table([]string{"APP", "RUNS", "NEXT", "UNDER WAY", "LAST ENDED"}, rows)
}

// begins says in a few words when an app runs.
func begins(s *spec.Schedule, root spec.AppName) string {
	switch {
	case root != "":
		return "after " + string(root)
	case s == nil:
		return "no more"
	case s.Cron == "":
		return "when dispatched"
	case !s.Enabled:
		return s.Cron + ", suspended"
	case s.Timezone != "":
		return s.Cron + " " + s.Timezone
	}
	return s.Cron + " UTC"
}

// RunsOf prints the runs of some apps, oldest first.
func (p *Page) RunsOf(list []api.Runs) {
	for i := range list {
		a := &list[i]
		if i > 0 {
			p.Line("")
		}
		head := fmt.Sprintf("%s   %s", p.paint(bold, string(a.App)), begins(a.Schedule, a.Root))
		if a.Next != 0 {
			head += ", next " + a.Local
		}
		p.Line("%s", head)
		rows := make([][]string, len(a.Runs))
		for k := range a.Runs {
			r := &a.Runs[k]
			rows[k] = []string{string(r.Name), string(r.State), p.Ago(r.Scheduled), p.took(r), runReason(r)}
		}
		if len(rows) > 0 {
			p.Table([]string{"RUN", "STATE", "DUE", "TOOK", "WHY"}, rows)
		}
	}
}

func (p *Page) took(r *spec.Run) string {
	switch {
	case r.Started == 0:
		return "-"
	case r.Ended == 0:
		return p.Age(r.Started) + " so far"
	}
	return (r.Ended.Sub(r.Started) / spec.Second * spec.Second).String()
}

func runReason(r *spec.Run) string {
	var words []string
	if r.Firings > 1 {
		words = append(words, spec.Plural(r.Firings, "firing"))
	}
	if r.Reason != "" {
		words = append(words, r.Reason)
	} else if r.By != "" {
		words = append(words, "asked for by "+r.By)
	}
	return strings.Join(words, ": ")
}

// Run prints one run.
func (p *Page) Run(r *spec.Run) {
	var given []string
	for _, k := range sortedKeys(r.Parameters) {
		given = append(given, k+"="+strconv.Quote(r.Parameters[k]))
	}
	var needs []string
	for _, d := range r.Needs {
		needs = append(needs, string(d.App))
	}
	p.pairs([][2]string{{"run of", string(r.App)}, {"state", string(r.State)}, {"why", runReason(r)}, {"due", p.Ago(r.Scheduled)}, {"took", p.took(r)},
		{"parameters", strings.Join(given, " ")}, {"after", strings.Join(needs, ", ")}, {"commit", r.Commit.Short()}})
}

// schedulePlans prints what a plan does to apps with runs.
func (p *Page) schedulePlans(list []spec.SchedulePlan) {
	for i := range list {
		s := &list[i]
		p.Line("")
		symbol, word := p.paint(green, "+"), "has runs"
		switch s.Action {
		case spec.ScheduleChanged:
			symbol, word = p.paint(yellow, "~"), "the next run differs"
		case spec.ScheduleRemoved:
			symbol, word = p.paint(red, "-"), "has no more runs"
		}
		p.placed(fmt.Sprintf("  %s app %q   %s", symbol, s.App, word), position(s.Pos))
		for k := range s.Fields {
			p.field(&s.Fields[k])
		}
		if s.Action != spec.ScheduleRemoved {
			p.Line("      runs %s", begins(s.Spec, s.Root))
		}
		if len(s.Next) > 0 {
			p.Line("      next %s", firings(s))
		}
		for _, r := range s.Active {
			if s.Action == spec.ScheduleRemoved {
				break // the changes tell what becomes of them
			}
			p.Line("      %s goes on as it began", r)
		}
	}
}

// firings prints the next firings as a clock of the schedule's time zone shows them.
func firings(s *spec.SchedulePlan) string {
	zone, err := cron.Zone(s.Spec.Timezone)
	if err != nil {
		return ""
	}
	var words []string
	for _, at := range s.Next {
		words = append(words, at.Std().In(zone).Format("2006-01-02 15:04 MST"))
	}
	return strings.Join(words, ", ")
}
