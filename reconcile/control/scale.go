package control

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stowage/stowage/spec"
)

// onScale takes a count for an app whose specification leaves it open within bounds.
func (c *Core) onScale(e Scale) {
	d := c.following()
	var app *spec.App
	if d != nil {
		app = d.app(e.App)
	}
	switch {
	case app == nil:
		c.refuse(e.Request, fmt.Sprintf("there is no app %q in the revision that is followed. See stowage status.", e.App))
		return
	case app.Scaling == nil:
		c.refuse(e.Request, fmt.Sprintf("the count of %s is %d by %s:%d, and a commit changes it. Add scaling { min = … max = … } there to leave it to others within bounds.",
			e.App, app.Count, app.Pos.File, app.Pos.Line))
		return
	case app.Scaling.Clamp(e.Count) != e.Count:
		c.refuse(e.Request, fmt.Sprintf("%d is outside the bounds of %s, %d to %d, which stand at %s:%d. Choose a count within them, or commit others.",
			e.Count, e.App, app.Scaling.Min, app.Scaling.Max, app.Pos.File, app.Pos.Line))
		return
	case app.Count == e.Count:
		c.act(Answer{Request: e.Request, NoOp: true})
		return
	}
	was := app.Count
	c.scaleTo(spec.Scale{App: e.App, Count: e.Count, By: e.By, Reason: e.Reason, At: c.now}, was)
	c.act(Answer{Request: e.Request})
}

func (c *Core) scaleTo(s spec.Scale, was int) {
	c.record(Entry{Scaled: &s})
	c.desired = nil
	c.outdate()
	why := "by " + cmp.Or(s.By, "somebody")
	if s.Reason != "" {
		why += ": " + s.Reason
	}
	c.tell(string(s.App), fmt.Sprintf("scaled from %d to %d", was, s.Count), why)
}

// rememberScales takes up, after the journal was lost, the counts that agents still run: what somebody scaled up goes on,
// though nobody remembers who did.
func (c *Core) rememberScales(cluster *spec.Cluster) {
	for _, app := range cluster.Apps {
		if _, known := c.Scale(app.Name); known || app.Scaling == nil {
			continue
		}
		slots, last := 0, -1
		for i := range c.current {
			v := &c.current[i]
			if v.App != app.Name || v.Want != spec.WantRun || v.State.Terminal() || v.Canary || v.Index == last {
				continue
			}
			slots, last = slots+1, v.Index
		}
		if n := app.Scaling.Clamp(slots); slots > 0 && n != app.Count {
			c.scaleTo(spec.Scale{App: app.Name, Count: n, By: "the master", Reason: "as many run, and the journal that said why is lost", At: c.now}, app.Count)
		}
	}
}

// scale replaces the count of an app.
func (s *State) scale(to spec.Scale) {
	i, found := findScale(s.Scales, to.App)
	s.Scales = slices.Clone(s.Scales)
	if found {
		s.Scales[i] = to
	} else {
		s.Scales = slices.Insert(s.Scales, i, to)
	}
}

// boundScales keeps the counts that the followed revision still leaves open, within its bounds.
func (s *State) boundScales(f *Followed) {
	if len(s.Scales) == 0 {
		return
	}
	bounds := map[spec.AppName]*spec.Scaling{}
	for _, app := range f.Revision.Cluster.Apps {
		bounds[app.Name] = app.Scaling
	}
	for i := range f.Expansions {
		for _, app := range f.Expansions[i].Apps {
			bounds[app.Name] = app.Scaling
		}
	}
	s.Scales = slices.DeleteFunc(renamed(s.Scales, f.Revision.Cluster), func(to spec.Scale) bool { return bounds[to.App] == nil })
	for i := range s.Scales {
		s.Scales[i].Count = bounds[s.Scales[i].App].Clamp(s.Scales[i].Count)
	}
}

// renamed returns the scales, under the names that the cluster gives their apps now.
func renamed(scales []spec.Scale, cluster *spec.Cluster) []spec.Scale {
	scales = slices.Clone(scales)
	has := func(name spec.AppName) bool {
		return slices.ContainsFunc(cluster.Apps, func(a *spec.App) bool { return a.Name == name })
	}
	for _, m := range cluster.Moved {
		i, found := findScale(scales, m.From)
		to := spec.NewName(cluster.Moved, m.From, has)
		if _, taken := findScale(scales, to); !found || taken || has(m.From) {
			continue
		}
		scales[i].App = to
		slices.SortFunc(scales, func(a, b spec.Scale) int { return cmp.Compare(a.App, b.App) })
	}
	return scales
}

func findScale(all []spec.Scale, app spec.AppName) (int, bool) {
	return slices.BinarySearchFunc(all, app, func(s spec.Scale, n spec.AppName) int { return cmp.Compare(s.App, n) })
}

// scaleApps gives apps the counts that were chosen for them.
func scaleApps(apps []*spec.App, scales []spec.Scale) {
	for i, app := range apps {
		k, found := findScale(scales, app.Name)
		if !found || app.Scaling == nil {
			continue
		}
		if n := app.Scaling.Clamp(scales[k].Count); n != app.Count {
			a := *app
			a.Count = n
			apps[i] = &a
		}
	}
}

// Scale returns who chose the count of an app last, and which; false when its specification decides.
func (c *Core) Scale(app spec.AppName) (spec.Scale, bool) {
	i, found := findScale(c.state.Scales, app)
	if !found {
		return spec.Scale{}, false
	}
	return c.state.Scales[i], true
}
