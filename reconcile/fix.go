package reconcile

import (
	"fmt"
	"sort"

	"github.com/stowage/stowage/spec"
)

const (
	// maxFixed bounds for how many apps of a plan a fix is looked for.
	maxFixed = 16
	// maxMoreNodes bounds how many nodes a fix asks for.
	maxMoreNodes = 10
)

// The fixes, as people would do them.
const (
	fixCount      = "count = %d"
	fixResource   = "%s = %s"
	fixTask       = "%s of task %s = %s"
	fixConstraint = "no constraint %s"
	fixNode       = "one more node like %s"
	fixNodes      = "%d more nodes like %s"
)

// fixes looks for single changes that would each give all of the missing slots a place, and tries each of them.
func (w *world) fixes(x *app, want *version, missing int) []string {
	var out []string
	if n := want.app.Count - missing; want.app.Kind != spec.KindSystem && n > 0 && n < want.app.Count {
		out = append(out, fmt.Sprintf(fixCount, n))
	}
	if want.app.Kind == spec.KindSystem {
		return out
	}
	if w.roles.bar(w.roles.byApp[x], want.need, want.need) != nil {
		return out // a quota or a guarantee is in the way: room would not help
	}
	for d := range want.need {
		if fix := w.fixResource(x, want, d, missing); fix != "" {
			out = append(out, fix)
		}
	}
	for i := range want.app.Constraints {
		c := *want.app
		c.Constraints = append(append([]spec.Constraint(nil), c.Constraints[:i]...), c.Constraints[i+1:]...)
		if w.wouldFit(x, &c, missing) {
			out = append(out, fmt.Sprintf(fixConstraint, want.app.Constraints[i]))
		}
	}
	if fix := w.fixNode(x, want, missing); fix != "" {
		out = append(out, fix)
	}
	return out
}

// wouldFit tries to place the missing slots of a changed app beside all that the plan has placed.
func (w *world) wouldFit(x *app, a *spec.App, missing int) bool {
	v := &version{app: a, need: w.fleet.Vector(a.Needs())}
	r := w.request(&job{x: x, version: v}, missing)
	delete(x.matchers, v)
	return w.fleet.Fits(r) >= missing
}

// steps of resources that a person would write.
const (
	stepCPU    = 10
	stepMemory = int64(spec.MiB)
)

// fixResource finds the largest amount of one resource with which all would fit.
func (w *world) fixResource(x *app, want *version, d, missing int) string {
	t, now := largestTask(want.app, w.fleet.Dimensions()[d])
	if now == 0 {
		return ""
	}
	step := int64(stepCPU)
	if d == 1 || d == 2 {
		step = stepMemory
		for step*1000 < now {
			step *= 2
		}
	}
	with := func(n int64) *spec.App { return withResource(want.app, t, w.fleet.Dimensions()[d], n*step) }
	most := int(now/step) - 1
	if now%step != 0 {
		most++
	}
	// The smallest decrease: fits is monotonous in the amount.
	k := sort.Search(most, func(k int) bool { return w.wouldFit(x, with(int64(most-k)), missing) })
	n := int64(most-k) * step
	if k >= most || d == 1 && n < int64(spec.MinMemory) {
		return ""
	}
	name, text := w.fleet.Dimensions()[d], w.fleet.Amount(d, n)
	if d == 1 || d == 2 {
		text = fmt.Sprintf("%q", exactBytes(n))
	}
	if len(want.app.Tasks) > 1 {
		return fmt.Sprintf(fixTask, name, want.app.Tasks[t].Name, text)
	}
	return fmt.Sprintf(fixResource, name, text)
}

// exactBytes prints whole mebibytes without rounding.
func exactBytes(n int64) string {
	if n%int64(spec.GiB) == 0 {
		return spec.Bytes(n).String()
	}
	return fmt.Sprintf("%dMiB", n/int64(spec.MiB))
}

// largestTask returns the task that asks for most of a resource, and how much.
func largestTask(a *spec.App, name string) (task int, amount int64) {
	for i := range a.Tasks {
		if n := resource(&a.Tasks[i], name); n > amount {
			task, amount = i, n
		}
	}
	return task, amount
}

func resource(t *spec.Task, name string) int64 {
	switch name {
	case "cpu":
		return int64(t.CPU)
	case "memory":
		return int64(t.Memory)
	case "disk":
		return int64(t.Disk)
	}
	return int64(t.Resources[name])
}

func withResource(a *spec.App, task int, name string, amount int64) *spec.App {
	c := *a
	c.Tasks = append([]spec.Task(nil), a.Tasks...)
	t := &c.Tasks[task]
	switch name {
	case "cpu":
		t.CPU = spec.MilliCPU(amount)
	case "memory":
		t.Memory = spec.Bytes(amount)
	case "disk":
		t.Disk = spec.Bytes(amount)
	default:
		named := make(map[string]spec.Milli, len(t.Resources))
		for _, n := range (spec.Resources{Named: t.Resources}).Names() {
			named[n] = t.Resources[n]
		}
		named[name] = spec.Milli(amount)
		t.Resources = named
	}
	return &c
}

// fixNode finds a node of which a few more would do.
func (w *world) fixNode(x *app, want *version, missing int) string {
	m := w.matcher(x, want)
	if m.Limited() || w.reserved != nil {
		return "" // what a new node's attributes would be decides, and nobody knows
	}
	best, per := -1, 0
	for _, n := range m.Takes() {
		if k := m.PerNode(int(n), missing); w.fleet.Open(int(n)) && k > per {
			best, per = int(n), k
		}
	}
	switch {
	case best < 0:
		return ""
	case per >= missing:
		return fmt.Sprintf(fixNode, w.fleet.ID(best))
	}
	if n := (missing + per - 1) / per; n <= maxMoreNodes {
		return fmt.Sprintf(fixNodes, n, w.fleet.ID(best))
	}
	return ""
}
