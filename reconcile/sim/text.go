package sim

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/stowage/stowage/spec"
)

// The cluster that a random scenario made up, as people would write it: so that its scenario can be kept as a file.

// writer writes HCL. What has its default is left out.
type writer struct {
	strings.Builder
	depth int
}

func (w *writer) line(format string, args ...any) {
	w.WriteString(strings.Repeat("  ", w.depth) + fmt.Sprintf(format, args...) + "\n")
}

func (w *writer) block(head string, body func()) {
	w.line("%s {", head)
	w.depth++
	body()
	w.depth--
	w.line("}")
}

// when writes an argument unless it has its default.
func when[T comparable](w *writer, name string, value, fallback T) {
	if value == fallback {
		return
	}
	switch v := any(value).(type) {
	case string, spec.Kind, spec.RoleName, spec.PoolName, spec.Strategy, spec.Lifecycle, spec.Duration, spec.Protocol, spec.Operator:
		w.line("%s = %q", name, fmt.Sprint(v))
	default:
		w.line("%s = %v", name, v)
	}
}

// clusterText writes a cluster. Fields that no made-up app has are not known here.
func clusterText(c *spec.Cluster) string {
	w := &writer{}
	w.block(fmt.Sprintf("cluster %q", c.Name), func() {
		when(w, "preemption", c.Preemption, false)
		when(w, "currency", c.Currency, "")
		if len(c.FailureDomains) > 0 {
			w.line("failure_domains = %s", quoted(c.FailureDomains))
		}
		if c.Policy.Name != spec.DefaultPolicy {
			w.line("policy %q {}", c.Policy.Name)
		}
		if s := c.Sync; !s.Prune || s.Approval != spec.ApprovalAuto || s.MaxPrune != (spec.Percent{Value: spec.DefaultMaxPrune}) {
			w.block("sync", func() {
				w.line("approval = %q", s.Approval)
				w.line("prune = %v", s.Prune)
				w.line("max_prune = %q", s.MaxPrune.String())
			})
		}
		if c.Overcommit.Memory != 0 {
			w.block("overcommit", func() { w.line("memory = \"%d%%\"", c.Overcommit.Memory) })
		}
		if d := c.Disruption; d.MaxTotal != nil || d.Windows != nil || d.MaxUnavailable != (spec.Percent{Value: spec.DefaultMaxUnavailable}) {
			w.block("disruption", func() {
				w.line("max_unavailable = %q", d.MaxUnavailable.String())
				if d.MaxTotal != nil {
					w.line("max_total = %q", d.MaxTotal.String())
				}
				if d.Windows != nil {
					w.line("windows = %s", quoted(d.Windows))
				}
			})
		}
		if r := c.Rebalance; r != nil {
			w.block("rebalance", func() {
				if len(r.Windows) > 0 {
					w.line("windows = %s", quoted(r.Windows))
				}
				w.line("every = %q", r.Every.String())
				w.line("min_gain = %s", r.MinGain)
				w.line("max_moves = %d", r.MaxMoves)
				w.line("parallel = %d", r.Parallel)
			})
		}
	})
	for i := range c.Windows {
		x := &c.Windows[i]
		w.block(fmt.Sprintf("window %q", x.Name), func() {
			w.line("cron = %q", x.Cron)
			w.line("duration = %q", x.Duration.String())
		})
	}
	for i := range c.Roles {
		r := &c.Roles[i]
		w.block(fmt.Sprintf("role %q", r.Name), func() {
			when(w, "weight", r.Weight, spec.DefaultWeight)
			w.amount("quota", r.Quota)
			w.amount("guarantee", r.Guarantee)
		})
	}
	for i := range c.Pools {
		w.block(fmt.Sprintf("pool %q", c.Pools[i].Name), func() { w.policy(c.Pools[i].Policy) })
	}
	for i := range c.NodeClasses {
		w.class(&c.NodeClasses[i])
	}
	for i := range c.Reservations {
		r := &c.Reservations[i]
		w.block(fmt.Sprintf("reservation %q", r.Name), func() {
			w.line("role = %q", r.Role)
			w.resources(&r.Resources)
			w.constraints(r.Constraints)
		})
	}
	for _, a := range c.Apps {
		w.app(a)
	}
	for _, m := range c.Moved {
		w.block("moved", func() {
			w.line("from = %q", m.From)
			w.line("to = %q", m.To)
		})
	}
	return w.String()
}

func (w *writer) policy(p *spec.PolicyRef) {
	if p != nil {
		w.line("policy %q {}", p.Name)
	}
}

