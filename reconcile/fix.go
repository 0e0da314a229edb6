package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/stowage/stowage/spec"
)

const (
	// maxFixed bounds for how many apps of a plan fixes are looked for.
	maxFixed = 16
	// maxFixes bounds how many are said of one app: people choose among a few.
	maxFixes = 4
)

// How large a change is beyond its part of what is written: what concerns others, or costs money, comes later.
const (
	sizeLoosen = 200
	sizeRemove = 500
	sizeOther  = 250
	sizeNode   = 600 // for each node
	sizeQuota  = 100
)

// The fixes, as people would do them.
const (
	fixCount      = "count = %d"
	fixOther      = "count = %d of %s"
	fixResource   = "%s = %s"
	fixTask       = "%s of task %s = %s"
	fixConstraint = "no constraint %s"
	fixLoosen     = "%s instead of %s"
	fixNode       = "one more node like %s"
	fixNodes      = "%d more nodes like %s"
	fixClass      = "one more node of class %s"
	fixClasses    = "%d more nodes of class %s"
	fixQuota      = "quota of role %s: %s = %s"
)

// fixer looks for changes that give all blocked slots of one app their place.
type fixer struct {
	w       *world
	t       *trials
	x       *app
	want    *version
	missing int
	b       *spec.Blocked
	found   []spec.Fix
}

// fixes fills in the fixes of all apps that are blocked.
func (w *world) fixes() {
	var all []*fixer
	for _, x := range w.apps {
		if n := x.homeless(); n > 0 && x.blocked != nil && x.held == "" && !x.waitsForItself() && len(all) < maxFixed {
			all = append(all, &fixer{w: w, x: x, want: x.lacking(), missing: n, b: x.blocked})
		}
	}
	if len(all) == 0 || w.roles == nil {
		return
	}
	t := w.newTrials()
	left := t.looks
	for i, f := range all {
		share := left / (len(all) - i)
		f.t, t.looks = t, share
		f.look()
		left -= share - t.looks
	}
}

// look tries what people would try, and keeps the smallest changes.
func (f *fixer) look() {
	if f.want.app.Kind != spec.KindSystem {
		f.count()
	}
	single := false
	for d, name := range f.w.fleet.Dimensions() {
		if f.short(name) {
			single = f.resource(d) || single
		}
	}
	if !single {
		f.resources()
	}
	f.quota()
	for i := range f.want.app.Constraints {
		f.constraint(i)
	}
	if f.want.app.Kind != spec.KindSystem { // on a new node a system app only has more to do
		f.nodes()
		f.others()
	}
	slices.SortStableFunc(f.found, func(a, b spec.Fix) int { return cmp.Compare(a.Size, b.Size) })
	f.b.Fixes = f.found[:min(len(f.found), maxFixes)]
	for i := range f.b.Fixes {
		f.b.Fix = append(f.b.Fix, f.b.Fixes[i].Text)
	}
}

func (f *fixer) works(edits ...spec.Edit) bool { return f.t.works(f.x.name, edits...) }

func (f *fixer) say(size int, text string, edits ...spec.Edit) {
	f.found = append(f.found, spec.Fix{Text: text, Edits: edits, Size: spec.Milli(size)})
}

// short reports whether some node is short of the resource, or a quota of it is in the way.
func (f *fixer) short(name string) bool {
	return slices.ContainsFunc(f.b.Places, func(m spec.Missing) bool { return m.Resource == name }) ||
		slices.ContainsFunc(f.b.Reasons, func(r spec.Reason) bool {
			return strings.HasPrefix(r.Rule, "quota ") && strings.HasSuffix(r.Rule, ": "+name)
		})
}

// count finds the largest count that fits.
func (f *fixer) count() {
	all := f.x.desired.app.Count
	if f.missing >= all {
		return // not even one fits
	}
	edit := func(less int) spec.Edit {
		return spec.Edit{Kind: spec.EditCount, App: f.x.name, Number: int64(all - less), Step: 1}
	}
	if less, ok := f.t.least(1, all-1, f.missing, func(n int) bool { return f.works(edit(n)) }); ok {
		f.say(less*1000/all, fmt.Sprintf(fixCount, all-less), edit(less))
	}
}

