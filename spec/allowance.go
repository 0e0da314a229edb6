package spec

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Allowance lets some apps weaken the isolation of their tasks. Without one, no app may. Lists of what is allowed hold names, or
// patterns as in path.Match.
type Allowance struct {
	Name  string     `json:"name"`
	Roles []RoleName `json:"roles,omitempty"` // apps of these roles and of those below them; none: of any
	Apps  []string   `json:"apps,omitempty"`  // patterns of apps; none: any
	// Privileged allows everything.
	Privileged    bool     `json:"privileged,omitempty"`
	Seccomp       []string `json:"seccomp,omitempty"`        // SeccompNone, and patterns of profiles
	Capabilities  []string `json:"capabilities,omitempty"`   // that may be added; AllCapabilities: any
	NewPrivileges bool     `json:"new_privileges,omitempty"` // no_new_privileges may be false
	Unmasked      []string `json:"unmasked,omitempty"`       // patterns of paths
	HostDevices   []string `json:"host_devices,omitempty"`   // patterns of paths
	Pos           Pos      `json:"pos"`
}

// Weakening is one point in which a task is isolated less than by default.
type Weakening struct {
	Argument string // of the isolation block
	Written  string // as people write it: cap_add = ["NET_ADMIN"]
	Grant    string // what an allowance would say: capabilities = ["NET_ADMIN"]
	allows   func(a *Allowance) bool
}

// Weakenings lists in what a task is isolated less than by default.
func (t *Task) Weakenings() []Weakening {
	i := &t.Isolation
	var all []Weakening
	add := func(argument, written, grant string, allows func(a *Allowance) bool) {
		all = append(all, Weakening{argument, written, grant, allows})
	}
	if i.Privileged {
		add("privileged", "privileged = true", "privileged = true", func(*Allowance) bool { return false })
	}
	if i.Seccomp != "" {
		add("seccomp", "seccomp = "+quote(i.Seccomp), "seccomp = ["+quote(i.Seccomp)+"]", func(a *Allowance) bool {
			return slices.Contains(a.Seccomp, i.Seccomp) || i.Seccomp != SeccompNone && matches(a.Seccomp, i.Seccomp)
		})
	}
	for _, c := range i.CapAdd {
		if !slices.Contains(DefaultCapabilities, c) {
			add("cap_add", "cap_add = ["+quote(c)+"]", "capabilities = ["+quote(c)+"]", func(a *Allowance) bool {
				return slices.Contains(a.Capabilities, c) || slices.Contains(a.Capabilities, AllCapabilities)
			})
		}
	}
	if i.NewPrivileges {
		add("no_new_privileges", "no_new_privileges = false", "new_privileges = true", func(a *Allowance) bool { return a.NewPrivileges })
	}
	for _, p := range i.Unmasked {
		add("unmasked_paths", "unmasked_paths = ["+quote(p)+"]", "unmasked_paths = ["+quote(p)+"]", func(a *Allowance) bool { return matches(a.Unmasked, p) })
	}
	for _, d := range i.HostDevices {
		add("host_device", "host_device "+quote(d.Path), "host_devices = ["+quote(d.Path)+"]", func(a *Allowance) bool { return matches(a.HostDevices, d.Path) })
	}
	return all
}

// Refusal says that an app may not weaken the isolation of its tasks so, and what to do. covering is an allowance that covers
// the app, or nil.
func (w Weakening) Refusal(app *App, covering *Allowance) string {
	remedy := fmt.Sprintf("declare it: allowance \"NAME\" { … }, with apps = [%q] and %s on lines of their own", app.Name, w.Grant)
	if covering != nil {
		remedy = fmt.Sprintf("add %s to the allowance %q", w.Grant, covering.Name)
		if covering.Pos.File != "" {
			remedy += fmt.Sprintf(" (%s:%d)", covering.Pos.File, covering.Pos.Line)
		}
	}
	return fmt.Sprintf("%s isolates the task less than by default, and no allowance lets the app %q do that. Remove it, or have those who decide about the cluster %s.",
		w.Written, app.Name, remedy)
}

func quote(s string) string { return `"` + s + `"` }

// AttributeWeak is the attribute of nodes that run no task which is isolated less than by default; its value is then WeakNo.
const (
	AttributeWeak = "isolation.weak"
	WeakNo        = "no"
)

// AvoidStrictNodes gives an app whose tasks are isolated less than by default the constraint that keeps it off nodes that would
// refuse to start them.
func (a *App) AvoidStrictNodes() {
	rule := Constraint{Attribute: AttributeWeak, Operator: OpNotEqual, Value: WeakNo, Pos: a.Pos}
	weak := slices.ContainsFunc(a.Tasks, func(t Task) bool { return len(t.Weakenings()) > 0 })
	if weak && !slices.ContainsFunc(a.Constraints, func(c Constraint) bool { return c.Attribute == AttributeWeak }) {
		a.Constraints = append(slices.Clip(a.Constraints), rule)
	}
}

// Covers reports whether an allowance is for an app.
func (a *Allowance) Covers(app *App) bool {
	role := slices.ContainsFunc(a.Roles, func(r RoleName) bool {
		return app.Role == r || strings.HasPrefix(string(app.Role), string(r)+"/")
	})
	return (len(a.Roles) == 0 || role) && (len(a.Apps) == 0 || slices.ContainsFunc(a.Apps, func(p string) bool { return matchApp(p, app.Name) }))
}

// matchApp matches the name of an app. A pattern that ends in "/**" matches everything below.
func matchApp(pattern string, name AppName) bool {
	if below, ok := strings.CutSuffix(pattern, "/**"); ok {
		for i, c := range string(name) {
			if c == '/' && matches([]string{below}, string(name[:i])) {
				return true
			}
		}
		return false
	}
	return matches([]string{pattern}, string(name))
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

// Refused returns what a task of an app weakens though none of the allowances lets it, and the first of those that name
// the app or its role, or nil.
func Refused(allowances []Allowance, app *App, t *Task) ([]Weakening, *Allowance) {
	weak := t.Weakenings()
	if len(weak) == 0 {
		return nil, nil
	}
	var covering []*Allowance
	for i := range allowances {
		if allowances[i].Covers(app) {
			covering = append(covering, &allowances[i])
		}
	}
	weak = slices.DeleteFunc(weak, func(w Weakening) bool {
		return slices.ContainsFunc(covering, func(a *Allowance) bool { return a.Privileged || w.allows(a) })
	})
	for _, a := range covering {
		if len(a.Apps)+len(a.Roles) > 0 {
			return weak, a
		}
	}
	return weak, nil // one for all apps is not what more should be put into
}
