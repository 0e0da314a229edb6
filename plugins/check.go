package plugins

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/stowage/stowage/spec"
)

// The limits on one answer of a framework driver, beyond those on any commit.
const (
	// MaxApps of one block.
	MaxApps = 1000
	// MaxSteps of one block: a list that a person reads.
	MaxSteps = 100
	// MaxText is the longest text of a step or diagnostic, in bytes.
	MaxText = 4 << 10
	// MaxArguments is the most that the command or environment of a task may hold.
	MaxArguments = 1000
)

// owns reports whether an app belongs to the block of that name.
func owns(block, app spec.AppName) bool { return strings.HasPrefix(string(app), string(block)+"/") }

// Expansion takes a driver's answer as what the cluster uses: with the apps' defaults filled in and their origin
// noted, sorted by name; complaints without a place get the block's. It is an error, and nothing of the answer is used, when any of it breaks a rule: an app
// outside the block's own name, a value out of range, a reference to what the block does not own. The answer's apps
// are copied, never changed. An error among the diagnostics is an error here too; the expansion then holds the
// diagnostics.
func Expansion(block spec.Framework, answer *Answer) (spec.Expansion, error) {
	e := spec.Expansion{Driver: block.Driver, Name: block.Name, Steps: answer.Steps, Diagnostics: slices.Clone(answer.Diagnostics)}
	if n := len(answer.Apps); n > MaxApps {
		return e, fmt.Errorf("the driver answered with %d apps, at most %d are allowed", n, MaxApps)
	}
	for _, app := range answer.Apps {
		if app == nil {
			return e, errors.New("the driver answered with an app that is null")
		}
		a := clone(app)
		Fill(a)
		a.Framework, a.Pos = block.Driver+" "+string(block.Name), block.Pos
		a.AvoidStrictNodes()
		e.Apps = append(e.Apps, a)
	}
	for i := range e.Diagnostics {
		fill(&e.Diagnostics[i].Pos, block.Pos)
	}
	slices.SortStableFunc(e.Apps, func(a, b *spec.App) int { return cmp.Compare(a.Name, b.Name) })
	return e, errors.Join(checkDiagnostics(e.Diagnostics), checkApps(block.Name, e.Apps), checkSteps(e.Steps))
}

// clone copies what Fill writes to.
func clone(app *spec.App) *spec.App {
	a := *app
	a.DependsOn = slices.Clone(a.DependsOn)
	a.Network.Ports = slices.Clone(a.Network.Ports)
	a.Tasks = slices.Clone(a.Tasks)
	for i := range a.Tasks {
		a.Tasks[i].Checks = slices.Clone(a.Tasks[i].Checks)
		a.Tasks[i].Devices = slices.Clone(a.Tasks[i].Devices)
	}
	return &a
}

func checkApps(block spec.AppName, apps []*spec.App) error {
	total, known := 0, map[spec.AppName]*spec.App{}
	for _, a := range apps {
		if known[a.Name] != nil {
			return fmt.Errorf("the driver answered with two apps called %q", a.Name)
		}
		known[a.Name] = a
		total += max(a.Count, 0)
	}
	if total > spec.MaxAllocations {
		return fmt.Errorf("the driver asks for %d allocations, at most %d are allowed", total, spec.MaxAllocations)
	}
	for _, a := range apps {
		if err := checkApp(block, a, known); err != nil {
			return fmt.Errorf("app %q of the driver: %w", a.Name, err)
		}
	}
	return checkCycles(apps, known)
}