// others finds another app whose count could be lower instead: first those of least importance, then the largest.
func (f *fixer) others() {
	type other struct {
		x    *app
		need int64
	}
	d := f.w.fleet.Dimension(f.scarce())
	var list []other
	for _, y := range f.w.apps {
		if y != f.x && y.desired != nil && y.held == "" && y.desired.app.Kind != spec.KindSystem && y.desired.app.Count > 1 && y.desired.need[d] > 0 && len(y.views)+len(y.changes) > 0 {
			list = append(list, other{y, y.desired.need[d]})
		}
	}
	slices.SortStableFunc(list, func(a, b other) int {
		return cmp.Or(cmp.Compare(a.x.desired.app.Priority, b.x.desired.app.Priority),
			cmp.Compare(b.need*int64(b.x.desired.app.Count), a.need*int64(a.x.desired.app.Count)))
	})
	for _, o := range list[:min(len(list), maxOthers)] {
		all := o.x.desired.app.Count
		edit := func(less int) spec.Edit {
			return spec.Edit{Kind: spec.EditCount, App: o.x.name, Number: int64(all - less), Step: 1}
		}
		guess := int((f.want.need[d]*int64(f.missing) + o.need - 1) / o.need)
		if guess >= all {
			continue
		}
		if less, ok := f.t.least(1, all-1, guess, func(n int) bool { return f.works(edit(n)) }); ok {
			f.say(less*1000/all+sizeOther, fmt.Sprintf(fixOther, all-less, o.x.name), edit(less))
			return
		}
	}
}

// maxOthers bounds how many other apps are tried.
const maxOthers = 3

// scarce names the resource that is most in the way.
func (f *fixer) scarce() string {
	for _, r := range f.b.Reasons {
		for _, name := range f.w.fleet.Dimensions() {
			if r.Rule == name || strings.HasPrefix(r.Rule, "quota ") && strings.HasSuffix(r.Rule, ": "+name) {
				return name
			}
		}
	}
	return f.w.fleet.Dimensions()[0]
}

// grid is the amounts of a resource that people would write for a task: how much it asks for now, and the steps below.
type grid struct {
	app  *spec.App
	task int
	name string
	now  int64
	step int64
	most int // so many steps down is the least amount that makes sense
}

// cores is what a task asks for in place of a share of the cpu.
const cores = "cores"

// grid returns false when there is nothing to take away.
func (f *fixer) grid(d int) (grid, bool) {
	name := f.w.fleet.Dimensions()[d]
	g := grid{app: f.x.desired.app, name: name}
	g.task, g.now = largestTask(g.app, name)
	least := int64(1)
	switch {
	case name == "cpu" && g.app.Tasks[g.task].Cores > 0:
		g.name, g.step, least = cores, 1000, 1000 // not a share: cores of its own, whole ones
	case f.w.fleet.InBytes(d):
		for g.step = int64(spec.MiB); g.step*64 < g.now; g.step *= 2 {
		}
		least = int64(spec.MinMemory)
	case g.now >= 2000:
		g.step = 100
	case g.now >= 500:
		g.step = 50
	default:
		g.step = 10
	}
	if d > 2 && g.now >= 1000 {
		g.step = 1000 // of named resources people ask for whole ones
	}
	for g.most = int((g.now - least + g.step - 1) / g.step); g.most > 0 && g.amount(g.most) < max(least, 1); g.most-- {
	}
	return g, g.most > 0
}

// amount is what is left after so many steps down; the first goes to the next round amount.
func (g *grid) amount(steps int) int64 {
	return (g.now+g.step-1)/g.step*g.step - int64(steps)*g.step
}

func (g *grid) edit(steps int) spec.Edit {
	return spec.Edit{Kind: spec.EditResource, App: g.app.Name, Task: g.app.Tasks[g.task].Name, Resource: g.name, Number: g.amount(steps), Step: g.step}
}

func (g *grid) size(steps int) int { return int((g.now - g.amount(steps)) * 1000 / g.now) }

func (f *fixer) text(g *grid, steps int) string {
	amount := f.written(f.w.fleet.Dimension(g.name), g.amount(steps))
	if len(g.app.Tasks) > 1 {
		return fmt.Sprintf(fixTask, g.name, g.app.Tasks[g.task].Name, amount)
	}
	return fmt.Sprintf(fixResource, g.name, amount)
}

// written is an amount as it stands in a file, without rounding.
func (f *fixer) written(d int, n int64) string {
	if !f.w.fleet.InBytes(d) {
		return f.w.fleet.Amount(d, n)
	}
	text := spec.Bytes(n).String()
	if exact, err := spec.ParseBytes(text); err != nil || int64(exact) != n {
		text = fmt.Sprintf("%dMiB", n/int64(spec.MiB))
	}
	return fmt.Sprintf("%q", text)
}

