package plugins

import (
	"reflect"

	"github.com/stowage/stowage/spec"
)

// Fill gives the empty fields of an app their defaults, as the language does for apps that people write, so that a
// driver names only what matters to it. A struct counts as empty when all of it is zero; a priority of 0 becomes the
// default.
func Fill(app *spec.App) {
	fill(&app.Kind, spec.KindService)
	fill(&app.Role, spec.DefaultRole)
	fill(&app.Priority, spec.DefaultPriority)
	if reflect.ValueOf(app.Update).IsZero() {
		app.Update = spec.Update{AutoPromote: true, AutoRevert: true}
	}
	fill(&app.Update.Strategy, spec.StrategyRolling)
	fill(&app.Update.MaxParallel, spec.DefaultMaxParallel)
	fill(&app.Update.HealthyFor, spec.DefaultHealthyFor)
	fill(&app.Update.Deadline, spec.DefaultUpdateDeadline)
	if app.Restart == (spec.Restart{}) {
		app.Restart.Attempts = spec.DefaultRestartAttempts
	}
	fill(&app.Restart.Interval, spec.DefaultRestartInterval)
	fill(&app.Restart.Delay, spec.DefaultRestartDelay)
	fill(&app.Restart.MaxDelay, spec.DefaultRestartMaxDelay)
	fill(&app.Reschedule.After, spec.DefaultRescheduleAfter)
	fill(&app.Reschedule.Delay, spec.DefaultRescheduleDelay)
	fill(&app.Reschedule.MaxDelay, spec.DefaultRescheduleMaxDelay)
	fill(&app.Network.Mode, spec.NetworkHost)
	for i := range app.Network.Ports {
		fill(&app.Network.Ports[i].Protocol, spec.TCP)
	}
	for i := range app.DependsOn {
		fill(&app.DependsOn[i].Deadline, spec.DefaultDependencyDeadline)
	}
	for i := range app.Tasks {
		fillTask(&app.Tasks[i])
	}
}

func fillTask(t *spec.Task) {
	fill(&t.Lifecycle, spec.LifecycleMain)
	if t.Cores > 0 {
		fill(&t.CPU, spec.MilliCPU(t.Cores)*1000)
	}
	fill(&t.CPU, spec.DefaultCPU)
	fill(&t.Memory, spec.DefaultMemory)
	fill(&t.Pids, spec.DefaultPids)
	fill(&t.Stop.Signal, spec.DefaultStopSignal)
	fill(&t.Stop.Timeout, spec.DefaultStopTimeout)
	fill(&t.Logs.MaxSize, spec.DefaultLogSize)
	fill(&t.Logs.MaxFiles, spec.DefaultLogFiles)
	if t.Lifecycle == spec.LifecyclePoststop {
		fill(&t.MaxRun, spec.DefaultPoststopMaxRun)
	}
	if len(t.Stop.Command) > 0 {
		fill(&t.Stop.CommandTimeout, spec.DefaultStopCommandTimeout)
	}
	for i := range t.Devices {
		fill(&t.Devices[i].Count, 1)
	}
	for i := range t.Checks {
		fill(&t.Checks[i].Interval, spec.DefaultCheckInterval)
		fill(&t.Checks[i].Timeout, spec.DefaultCheckTimeout)
		fill(&t.Checks[i].Failures, spec.DefaultCheckFailures)
		if t.Checks[i].Start {
			fill(&t.Checks[i].Within, spec.DefaultCheckWithin)
		}
	}
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