func (w *writer) class(c *spec.NodeClass) {
	w.block(fmt.Sprintf("node_class %q", c.Name), func() {
		w.resources(&c.Capacity)
		when(w, "pool", c.Pool, "")
		when(w, "price", c.Price, 0)
		w.line("attributes = {")
		for _, name := range sortedKeys(c.Attributes) {
			w.line("  %q = %q", name, c.Attributes[name])
		}
		w.line("}")
		w.named(c.Capacity.Named)
		for _, d := range c.Devices {
			w.block(fmt.Sprintf("device %q", d.Kind), func() {
				w.line("count = %d", d.Count)
				when(w, "model", d.Model, "")
			})
		}
	})
}

// named writes amounts that have names.
func (w *writer) named(all map[string]spec.Milli) {
	if len(all) == 0 {
		return
	}
	w.line("resources = {")
	for _, name := range sortedKeys(all) {
		w.line("  %q = %s", name, all[name])
	}
	w.line("}")
}

// amount writes a block of resources, if there is any.
func (w *writer) amount(name string, r *spec.Resources) {
	if r != nil {
		w.block(name, func() { w.resources(r) })
	}
}

func (w *writer) resources(r *spec.Resources) {
	if r.CPU > 0 {
		w.line("cpu = %s", whole(r.CPU))
	}
	if r.Memory > 0 {
		w.line("memory = %q", mebibytes(r.Memory))
	}
}

func whole(c spec.MilliCPU) string { return strconv.FormatFloat(float64(c)/1000, 'f', -1, 64) }

func mebibytes(b spec.Bytes) string { return fmt.Sprintf("%dMiB", b/spec.MiB) }

func quoted[V ~string](words []V) string {
	list := make([]string, len(words))
	for i, word := range words {
		list[i] = strconv.Quote(string(word))
	}
	return "[" + strings.Join(list, ", ") + "]"
}

func (w *writer) constraints(list []spec.Constraint) {
	for _, c := range list {
		w.block("constraint", func() {
			when(w, "app", string(c.App), "")
			when(w, "attribute", c.Attribute, "")
			when(w, "operator", c.Operator, spec.OpEqual)
			when(w, "value", c.Value, "")
			when(w, "value", c.Number, 0)
			if len(c.Values) > 0 {
				w.line("value = %s", quoted(c.Values))
			}
		})
	}
}

// runs writes what makes a batch app one with runs.
func (w *writer) runs(a *spec.App) {
	s := a.Schedule
	if s == nil {
		return
	}
	var parts []string
	if s.Cron != "" {
		parts = append(parts, fmt.Sprintf("cron = %q", s.Cron), fmt.Sprintf("enabled = %v", s.Enabled))
	}
	if s.Timezone != "" {
		parts = append(parts, fmt.Sprintf("timezone = %q, catch_up = %q", s.Timezone, s.CatchUp.String()))
	}
	parts = append(parts, fmt.Sprintf("overlap = %q", s.Overlap), fmt.Sprintf("deadline = %q", s.Deadline.String()))
	w.line("schedule = { %s }", strings.Join(parts, ", "))
	for _, p := range a.Parameters {
		w.block(fmt.Sprintf("parameter %q", p.Name), func() { w.line("default = %q", p.Default) })
	}
}

func (w *writer) app(a *spec.App) {
	fresh := newApp(a.Name, a.Kind, a.Count)
	w.block(fmt.Sprintf("app %q", a.Name), func() {
		when(w, "kind", a.Kind, spec.KindService)
		if a.Kind != spec.KindSystem {
			if a.Scaling != nil {
				w.line("count = %d", a.Count) // without it, its least
			} else {
				when(w, "count", a.Count, 1)
			}
		}
		if s := a.Scaling; s != nil {
			w.block("scaling", func() {
				w.line("min = %d", s.Min)
				w.line("max = %d", s.Max)
			})
		}
		when(w, "role", a.Role, fresh.Role)
		when(w, "pool", a.Pool, fresh.Pool)
		when(w, "priority", a.Priority, fresh.Priority)
		when(w, "gang", a.Gang, false)
		when(w, "pinned", a.Pinned, false)
		for _, d := range a.DependsOn {
			parts := []string{fmt.Sprintf("app = %q", d.App)}
			if d.Deadline != 0 { // on runs there is none
				parts = append(parts, fmt.Sprintf("deadline = %q", d.Deadline.String()))
			}
			if d.OnFailure != "" {
				parts = append(parts, fmt.Sprintf("on_failure = %q", d.OnFailure))
			}
			w.line("depends_on = [{ %s }]", strings.Join(parts, ", "))
		}
		w.runs(a)
		w.constraints(a.Constraints)
		for _, f := range a.Affinities {
			w.block("affinity", func() {
				when(w, "attribute", f.Attribute, "")
				when(w, "operator", f.Operator, "")
				when(w, "value", f.Value, "")
				if len(f.Values) > 0 {
					w.line("value = %s", quoted(f.Values))
				}
				when(w, "app", string(f.App), "")
				when(w, "weight", f.Weight, 50)
			})
		}
		for _, s := range a.Spreads {
			w.block("spread", func() {
				when(w, "attribute", s.Attribute, "")
				when(w, "weight", s.Weight, 50)
				for _, v := range sortedKeys(s.Targets) {
					w.block(fmt.Sprintf("target %q", v), func() { w.line("percent = %d", s.Targets[v]) })
				}
			})
		}
		w.policy(a.Policy)
		w.update(&a.Update, &fresh.Update)
		w.retries(a, fresh)
		if len(a.Network.Ports) > 0 {
			w.block("network", func() {
				for _, p := range a.Network.Ports {
					w.block(fmt.Sprintf("port %q", p.Name), func() {
						when(w, "static", p.Static, 0)
						when(w, "protocol", p.Protocol, spec.TCP)
					})
				}
			})
		}
		for i := range a.Tasks {
			w.task(&a.Tasks[i], &fresh.Tasks[0])
		}
	})
}