func checkApp(block spec.AppName, a *spec.App, known map[spec.AppName]*spec.App) error {
	c := &checker{}
	c.err(spec.CheckName(string(a.Name)))
	c.that(owns(block, a.Name), "its name has to begin with %q, which is all that the block owns", string(block)+"/")
	c.that(oneOf(a.Kind, spec.KindService, spec.KindBatch, spec.KindSystem), "%q is no kind of app", a.Kind)
	c.within("count", a.Count, 0, spec.MaxCount)
	c.that(a.Kind != spec.KindSystem || a.Count == 0, "a system app has no count")
	c.within("priority", a.Priority, 0, 100)
	c.err(spec.CheckName(string(a.Role)))
	c.that(a.Policy == nil, "a driver chooses no policy: leave it to the cluster")
	c.that(a.Schedule == nil && a.Parameters == nil && a.Run == nil, "a driver's app has no runs: schedules stand in the repository")
	for _, d := range a.DependsOn {
		c.that(oneOf(d.OnFailure, "", spec.OnFailureStop, spec.OnFailureContinue), "%q is no way to go on after a failure", d.OnFailure)
		c.that(known[d.App] != nil, "it depends on %q, which is none of the driver's apps", d.App)
		c.within("the deadline of a dependency", int64(d.Deadline), 0, int64(spec.MaxDuration))
	}
	for _, f := range a.Affinities {
		c.that(f.App == "" || known[f.App] != nil, "its affinity names %q, which is none of the driver's apps", f.App)
		c.that((f.App == "") != (f.Attribute == ""), "an affinity has either an attribute or an app")
		c.within("the weight of an affinity", f.Weight, -100, 100)
		c.that(f.App != "" || operators[f.Operator] && !counts(f.Operator), "%q is no operator of an affinity", f.Operator)
	}
	for _, x := range a.Constraints {
		c.that(x.Attribute != "", "a constraint names no attribute")
		c.that(operators[x.Operator], "%q is no operator", x.Operator)
		c.that(x.Number >= 0, "a constraint's number is negative")
	}
	for _, s := range a.Spreads {
		c.that(s.Attribute != "", "a spread names no attribute")
		c.within("the weight of a spread", s.Weight, 1, 100)
	}
	c.rollout(a)
	ports := c.network(a.Network)
	c.that(len(a.Tasks) >= 1, "it has no task")
	c.within("the number of tasks", len(a.Tasks), 0, spec.MaxTasks)
	names, mains := map[spec.TaskName]bool{}, 0
	for i := range a.Tasks {
		t := &a.Tasks[i]
		c.that(!names[t.Name], "two tasks are called %q", t.Name)
		names[t.Name] = true
		if t.Lifecycle.Main() {
			mains++
		}
		c.task(t, ports)
		c.isolation(t, a.Network.Mode == spec.NetworkHost)
	}
	c.that(mains > 0, "none of its tasks is a main task")
	return c.first
}

// checker keeps the first complaint.
type checker struct{ first error }

func (c *checker) err(err error) {
	if c.first == nil {
		c.first = err
	}
}

func (c *checker) that(ok bool, format string, args ...any) {
	if !ok && c.first == nil {
		c.first = fmt.Errorf(format, args...)
	}
}

func (c *checker) rollout(a *spec.App) {
	u := a.Update
	c.that(oneOf(u.Strategy, spec.StrategyRolling, spec.StrategyCanary, spec.StrategyBlueGreen, spec.StrategyRecreate), "%q is no strategy of an update", u.Strategy)
	c.within("max_parallel", u.MaxParallel, 1, spec.MaxCount)
	c.within("canary", u.Canary, 0, spec.MaxCount)
	c.within("min_healthy", int64(u.MinHealthy), 0, 1000)
	c.within("surge", int64(u.Surge), 0, 1000)
	c.within("restart attempts", a.Restart.Attempts, -1, spec.MaxCount)
	for _, d := range []spec.Duration{u.HealthyFor, u.Deadline, a.Restart.Interval, a.Restart.Delay, a.Restart.MaxDelay,
		a.Reschedule.After, a.Reschedule.Delay, a.Reschedule.MaxDelay} {
		c.within("a duration", int64(d), 0, int64(spec.MaxDuration))
	}
}

func (c *checker) network(n spec.Network) map[string]bool {
	c.that(oneOf(n.Mode, spec.NetworkHost, spec.NetworkNone), "%q is no network mode", n.Mode)
	ports := map[string]bool{}
	for _, p := range n.Ports {
		c.err(spec.CheckLabel(p.Name))
		c.that(!ports[p.Name], "two ports are called %q", p.Name)
		c.within("a port's number", p.Static, 0, 65535)
		c.that(oneOf(p.Protocol, spec.TCP, spec.UDP), "%q is no protocol", p.Protocol)
		ports[p.Name] = true
	}
	return ports
}

