package runs

import (
	"fmt"
	"slices"

	"github.com/stowage/stowage/spec"
)

// Order is what a run is made of.
type Order struct {
	Root       *Template
	Templates  []Template // sorted by name: those that follow from Root are found here
	Now        spec.Time
	Commit     spec.Commit
	Key        string
	Trigger    spec.Trigger // of the root's run
	Scheduled  spec.Time
	Parameters map[string]string // as given; what is missing gets its default
	Token, By  string
	Originals  map[spec.Hash]spec.Hash // see Facts
}

// Make returns the records of the run of the root and of the runs that follow from it, and the versions of their apps.
func Make(o *Order) ([]spec.Run, map[spec.Hash]*spec.App) {
	var made []spec.Run
	versions := map[spec.Hash]*spec.App{}
	inside := func(app spec.AppName) bool {
		return slices.ContainsFunc(o.Templates, func(t Template) bool { return t.App.Name == app && t.Root == o.Root.App.Name })
	}
	for i := range o.Templates {
		t := &o.Templates[i]
		if t.Root != o.Root.App.Name {
			continue
		}
		r := spec.Run{
			Name: spec.RunName(t.App.Name, o.Key), App: t.App.Name, Key: o.Key, Root: t.Root, Trigger: spec.TriggerDependency,
			Scheduled: o.Scheduled, Parameters: values(t.App, o.Parameters), Commit: o.Commit, State: spec.RunWaiting,
			Created: o.Now, Deadline: o.Now.Add(o.Root.App.Schedule.Deadline),
		}
		if t.App.Name == t.Root {
			r.Trigger, r.Token, r.By = o.Trigger, o.Token, o.By
			r.Alone = t.App.Schedule.Overlap != spec.OverlapAllow
		}
		for _, d := range t.App.DependsOn {
			if inside(d.App) {
				d.App = spec.RunName(d.App, o.Key)
				r.Needs = append(r.Needs, d)
			}
		}
		origin := r
		app := t.App.ForRun(&origin)
		r.Version = app.Hash()
		if h, ok := o.Originals[r.Version]; ok {
			r.Version = h
		}
		versions[r.Version] = app
		made = append(made, r)
	}
	slices.SortFunc(made, spec.CompareRuns)
	return made, versions
}

// values gives the parameters of an app their values.
func values(a *spec.App, given map[string]string) map[string]string {
	if len(a.Parameters) == 0 {
		return nil
	}
	out := make(map[string]string, len(a.Parameters))
	for _, p := range a.Parameters {
		v, ok := given[p.Name]
		if !ok {
			v = p.Default
		}
		out[p.Name] = v
	}
	return out
}

// CheckValues reports what is wrong with the parameters of a dispatch, as a sentence that ends with what to do, or "".
func CheckValues(a *spec.App, given map[string]string) string {
	total := 0
	for _, name := range sortedKeys(given) {
		total += len(name) + len(given[name])
		if !slices.ContainsFunc(a.Parameters, func(p spec.Parameter) bool { return p.Name == name }) {
			return fmt.Sprintf("%s has no parameter %q. %s", a.Name, name, takes(a))
		}
	}
	if total > spec.MaxParametersSize {
		return fmt.Sprintf("the parameters are %d bytes long, and at most %d are allowed. Put the data where the run can fetch it, and pass its name.", total, spec.MaxParametersSize)
	}
	for i := range a.Parameters {
		p := &a.Parameters[i]
		v, ok := given[p.Name]
		if !ok && p.Required {
			return fmt.Sprintf("the parameter %s has no value and no default. Add -p %s=VALUE.", p.Name, p.Name)
		}
		if !ok {
			continue
		}
		if err := p.CheckParameter(v); err != nil {
			return err.Error() + ". Give it another value."
		}
	}
	return ""
}

func takes(a *spec.App) string {
	if len(a.Parameters) == 0 {
		return "It takes none: leave it out."
	}
	text := "It takes"
	for i := range a.Parameters {
		if i > 0 {
			text += ","
		}
		text += " " + a.Parameters[i].Name
	}
	return text + "."
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m { // any order: sorted below
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Active returns the name of a run of that root that is under way, or "", and how many there are.
func Active(all []spec.Run, root spec.AppName) (first spec.AppName, n int) {
	for i := range all {
		if r := &all[i]; r.Root == root && !r.State.Ended() {
			if n++; first == "" {
				first = r.Name
			}
		}
	}
	return first, n
}
