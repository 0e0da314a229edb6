package hcl

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/cron"
)

// scheduleForm is what an object for schedule may hold: it is written as one value, so it has a table of its own kind.
var scheduleForm = []struct {
	name string
	read func(s *spec.Schedule, v cty.Value) error
}{
	{"catch_up", func(s *spec.Schedule, v cty.Value) (err error) { s.CatchUp, err = duration.read(v); return }},
	{"cron", func(s *spec.Schedule, v cty.Value) (err error) { s.Cron, err = text[string]().read(v); return }},
	{"deadline", func(s *spec.Schedule, v cty.Value) (err error) { s.Deadline, err = duration.read(v); return }},
	{"enabled", func(s *spec.Schedule, v cty.Value) (err error) { s.Enabled, err = flag.read(v); return }},
	{"overlap", func(s *spec.Schedule, v cty.Value) (err error) {
		s.Overlap, err = oneOf(spec.OverlapForbid, spec.OverlapAllow, spec.OverlapReplace).read(v)
		return
	}},
	{"timezone", func(s *spec.Schedule, v cty.Value) (err error) { s.Timezone, err = text[string]().read(v); return }},
}

// schedule is { cron = "0 3 * * *", timezone = "Europe/Berlin", … }.
var schedule = kind[*spec.Schedule]{
	name: "map",
	read: func(v cty.Value) (*spec.Schedule, error) {
		if !isMap(v) {
			return nil, mustBe(`a map such as { cron = "0 3 * * *" }`, v)
		}
		s := &spec.Schedule{CatchUp: spec.DefaultCatchUp, Deadline: spec.DefaultRunDeadline, Enabled: true}
		var names []string
		for _, f := range scheduleForm {
			names = append(names, f.name)
		}
		written, faults := map[string]bool{}, []string(nil)
		for it := v.ElementIterator(); it.Next(); {
			key, e := it.Element()
			k := key.AsString()
			i := slices.Index(names, k)
			if i < 0 {
				hint := didYouMean(k, names)
				if hint == "" {
					hint = fmt.Sprintf(" It takes %s.", list(names))
				}
				faults = append(faults, fmt.Sprintf("has %q, which no schedule has.%s", shorten(k, 60), hint))
				continue
			}
			if e.IsNull() {
				continue // as if it were not written
			}
			written[k] = true
			before := *s
			if err := scheduleForm[i].read(s, e); err != nil {
				*s = before
				faults = append(faults, fmt.Sprintf("has %s, which %s", k, err))
			}
		}
		if s.Overlap == "" {
			s.Overlap = spec.OverlapForbid
			if s.Cron == "" {
				s.Overlap = spec.OverlapAllow // whoever asks twice means two
			}
		}
		if faults = append(faults, scheduleFaults(s, written)...); len(faults) > 0 {
			return nil, together(faults)
		}
		return s, nil
	},
	show: func(*spec.Schedule) string { return "" },
}

// together is one error of several: each is a sentence about the same value.
func together(faults []string) error {
	for i := range faults[1:] {
		faults[i] = sentence(faults[i]) + " It"
	}
	return wrong(strings.Join(faults, " "))
}

// scheduleFaults are what is wrong with a schedule beside what is wrong with its parts: those that are have their defaults.
func scheduleFaults(s *spec.Schedule, written map[string]bool) (faults []string) {
	_, err := cron.Parse(s.Cron, s.Timezone)
	switch {
	case !written["cron"]:
		idle := slices.DeleteFunc([]string{"catch_up", "enabled", "timezone"}, func(k string) bool { return !written[k] })
		if len(idle) > 0 {
			faults = append(faults, fmt.Sprintf("has %s without cron: then the app runs only when somebody dispatches it", list(idle)))
		}
	case s.Cron != "" && err != nil: // without, what is wrong with it is said already
		faults = append(faults, "names no time: "+err.Error())
	}
	if s.CatchUp < spec.MinCatchUp || s.CatchUp > spec.MaxCatchUp {
		faults = append(faults, fmt.Sprintf("has catch_up, which must be from %s (a new leader takes nearly that) to %s, but here it is %s", spec.MinCatchUp, spec.MaxCatchUp, s.CatchUp))
	}
	if s.Deadline < spec.Second {
		faults = append(faults, fmt.Sprintf("has deadline, which must be at least 1s, but here it is %s", s.Deadline))
	}
	return faults
}

