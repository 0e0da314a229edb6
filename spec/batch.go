package spec

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Schedule makes an app have runs instead of allocations of its own: each time it is due or asked for, its work is done
// once. Nil: the app has allocations for as long as it stands in the repository.
type Schedule struct {
	Cron     string   `json:"cron,omitempty"`     // five fields, see package cron; "": only when somebody asks
	Timezone string   `json:"timezone,omitempty"` // "Europe/Berlin"; "" is UTC
	Overlap  Overlap  `json:"overlap"`
	CatchUp  Duration `json:"catch_up"` // a firing that nobody could follow is made up for within this
	Deadline Duration `json:"deadline"` // a run, and all that follow from it, have failed after this
	Enabled  bool     `json:"enabled"`  // false: the clock starts nothing
}

// Overlap says what a firing does while an earlier run is still under way.
type Overlap string

// The ways of overlapping.
const (
	OverlapForbid  Overlap = "forbid"  // the firing is skipped
	OverlapAllow   Overlap = "allow"   // both run
	OverlapReplace Overlap = "replace" // the earlier run is cancelled, and the new one starts when it has ended
)

// Parameter is a value that whoever dispatches a run gives it.
type Parameter struct {
	Name        string   `json:"name"`
	Description string   `json:"description,omitempty"`
	Default     string   `json:"default,omitempty"`
	Required    bool     `json:"required,omitempty"` // there is no default
	Values      []string `json:"values,omitempty"`   // all that are allowed; empty: any
	Pattern     string   `json:"pattern,omitempty"`  // an RE2 expression that the whole value matches; "": any
}

// Limits on parameters: they are a few words, no data, and no place for secrets.
const (
	MaxParameters     = 32
	MaxParameterSize  = 4 << 10  // of one value, in bytes
	MaxParametersSize = 16 << 10 // of all values of a run
	// MaxToken bounds the token of a dispatch, in bytes.
	MaxToken = 128
)

var parameterForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// CheckParameterName reports what is wrong with the name of a parameter, or nil.
func CheckParameterName(name string) error {
	if !parameterForm.MatchString(name) {
		return fmt.Errorf("%q is not a name: use at most 64 lower-case letters, digits and \"_\", a letter first", name)
	}
	return nil
}

// CheckParameter reports what is wrong with a value of the parameter, or nil.
func (p *Parameter) CheckParameter(value string) error {
	switch {
	case len(value) > MaxParameterSize:
		return fmt.Errorf("the parameter %s is %d bytes long, at most %d are allowed", p.Name, len(value), MaxParameterSize)
	case slices.Contains([]byte(value), 0):
		return fmt.Errorf("the parameter %s holds a zero byte, which no program can be given", p.Name)
	case strings.Contains(value, "${"):
		return fmt.Errorf("the parameter %s holds ${, which would be filled in on the node: leave it out", p.Name)
	case len(p.Values) > 0 && !slices.Contains(p.Values, value):
		return fmt.Errorf("the parameter %s is %q, but it has to be one of %q", p.Name, value, p.Values)
	case p.Pattern != "":
		if ok, err := regexp.MatchString(`^(?:`+p.Pattern+`)$`, value); err != nil || !ok {
			return fmt.Errorf("the parameter %s is %q, which does not match %s", p.Name, value, p.Pattern)
		}
	}
	return nil
}

// OnFailure says what becomes of a dependent app when what it depends on does not come about.
type OnFailure string

// The ways to go on.
const (
	OnFailureStop     OnFailure = "stop"     // it does not start, and says why
	OnFailureContinue OnFailure = "continue" // it starts all the same
)

// Trigger is what started a run.
type Trigger string

// The triggers.
const (
	TriggerSchedule   Trigger = "schedule"   // its time came
	TriggerDispatch   Trigger = "dispatch"   // somebody asked
	TriggerDependency Trigger = "dependency" // a run that it depends on
)

// RunState is how far a run has come.
type RunState string

// The states of a run: waiting → running → complete, failed or cancelled. A firing that did not become a run is recorded
// as skipped or missed.
const (
	RunWaiting   RunState = "waiting"   // for the runs it depends on, or for an earlier one to end
	RunRunning   RunState = "running"   // its slots have allocations, or wait for room
	RunComplete  RunState = "complete"  // every slot has done its work
	RunFailed    RunState = "failed"    // a slot failed too often, or the deadline passed
	RunCancelled RunState = "cancelled" // somebody asked, another run replaced it, or its app left the repository
	RunSkipped   RunState = "skipped"   // an earlier run was under way, or what it depends on did not complete
	RunMissed    RunState = "missed"    // nobody led when it was due, for longer than can be made up for
)

// Ended reports whether the run will not change any more.
func (s RunState) Ended() bool { return s != RunWaiting && s != RunRunning }