func (w *writer) update(u, fresh *spec.Update) {
	if reflect.DeepEqual(u, fresh) {
		return
	}
	w.block("update", func() {
		when(w, "strategy", u.Strategy, fresh.Strategy)
		when(w, "max_parallel", u.MaxParallel, fresh.MaxParallel)
		when(w, "canary", u.Canary, fresh.Canary)
		when(w, "healthy_for", u.HealthyFor, fresh.HealthyFor)
		when(w, "deadline", u.Deadline, fresh.Deadline)
		when(w, "auto_promote", u.AutoPromote, fresh.AutoPromote)
		when(w, "auto_revert", u.AutoRevert, fresh.AutoRevert)
		for _, part := range []struct {
			name  string
			value spec.Milli
		}{{"min_healthy", u.MinHealthy}, {"surge", u.Surge}} {
			if part.value != 0 {
				w.line("%s = \"%d%%\"", part.name, part.value/10)
			}
		}
		if u.Windows != nil {
			w.line("windows = %s", quoted(u.Windows))
		}
	})
}

// retries writes how often and how long an app is tried.
func (w *writer) retries(a, fresh *spec.App) {
	if r := a.Restart; r != fresh.Restart {
		w.block("restart", func() {
			when(w, "attempts", r.Attempts, fresh.Restart.Attempts)
			when(w, "interval", r.Interval, fresh.Restart.Interval)
			when(w, "mode", string(r.Mode), "")
		})
	}
	if r := a.Reschedule; r != fresh.Reschedule {
		w.block("reschedule", func() {
			when(w, "after", r.After, fresh.Reschedule.After)
			when(w, "max_delay", r.MaxDelay, fresh.Reschedule.MaxDelay)
			when(w, "max_attempts", r.MaxAttempts, 0)
		})
	}
}

func (w *writer) task(t, fresh *spec.Task) {
	w.block(fmt.Sprintf("task %q", t.Name), func() {
		when(w, "lifecycle", t.Lifecycle, fresh.Lifecycle)
		when(w, "rootfs", string(t.Rootfs), "")
		when(w, "image", t.Image, "")
		w.line("command = %s", quoted(t.Command))
		if t.Cores > 0 {
			w.line("cores = %d", t.Cores)
		} else {
			w.line("cpu = %s", whole(t.CPU))
		}
		w.line("memory = %q", mebibytes(t.Memory))
		if t.MemoryMax > 0 {
			w.line("memory_max = %q", mebibytes(t.MemoryMax))
		}
		if t.Disk > 0 {
			w.line("disk = %q", mebibytes(t.Disk))
		}
		if t.Lifecycle != spec.LifecyclePoststop {
			when(w, "max_run", t.MaxRun, 0)
		}
		w.named(t.Resources)
		for _, d := range t.Devices {
			w.block(fmt.Sprintf("device %q", d.Kind), func() {
				when(w, "count", d.Count, 1)
				w.constraints(d.Constraints)
			})
		}
		if t.Stop.Timeout != fresh.Stop.Timeout || t.Stop.Delay != 0 || t.Stop.Command != nil {
			w.block("stop", func() {
				when(w, "timeout", t.Stop.Timeout, fresh.Stop.Timeout)
				when(w, "delay", t.Stop.Delay, 0)
				if t.Stop.Command != nil {
					w.line("command = %s", quoted(t.Stop.Command))
				}
			})
		}
	})
}