var parameterTable = &table[spec.Parameter]{
	doc: "A value that whoever dispatches a run gives it. param.NAME stands for it in command, env, dir and check of a task. No place for secrets: it is kept and shown.",
	args: []argument[spec.Parameter]{
		{name: "default", kind: "text", doc: "The value when none is given; without it the parameter must be given", set: func(p *spec.Parameter, v cty.Value) error {
			s, err := text[string]().read(v)
			p.Default, p.Required = s, false
			return err
		}},
		arg("description", text[string](), func(p *spec.Parameter) *string { return &p.Description }, "What it is for"),
		arg("values", texts, func(p *spec.Parameter) *[]string { return &p.Values }, "All values that are allowed"),
		arg("pattern", text[string](), func(p *spec.Parameter) *string { return &p.Pattern }, "A regular expression (RE2) that the whole value must match, such as \"[0-9]{4}-[0-9]{2}-[0-9]{2}\""),
	},
	defaults: func() spec.Parameter { return spec.Parameter{Required: true} },
	check: func(d *decoder, b *block, p *spec.Parameter) {
		if p.Pattern != "" {
			if _, err := regexp.Compile(p.Pattern); err != nil {
				d.at(b.placeOf("pattern"), b.env.context, "Wrong value for pattern", fmt.Sprintf("This is no regular expression (RE2): %v.", shorten(strings.TrimPrefix(err.Error(), "error parsing regexp: "), 200)))
				return
			}
		}
		if !p.Required && b.sound("default", "values", "pattern") {
			p.Name = b.label(0)
			if err := p.CheckParameter(p.Default); err != nil {
				d.at(b.placeOf("default"), b.env.context, "Wrong value for default", sentence(strings.ToUpper(err.Error()[:1])+err.Error()[1:]))
			}
		}
	},
}

// addParameter takes a parameter block of an app.
func addParameter(d *decoder, b *block, a *spec.App, p spec.Parameter) {
	p.Name = b.label(0)
	if err := spec.CheckParameterName(p.Name); err != nil {
		d.at(b.place(), b.env.context, "Invalid name", fmt.Sprintf("This is no name for a parameter: %v.", err))
		return
	}
	i, twice := slices.BinarySearchFunc(a.Parameters, p.Name, func(o spec.Parameter, n string) int { return strings.Compare(o.Name, n) })
	switch {
	case twice:
		d.at(b.place(), b.env.context, "Duplicate parameter", fmt.Sprintf("The app has a parameter %q already. Rename one of them.", p.Name))
	case len(a.Parameters) == spec.MaxParameters:
		d.at(b.place(), b.env.context, "Too many parameters", fmt.Sprintf("An app has at most %d parameters. Pass the name of a file that has the rest.", spec.MaxParameters))
	default:
		a.Parameters = slices.Insert(a.Parameters, i, p)
	}
}

// checkBatch checks what only batch apps have.
func checkBatch(d *decoder, b *block, a *spec.App) {
	if a.Kind == spec.KindBatch {
		if a.Schedule != nil && a.Schedule.Cron != "" {
			for _, p := range a.Parameters {
				if p.Required {
					d.at(b.placeOf("schedule"), b.env.context, "Parameter without a value", fmt.Sprintf("Nobody gives the parameter %q a value when the clock starts a run. Give it a default.", p.Name))
				}
			}
		}
		return
	}
	if b.has("schedule") && b.sound("schedule", "kind") {
		d.at(b.placeOf("schedule"), b.env.context, "Schedule of a service", fmt.Sprintf("A schedule starts work that ends, but a %s runs until it is told to stop. Write kind = \"batch\".", a.Kind))
	}
	a.Schedule = nil
	if len(a.Parameters) > 0 {
		d.at(b.place(), b.env.context, "Parameters of a service", fmt.Sprintf("Parameters belong to the runs of a batch app, and a %s has none. Use a variable, or write kind = \"batch\".", a.Kind))
	}
}