// Run is one time that the work of an app with a schedule is done. While it is under way it is an app of its own: its
// allocations are those of an app of its name.
type Run struct {
	Name       AppName           `json:"name"` // App, "/" and Key: "nightly/20261126-0300"
	App        AppName           `json:"app"`
	Key        string            `json:"key"`  // the moment in UTC, the same for all runs that follow from one firing
	Root       AppName           `json:"root"` // the app whose firing or dispatch it was
	Trigger    Trigger           `json:"trigger"`
	Scheduled  Time              `json:"scheduled"` // when it was due, or was asked for
	Parameters map[string]string `json:"parameters,omitempty"`
	Token      string            `json:"token,omitempty"` // of a dispatch: asking twice with one token asks once
	By         string            `json:"by,omitempty"`    // who asked
	Needs      []Dependency      `json:"needs,omitempty"` // the runs that have to end first, by name
	Alone      bool              `json:"alone,omitempty"` // it starts when nothing of an earlier run is left
	Version    Hash              `json:"version,omitempty"`
	Commit     Commit            `json:"commit,omitempty"` // that Version came from
	State      RunState          `json:"state"`
	Created    Time              `json:"created"`
	Started    Time              `json:"started,omitempty"`
	Ended      Time              `json:"ended,omitempty"`
	Deadline   Time              `json:"deadline,omitempty"`
	Reason     string            `json:"reason,omitempty"`
	Firings    int               `json:"firings,omitempty"` // of a missed one: how many this line stands for
}

// Agenda is how far the master has followed an app with runs.
type Agenda struct {
	App      AppName `json:"app"`
	Version  Hash    `json:"version"` // that the next run will have
	Cron     string  `json:"cron,omitempty"`
	Timezone string  `json:"timezone,omitempty"`
	Handled  Time    `json:"handled,omitempty"` // every firing up to here was run, skipped or missed
	Next     Time    `json:"next,omitempty"`    // the first firing after Handled; zero: none
}

// CompareRuns orders runs by name: those of one app stand together, oldest first.
func CompareRuns(a, b Run) int { return cmp.Compare(a.Name, b.Name) }

// Keys of runs.
const (
	keyOfFiring   = "20060102-1504"
	keyOfDispatch = "20060102-150405"
	// MaxRunName is what a run adds to its app's name: "/20261126-030000-100".
	MaxRunName = 20
)

// FiringKey names the runs of a firing.
func FiringKey(at Time) string { return at.Std().Format(keyOfFiring) }

// DispatchKey names the run of a dispatch: the nth of its second, from 1.
func DispatchKey(at Time, nth int) string {
	key := at.Std().Truncate(time.Second).Format(keyOfDispatch)
	if nth > 1 {
		key += "-" + strconv.Itoa(nth)
	}
	return key
}

// RunName joins an app and the key of a run.
func RunName(app AppName, key string) AppName { return app + "/" + AppName(key) }

// Roots names for each app that has runs the app whose firing or dispatch they follow from: itself, when it has a
// schedule, else that of what it depends on. Nil when no app has runs.
func Roots(apps []*App) map[AppName]AppName {
	if !slices.ContainsFunc(apps, func(a *App) bool { return a.Schedule != nil }) {
		return nil
	}
	roots, byName := map[AppName]AppName{}, make(map[AppName]*App, len(apps))
	for _, a := range apps {
		byName[a.Name] = a
		if a.Schedule != nil {
			roots[a.Name] = a.Name
		}
	}
	// Along the dependencies until nothing is new: each round settles at least one app, or is the last.
	for again := true; again; {
		again = false
		for _, a := range apps {
			if roots[a.Name] != "" || a.Kind != KindBatch {
				continue
			}
			for _, d := range a.DependsOn {
				if r := roots[d.App]; r != "" && byName[d.App] != nil {
					roots[a.Name], again = r, true
					break
				}
			}
		}
	}
	return roots
}

// ForRun returns the app of a run: the app without its schedule, with the values of the run in command, env, dir and checks.
func (a *App) ForRun(r *Run) *App {
	c := *a
	c.Name, c.Schedule, c.Parameters, c.Run, c.DependsOn = r.Name, nil, nil, r, nil
	for _, d := range a.DependsOn {
		if !slices.ContainsFunc(r.Needs, func(n Dependency) bool { return n.App == RunName(d.App, r.Key) }) {
			c.DependsOn = append(c.DependsOn, d)
		}
	}
	fill := func(text string) string { return Expand(text, r.value) }
	fillAll := func(list []string) []string {
		out := slices.Clone(list)
		for i := range out {
			out[i] = fill(out[i])
		}
		return out
	}
	c.Tasks = slices.Clone(a.Tasks)
	for i := range c.Tasks {
		t := &c.Tasks[i]
		t.Command, t.Dir = fillAll(t.Command), fill(t.Dir)
		if t.Env != nil {
			env := make(map[string]string, len(t.Env))
			for k, v := range t.Env { // any order: copied key by key
				env[k] = fill(v)
			}
			t.Env = env
		}
		t.Checks = slices.Clone(t.Checks)
		for k := range t.Checks {
			t.Checks[k].Command, t.Checks[k].Path = fillAll(t.Checks[k].Command), fill(t.Checks[k].Path)
		}
		t.Stop.Command = fillAll(t.Stop.Command)
	}
	return &c
}

// value looks up what a run fills in: param.NAME, run.name and run.time.
func (r *Run) value(name string) (string, bool) {
	switch name {
	case "run.name":
		return r.Key, true
	case "run.time":
		return r.Scheduled.Std().Format(time.RFC3339), true
	}
	const prefix = "param."
	if len(name) > len(prefix) && name[:len(prefix)] == prefix {
		v, ok := r.Parameters[name[len(prefix):]]
		return v, ok
	}
	return "", false
}