func (c *checker) task(t *spec.Task, ports map[string]bool) {
	c.err(spec.CheckLabel(string(t.Name)))
	c.that(oneOf(t.Lifecycle, spec.LifecycleMain, spec.LifecycleSidecar, spec.LifecyclePrestart, spec.LifecyclePoststart, spec.LifecyclePoststop), "%q is no lifecycle", t.Lifecycle)
	c.that((t.Rootfs == "") != (t.Image == ""), "task %q needs either a rootfs or an image", t.Name)
	c.that(t.Rootfs == "" || t.Rootfs == spec.RootfsHost, "%q is no rootfs", t.Rootfs)
	c.that(t.Image != "" || len(t.Command) > 0, "task %q has no command, and no image that could bring one", t.Name)
	c.within("the arguments of a command", len(t.Command), 0, MaxArguments)
	c.within("the variables of an environment", len(t.Env), 0, MaxArguments)
	for _, text := range t.Command {
		c.that(!strings.ContainsRune(text, 0), "the command of task %q holds a zero byte", t.Name)
	}
	for name, text := range t.Env {
		c.that(name != "" && !strings.ContainsAny(name, "=\x00") && !strings.ContainsRune(text, 0), "the environment of task %q holds %q, which is no variable", t.Name, name)
	}
	c.within("cpu", int64(t.CPU), 1, int64(spec.MaxCPU))
	c.within("cores", t.Cores, 0, int(spec.MaxCPU/1000))
	c.that(t.Cores == 0 || t.CPU == spec.MilliCPU(t.Cores)*1000, "the cpu of task %q is %s, but its %d cores are a thousand each", t.Name, t.CPU, t.Cores)
	c.devices(t)
	c.within("memory", int64(t.Memory), int64(spec.MinMemory), spec.MaxBytes)
	c.within("disk", int64(t.Disk), 0, spec.MaxBytes)
	c.that(t.MemoryMax == 0 || t.MemoryMax >= t.Memory && t.MemoryMax <= spec.MaxBytes, "memory_max of task %q is below memory or too large", t.Name)
	c.within("pids", t.Pids, 1, 1<<22)
	for name, n := range t.Resources {
		c.err(spec.CheckLabel(name))
		c.within(name, int64(n), 0, 1<<50)
	}
	for what, d := range map[string]spec.Duration{"the grace of a stop": t.Stop.Timeout, "the delay of a stop": t.Stop.Delay, "the time for the command of a stop": t.Stop.CommandTimeout, "max_run": t.MaxRun} { // any order: each by itself
		c.within(what, int64(d), 0, int64(spec.MaxDuration))
	}
	c.within("the arguments of the command of a stop", len(t.Stop.Command), 0, MaxArguments)
	c.that(strings.HasPrefix(t.Stop.Signal, "SIG"), "%q is no signal", t.Stop.Signal)
	c.within("the size of a log", int64(t.Logs.MaxSize), 1, spec.MaxBytes)
	c.within("the files of a log", t.Logs.MaxFiles, 1, 1000)
	c.within("the number of checks of a task", len(t.Checks), 0, spec.MaxChecks)
	c.that(len(t.Checks) == 0 || t.Lifecycle == spec.LifecycleMain || t.Lifecycle == spec.LifecycleSidecar,
		"task %q has checks, but a %s task runs to its end and is not asked whether it is well: leave them out", t.Name, t.Lifecycle)
	checks := map[string]bool{}
	for _, k := range t.Checks {
		c.err(spec.CheckLabel(k.Name))
		c.that(!checks[k.Name], "two checks are called %q", k.Name)
		checks[k.Name] = true
		c.check(k, ports)
	}
}

func (c *checker) devices(t *spec.Task) {
	kinds := map[string]bool{}
	for _, a := range t.Devices {
		c.err(spec.CheckDeviceKind(a.Kind))
		c.that(!kinds[a.Kind], "task %q asks twice for devices of the kind %q", t.Name, a.Kind)
		kinds[a.Kind] = true
		_, twice := t.Resources[a.Kind]
		c.that(!twice, "task %q asks for %q both by name and by amount", t.Name, a.Kind)
		c.within("the count of devices", a.Count, 1, spec.MaxDeviceCount)
		for _, x := range a.Constraints {
			c.that(x.Attribute != "" && operators[x.Operator] && !counts(x.Operator), "a constraint on devices needs an attribute and an operator that looks at one device")
		}
		for _, x := range a.Affinities {
			c.that(x.Attribute != "" && operators[x.Operator] && !counts(x.Operator), "an affinity to devices needs an attribute and an operator that looks at one device")
			c.within("the weight of an affinity", x.Weight, -100, 100)
		}
	}
}