// checkRuns checks what concerns the apps with runs together: what they depend on, their parameters and their names. It
// also settles how long dependencies are waited for.
func (l *loader) checkRuns() {
	var all []*spec.App
	for _, n := range sortedKeys(l.apps) {
		all = append(all, l.apps[n].value)
	}
	roots := spec.Roots(all)
	for _, a := range all {
		b := l.apps[a.Name].block
		for i := range a.DependsOn {
			d := &a.DependsOn[i]
			l.checkRunDependency(b, a, d, roots)
			if d.Deadline == unwritten {
				d.Deadline = spec.DefaultDependencyDeadline
				if roots[a.Name] != "" && roots[d.App] != "" {
					d.Deadline = 0 // the other run has a deadline of its own
				}
			}
		}
		switch root := roots[a.Name]; {
		case root == "" && !b.sound("schedule"):
		case root == "" && len(a.Parameters) > 0 && a.Kind == spec.KindBatch && !l.broken:
			l.at(b.place(), b.env.context, "Parameters without runs", "The app runs once, as soon as it is committed, so nobody can give its parameters values. Add schedule = {} to have it run when dispatched, or use a variable.")
		case root == "" && usesRun(a) && !l.broken:
			l.at(b.place(), b.env.context, "Run of an app without runs", "A task uses run.name or run.time, but the app runs once, as soon as it is committed. Add a schedule, or leave them out.")
		case root == "" && a.Reschedule.MaxAttempts > 0:
			l.at(b.place(), b.env.context, "Argument without effect", "max_attempts bounds the attempts of a run, and this app has no runs. Remove it, or add a schedule.")
		case root != "":
			l.checkRunNames(b, a)
			l.checkInherited(b, a, l.apps[root].value)
		}
	}
}

// usesRun reports whether a task's text names the run that it belongs to.
func usesRun(a *spec.App) bool {
	names := func(text string) bool {
		return strings.Contains(text, "${run.name}") || strings.Contains(text, "${run.time}")
	}
	return slices.ContainsFunc(a.Tasks, func(t spec.Task) bool {
		for _, v := range t.Env {
			if names(v) {
				return true
			}
		}
		return slices.ContainsFunc(t.Command, names) || names(t.Dir)
	})
}

// checkRunDependency checks one dependency of an app.
func (l *loader) checkRunDependency(b *block, a *spec.App, d *spec.Dependency, roots map[spec.AppName]spec.AppName) {
	root, on := roots[a.Name], roots[d.App]
	switch {
	case on == "":
	case a.Kind != spec.KindBatch:
		l.at(b.placeOf("depends_on"), b.env.context, "Dependency on runs", fmt.Sprintf("%q has runs, which come and go, so a %s cannot wait for it to be healthy. Depend on a service, or make this a batch app.", d.App, a.Kind))
	case a.Schedule != nil:
		l.at(b.placeOf("schedule"), b.env.context, "Two beginnings", fmt.Sprintf("The app runs after each run of %q, so it cannot have a schedule of its own. Remove one of the two.", d.App))
	case on != root:
		l.at(b.placeOf("depends_on"), b.env.context, "Two beginnings", fmt.Sprintf("It depends on runs of two schedules: those of %q and those of %q. One run has one beginning: let one of them depend on the other.", root, on))
	}
}

// checkRunNames checks that the names of runs fit, and are nobody else's.
func (l *loader) checkRunNames(b *block, a *spec.App) {
	if len(a.Name)+spec.MaxRunName > spec.MaxNameLength || strings.Count(string(a.Name), "/")+2 > spec.MaxNameSegments {
		l.at(b.place(), b.env.context, "Invalid name", fmt.Sprintf("Each run adds a segment of %d bytes to the name of its app, and a name has at most %d bytes and %d segments. Make it shorter.", spec.MaxRunName, spec.MaxNameLength, spec.MaxNameSegments))
	}
	l.belowRun(a)
	for _, n := range sortedKeys(l.apps) {
		if strings.HasPrefix(string(n), string(a.Name)+"/") {
			o := l.apps[n]
			l.at(o.block.place(), o.block.env.context, "Name of a run", fmt.Sprintf("The names below %q are those of its runs. Rename the app.", a.Name))
		}
	}
}

// belowRun reports the frameworks whose apps would be named like runs.
func (l *loader) belowRun(a *spec.App) {
	for _, n := range sortedKeys(l.frames) {
		if strings.HasPrefix(string(n)+"/", string(a.Name)+"/") {
			o := l.frames[n]
			l.at(o.block.place(), o.block.env.context, "Name of a run", fmt.Sprintf("The names below %q are those of its runs. Rename the framework.", a.Name))
		}
	}
}

// checkInherited checks that an app whose runs follow from those of another finds its parameters there.
func (l *loader) checkInherited(b *block, a, root *spec.App) {
	if a == root {
		return
	}
	for _, p := range a.Parameters {
		if p.Required && !slices.ContainsFunc(root.Parameters, func(o spec.Parameter) bool { return o.Name == p.Name }) {
			l.at(b.place(), b.env.context, "Parameter without a value", fmt.Sprintf("Its runs follow from those of %q, which has no parameter %q to take the value from. Declare it there, or give it a default here.", root.Name, p.Name))
		}
	}
}
