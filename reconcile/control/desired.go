package control

import (
	"cmp"
	"slices"
	"strings"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// desired is a revision with its frameworks expanded.
type desired struct {
	cluster *spec.Cluster
	steps   map[spec.AppName][]string
	held    map[spec.AppName]string // apps of blocks that are held
	blocks  []heldBlock             // held blocks of which no app may be known
	// unresolved are the images by tag of apps that have no digest, by app.
	unresolved map[spec.AppName][]unresolved
	hashes     map[spec.AppName]reconcile.AppHashes
}

type heldBlock struct {
	prefix string
	reason string
}

const reasonUnexpanded = "its framework driver has not answered yet"

// expand joins the apps that people wrote and those that drivers made, with the counts that were chosen for them and the
// digests that are known of their images.
func expand(cluster *spec.Cluster, expansion func(spec.AppName) *spec.Expansion, scales []spec.Scale, digests map[string]string) *desired {
	d := &desired{cluster: cluster, steps: map[spec.AppName][]string{}, held: map[spec.AppName]string{}, unresolved: map[spec.AppName][]unresolved{}}
	byTag := slices.ContainsFunc(cluster.Apps, func(a *spec.App) bool { return len(a.Unpinned()) > 0 })
	if len(cluster.Frameworks)+len(scales) == 0 && !byTag {
		d.hashes = reconcile.HashApps(cluster.Apps)
		return d
	}
	merged := *cluster
	merged.Apps = slices.Clone(cluster.Apps)
	for i := range cluster.Frameworks {
		block := &cluster.Frameworks[i]
		x := expansion(block.Name)
		if x == nil {
			x = &spec.Expansion{Held: reasonUnexpanded}
		}
		if refused := refusals(cluster, x); len(refused) > 0 {
			x = &spec.Expansion{Held: refused[0].Detail}
		}
		merged.Apps = append(merged.Apps, x.Apps...)
		if x.Held != "" {
			d.blocks = append(d.blocks, heldBlock{string(block.Name) + "/", x.Held})
		}
		for k, app := range x.Apps {
			if k == 0 {
				d.steps[app.Name] = titles(x.Steps)
			}
			if x.Held != "" {
				d.held[app.Name] = x.Held
			}
		}
	}
	slices.SortFunc(merged.Apps, func(a, b *spec.App) int { return cmp.Compare(a.Name, b.Name) })
	scaleApps(merged.Apps, renamed(scales, &merged))
	d.pin(merged.Apps, digests)
	d.cluster, d.hashes = &merged, reconcile.HashApps(merged.Apps)
	return d
}

// titles says in short what a driver will do in which order.
func titles(steps []spec.Step) []string {
	var out []string
	for _, s := range steps {
		t := s.Title
		if s.Done {
			t += " (done)"
		}
		if s.Detail != "" {
			t += ": " + s.Detail
		}
		out = append(out, t)
	}
	return out
}

// app finds an app by name; nil when the revision has none.
func (d *desired) app(name spec.AppName) *spec.App {
	i, ok := slices.BinarySearchFunc(d.cluster.Apps, name, func(a *spec.App, n spec.AppName) int { return cmp.Compare(a.Name, n) })
	if !ok {
		return nil
	}
	return d.cluster.Apps[i]
}

// policyOf names the policy that places an app.
func (d *desired) policyOf(app *spec.App) string {
	if app.Policy != nil {
		return app.Policy.Name
	}
	return d.cluster.Policy.Name
}

// plugins are the programs of one kind that the revision names and uses.
func (d *desired) plugins(kind spec.PluginKind) []spec.Plugin {
	var out []spec.Plugin
	for _, p := range d.cluster.Plugins {
		if p.Kind == kind {
			out = append(out, p)
		}
	}
	return out
}

// following is what decides now; nil before the first commit.
func (c *Core) following() *desired {
	if c.desired == nil && c.state.Following != nil {
		c.desired = expand(c.state.Following.Revision.Cluster, func(n spec.AppName) *spec.Expansion { return c.state.Expansions[n] }, c.state.Scales, c.state.Following.Images)
	}
	return c.desired
}

// heldApps are the apps of a revision that must stay exactly as they are, with the reasons. said tells what is known about
// an image without a digest.
func (c *Core) heldApps(d *desired, said func(image string) string) map[spec.AppName]string {
	held := make(map[spec.AppName]string, len(d.held))
	for name, why := range d.held { // any order: copied key by key
		held[name] = why
	}
	for _, app := range d.cluster.Apps {
		name := d.policyOf(app)
		if builtin(name) || c.policies[name].up || held[app.Name] != "" {
			continue
		}
		why := c.policies[name].reason
		if why == "" {
			why = "it has not started yet"
		}
		held[app.Name] = "the policy plugin " + name + " is down: " + why
	}
	for name, missing := range d.unresolved { // any order: independent keys
		if held[name] == "" {
			held[name] = whyUnresolved(missing, said)
		}
	}
	for _, b := range d.blocks {
		for i := range c.current {
			if app := c.current[i].App; strings.HasPrefix(string(app), b.prefix) {
				held[app] = b.reason
			}
		}
	}
	return held
}

func builtin(policy string) bool { return policy == "binpack" || policy == "spread" || policy == "" }

// ownedChanged has the driver of an allocation's block asked again.
func (c *Core) ownedChanged(v *spec.AllocationView) {
	app := c.state.Versions[v.Version]
	if app == nil || app.Framework == "" {
		return
	}
	for name := range c.state.Expansions { // any order: at most one matches
		if strings.HasPrefix(string(v.App), string(name)+"/") {
			c.asked[name] = false
		}
	}
}

// owned are the allocations of a block's apps.
func (c *Core) owned(block spec.AppName) []spec.AllocationView {
	var out []spec.AllocationView
	for i := range c.current {
		if strings.HasPrefix(string(c.current[i].App), string(block)+"/") {
			out = append(out, c.current[i])
		}
	}
	return out
}

// askPlugins asks drivers whose answer may have changed, and names the policies that are needed.
func (c *Core) askPlugins() {
	if !c.settled {
		return
	}
	var wanted []spec.Plugin
	if f := c.following(); f != nil {
		wanted = f.plugins(spec.PluginPolicy)
		for i := range f.cluster.Frameworks {
			block := &f.cluster.Frameworks[i]
			if !c.asked[block.Name] {
				c.asked[block.Name] = true
				c.expandBlock(c.state.Following.Revision.Commit, f.cluster, block)
			}
		}
	}
	want := func(cluster *spec.Cluster) {
		for _, p := range (&desired{cluster: cluster}).plugins(spec.PluginPolicy) {
			if !slices.ContainsFunc(wanted, func(o spec.Plugin) bool { return o.Name == p.Name }) {
				wanted = append(wanted, p)
			}
		}
	}
	if p := c.state.Pending; p != nil {
		want(p.Revision.Cluster)
	}
	if k := c.candidate; k != nil {
		want(k.revision.Cluster)
		for i := range k.revision.Cluster.Frameworks {
			block := &k.revision.Cluster.Frameworks[i]
			if !k.asked[block.Name] {
				k.asked[block.Name] = true
				c.expandBlock(k.revision.Commit, k.revision.Cluster, block)
			}
		}
	}
	if !slices.EqualFunc(wanted, c.wanted, func(a, b spec.Plugin) bool {
		return a.Name == b.Name && a.SHA256 == b.SHA256 && a.Command == b.Command && slices.Equal(a.Args, b.Args)
	}) {
		c.wanted = wanted
		c.act(Policies{wanted})
	}
}

func (c *Core) expandBlock(commit spec.Commit, cluster *spec.Cluster, block *spec.Framework) {
	for _, p := range cluster.Plugins {
		if p.Name == block.Driver && p.Kind == spec.PluginFramework {
			c.act(Expand{commit, *block, p, c.owned(block.Name)})
			return
		}
	}
	c.onExpanded(Expanded{commit, spec.Expansion{Driver: block.Driver, Name: block.Name,
		Held: "no plugin of kind framework is called " + block.Driver + ": add a plugin block"}})
}

// onExpanded takes a driver's answer. A held one keeps the last good apps; one with an error among its diagnostics says
// that the commit is bad.
func (c *Core) onExpanded(e Expanded) {
	x := e.Expansion
	if cluster := c.clusterOf(e.Commit); cluster != nil && x.Held == "" {
		x.Diagnostics = append(slices.Clip(x.Diagnostics), refusals(cluster, &x)...)
	}
	bad := spec.HasErrors(x.Diagnostics)
	if bad && x.Held == "" {
		x.Held = firstError(x.Diagnostics)
	}
	if k := c.candidate; k != nil && k.revision.Commit == e.Commit {
		if bad {
			c.refuseCandidate(x.Diagnostics)
			return
		}
		if x.Held != "" {
			x.Apps = nil
			if old := c.state.Expansions[x.Name]; old != nil {
				x.Apps = old.Apps
			}
		}
		k.expansions[x.Name], k.images = &x, nil
		c.dirty = true
	}
	if f := c.state.Following; f != nil && f.Revision.Commit == e.Commit {
		old := c.state.Expansions[x.Name]
		if x.Held != "" && old != nil {
			x.Apps, x.Steps = old.Apps, old.Steps
		}
		if old == nil || !sameExpansion(old, &x) {
			if old == nil || old.Held != x.Held {
				c.tell(string(x.Name), "framework "+x.Driver, x.Held)
			}
			c.record(Entry{Expanded: &x})
			c.desired = nil
		}
	}
}

func sameExpansion(a, b *spec.Expansion) bool {
	if a.Held != b.Held || len(a.Apps) != len(b.Apps) || len(a.Steps) != len(b.Steps) {
		return false
	}
	for i := range a.Apps {
		if a.Apps[i] != b.Apps[i] && a.Apps[i].Hash() != b.Apps[i].Hash() {
			return false
		}
	}
	return slices.Equal(a.Steps, b.Steps)
}