// resource finds the smallest decrease of one resource with which all fit.
func (f *fixer) resource(d int) bool {
	g, ok := f.grid(d)
	if !ok {
		return false
	}
	guess := f.guess(g.most, func(steps int) *spec.App { return withResource(g.app, g.task, g.name, g.amount(steps)) })
	steps, ok := f.t.least(1, g.most, guess, func(n int) bool { return f.works(g.edit(n)) })
	if ok {
		f.say(g.size(steps), f.text(&g, steps), g.edit(steps))
	}
	return ok
}

// guess finds how many steps would do if nothing else of the plan changed: a good place to begin to ask.
func (f *fixer) guess(most int, app func(steps int) *spec.App) int {
	return 1 + sort.Search(most-1, func(k int) bool { return f.w.wouldFit(f.x, app(k+1), f.missing) })
}

// wouldFit tries to place the missing slots of a changed app beside all that the plan has placed.
func (w *world) wouldFit(x *app, a *spec.App, missing int) bool {
	v := &version{app: a, need: w.fleet.Vector(a.Needs())}
	r := w.request(&job{x: x, version: v}, missing)
	delete(x.matchers, v)
	return w.fleet.Fits(r) >= missing
}

// largestTask returns the task that asks for most of a resource, and how much: of those, where there are any, without which the app would need less.
// Tasks that run at other times count only as far as they need more than those that run together.
func largestTask(a *spec.App, name string) (task int, amount int64) {
	need, counts := needOf(a, name), false
	for i := range a.Tasks {
		n := resource(&a.Tasks[i], name)
		if n == 0 {
			continue
		}
		c := needOf(withResource(a, i, name, 0), name) < need
		if c && !counts || c == counts && n > amount {
			task, amount, counts = i, n, c
		}
	}
	return task, amount
}

func needOf(a *spec.App, name string) int64 {
	n := a.Needs()
	return resource(&spec.Task{CPU: n.CPU, Memory: n.Memory, Disk: n.Disk, Resources: n.Named}, name)
}

// resources finds a change of several resources at once, where a node is short of all of them: first in proportion,
// then as much as fits of each.
func (f *fixer) resources() {
	var grids []grid
	for _, name := range f.shortTogether() {
		g, ok := f.grid(f.w.fleet.Dimension(name))
		if !ok {
			return
		}
		grids = append(grids, g)
	}
	if len(grids) < 2 {
		return
	}
	steps := make([]int, len(grids))
	scale := func(percent int) {
		for i := range grids {
			steps[i] = max(1, grids[i].most*percent/100)
		}
	}
	edits := func() (all []spec.Edit) {
		for i := range grids {
			all = append(all, grids[i].edit(steps[i]))
		}
		return all
	}
	app := func() *spec.App {
		a := f.x.desired.app
		for i := range grids {
			a = withResource(a, grids[i].task, grids[i].name, grids[i].amount(steps[i]))
		}
		return a
	}
	guess := f.guess(100, func(p int) *spec.App { scale(p); return app() })
	percent, ok := f.t.least(1, 100, guess, func(p int) bool { scale(p); return f.works(edits()...) })
	if !ok {
		return
	}
	scale(percent)
	for i := range grids {
		most := steps[i]
		guess := f.guess(most, func(n int) *spec.App { steps[i] = n; return app() })
		n, ok := f.t.least(1, most, guess, func(n int) bool { steps[i] = n; return f.works(edits()...) })
		if !ok {
			return
		}
		steps[i] = n
	}
	// Where one is taken less of, another may do with less too, as who goes where is no matter of room alone.
	for lower := true; lower; {
		lower = false
		for i := range grids {
			for steps[i]--; steps[i] > 0 && f.works(edits()...); steps[i]-- {
				lower = true
			}
			steps[i]++
		}
	}
	if f.t.spent() {
		return
	}
	size := 0
	var texts []string
	for i := range grids {
		size += grids[i].size(steps[i])
		texts = append(texts, f.text(&grids[i], steps[i]))
	}
	f.say(size, strings.Join(texts, " and "), edits()...)
}

// shortTogether names the resources that the node nearest to having room is short of.
func (f *fixer) shortTogether() []string {
	var best *spec.NodeGroup
	for i := range f.b.Groups {
		g := &f.b.Groups[i]
		if len(g.Short) > 1 && (best == nil || len(g.Rules)-len(g.Short) < len(best.Rules)-len(best.Short)) {
			best = g
		}
	}
	var names []string
	if best != nil {
		for _, m := range best.Short {
			names = append(names, m.Resource)
		}
	}
	return names
}