func (c *checker) check(k spec.Check, ports map[string]bool) {
	c.that(oneOf(k.Type, spec.CheckHTTP, spec.CheckHTTPS, spec.CheckTCP, spec.CheckGRPC, spec.CheckGRPCS, spec.CheckExec), "%q is no type of check", k.Type)
	if k.Type == spec.CheckExec {
		c.that(len(k.Command) > 0, "check %q has no command", k.Name)
	} else {
		c.that(ports[k.Port], "check %q asks at port %q, which the app does not have", k.Name, k.Port)
	}
	c.within("the interval of a check", int64(k.Interval), int64(spec.Millisecond), int64(spec.MaxDuration))
	c.within("the timeout of a check", int64(k.Timeout), int64(spec.Millisecond), int64(spec.MaxDuration))
	c.within("the failures of a check", k.Failures, 1, 1_000_000)
	c.within("the successes of a check", k.Successes, 0, 1_000_000)
	c.within("the time that a start check gives", int64(k.Within), 0, int64(spec.MaxDuration))
	c.that(!k.Start || !k.Gate && !k.Restart, "check %q has start, and gate or restart beside it", k.Name)
	c.that(k.Start || k.Within == 0, "check %q has within, which goes with start", k.Name)
	for _, s := range k.Status {
		_, _, err := spec.ParseStatus(s)
		c.err(err)
	}
	_, err := regexp.Compile(k.Body)
	c.err(err)
	c.within("the headers of a check", len(k.Headers), 0, spec.MaxCheckHeaders)
	for _, text := range []string{k.Body, k.CA, k.Service, k.ServerName, k.Method} {
		c.within("a text of a check", len(text), 0, spec.MaxCheckText)
	}
}

func (c *checker) within(what string, value, low, high any) {
	v, l, h := wide(value), wide(low), wide(high)
	c.that(l <= v && v <= h, "%s is %d, it has to be from %d to %d", what, v, l, h)
}

func wide(n any) int64 {
	switch n := n.(type) {
	case int:
		return int64(n)
	case int64:
		return n
	case spec.Bytes:
		return int64(n)
	}
	panic(fmt.Sprintf("plugins: %T is no number", n))
}

func oneOf[T comparable](v T, all ...T) bool { return slices.Contains(all, v) }

var operators = map[spec.Operator]bool{
	spec.OpEqual: true, spec.OpNotEqual: true, spec.OpLess: true, spec.OpLessEqual: true, spec.OpGreater: true,
	spec.OpGreaterEqual: true, spec.OpIn: true, spec.OpNotIn: true, spec.OpRegexp: true, spec.OpNotRegexp: true,
	spec.OpSet: true, spec.OpUnset: true, spec.OpDistinct: true, spec.OpMaxPer: true, spec.OpGroupBy: true, spec.OpSame: true,
}

func counts(o spec.Operator) bool {
	return oneOf(o, spec.OpDistinct, spec.OpMaxPer, spec.OpGroupBy, spec.OpSame)
}

// checkCycles refuses apps that wait for one another.
func checkCycles(apps []*spec.App, known map[spec.AppName]*spec.App) error {
	const visiting, done = 1, 2
	state := map[spec.AppName]int{}
	var visit func(a *spec.App) error
	visit = func(a *spec.App) error {
		switch state[a.Name] {
		case visiting:
			return fmt.Errorf("app %q of the driver waits for itself", a.Name)
		case done:
			return nil
		}
		state[a.Name] = visiting
		for _, d := range a.DependsOn {
			if err := visit(known[d.App]); err != nil {
				return err
			}
		}
		state[a.Name] = done
		return nil
	}
	for _, a := range apps {
		if err := visit(a); err != nil {
			return err
		}
	}
	return nil
}

func checkSteps(steps []spec.Step) error {
	c := &checker{}
	c.within("the number of steps", len(steps), 0, MaxSteps)
	for _, s := range steps {
		c.that(s.Title != "", "a step has no title")
		c.within("the length of a step's text", max(len(s.Title), len(s.Detail)), 0, MaxText)
	}
	return c.first
}

func checkDiagnostics(ds []spec.Diagnostic) error {
	c := &checker{}
	c.within("the number of diagnostics", len(ds), 0, MaxSteps)
	for i := range ds {
		c.that(oneOf(ds[i].Severity, spec.SeverityError, spec.SeverityWarning), "%q is no severity", ds[i].Severity)
		c.that(ds[i].Summary != "", "a diagnostic has no summary")
		c.within("the length of a diagnostic's text", max(len(ds[i].Summary), len(ds[i].Detail)), 0, MaxText)
	}
	for i := range ds {
		c.that(ds[i].Severity != spec.SeverityError, "the block has an error: %s: %s", ds[i].Summary, ds[i].Detail)
	}
	return c.first
}
