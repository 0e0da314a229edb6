package control

import (
	"cmp"
	"maps"
	"slices"

	"github.com/stowage/stowage/reconcile/runs"
	"github.com/stowage/stowage/spec"
)

// Lookup is what a registry said of a tag: a digest, or in a sentence why there is none.
type Lookup struct {
	Digest string
	Err    string
}

// lookedUp names an image by tag as one commit has it: the same tag may mean another image in the next commit.
type lookedUp struct {
	commit spec.Commit
	image  string
}

// waitingImages are the images by tag of the revision that waits.
type waitingImages struct {
	of     *spec.Cluster
	images []string
}

const reasonUnresolved = "its registry has not answered yet"

// unpinned are the images by tag of all apps, each once and sorted.
func unpinned(lists ...[]*spec.App) []string {
	var all []string
	for _, list := range lists {
		for _, app := range list {
			all = append(all, app.Unpinned()...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// pin gives the apps the digests that are known of their images, in place, and notes those that lack one.
func (d *desired) pin(apps []*spec.App, digests map[string]string) {
	for i, app := range apps {
		apps[i] = app.PinImages(digests)
		for k := range apps[i].Tasks {
			if t := &apps[i].Tasks[k]; spec.Unpinned(t.Image) {
				d.unresolved[app.Name] = append(d.unresolved[app.Name], unresolved{t.Name, t.Image})
			}
		}
	}
}

// unresolved is an image of a task whose digest is not known.
type unresolved struct {
	task  spec.TaskName
	image string
}

// whyUnresolved says why an app is held, given what the registries said.
func whyUnresolved(missing []unresolved, said func(image string) string) string {
	m := missing[0]
	return "task " + string(m.task) + ": image " + m.image + " has no digest yet: " + cmp.Or(said(m.image), reasonUnresolved)
}

// said is what the registry said last of an image by tag that has no digest.
func (c *Core) said(commit spec.Commit) func(string) string {
	return func(image string) string { return c.failed[lookedUp{commit, image}] }
}

// wants lists the images of the candidate that have no digest, as far as its drivers have answered.
func (k *candidate) wants() []string {
	if k.images == nil {
		lists := [][]*spec.App{k.revision.Cluster.Apps}
		for i := range k.revision.Cluster.Frameworks {
			if x := k.expansions[k.revision.Cluster.Frameworks[i].Name]; x != nil {
				lists = append(lists, x.Apps)
			}
		}
		k.images = append([]string{}, unpinned(lists...)...)
	}
	return k.images
}

// resolved reports whether the registries have said of every image of the candidate what it is, or that they cannot.
func (k *candidate) resolved(c *Core) bool {
	for _, image := range k.wants() {
		if k.digests[image] == "" && c.failed[lookedUp{k.revision.Commit, image}] == "" {
			return false
		}
	}
	return true
}

// askRegistries has the images looked up that nobody has asked about.
func (c *Core) askRegistries() {
	if !c.settled {
		return
	}
	if k := c.candidate; k != nil {
		c.lookUp(k.revision.Commit, k.wants(), k.digests)
	}
	if p := c.state.Pending; p != nil {
		c.lookUp(p.Revision.Commit, c.pendingImages(p), p.Images)
	}
	if f := c.state.Following; f != nil {
		if d := c.following(); len(d.unresolved) > 0 {
			c.lookUp(f.Revision.Commit, d.images(), f.Images)
		}
	}
}

// pendingImages are the images by tag of what waits: listed once, as every step asks.
func (c *Core) pendingImages(p *Pending) []string {
	if c.waiting.of != p.Revision.Cluster {
		c.waiting.of, c.waiting.images = p.Revision.Cluster, c.imagesOf(p.Revision.Cluster, p.Expansions)
	}
	return c.waiting.images
}

func (c *Core) imagesOf(cluster *spec.Cluster, expansions []spec.Expansion) []string {
	lists := [][]*spec.App{cluster.Apps}
	for i := range expansions {
		lists = append(lists, expansions[i].Apps)
	}
	return unpinned(lists...)
}

// images are those that lack a digest.
func (d *desired) images() []string {
	var all []string
	for _, list := range d.unresolved { // any order: sorted below
		for _, m := range list {
			all = append(all, m.image)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (c *Core) lookUp(commit spec.Commit, images []string, known map[string]string) {
	var ask []string
	for _, image := range images {
		if at := (lookedUp{commit, image}); known[image] == "" && !c.lookups[at] && c.failed[at] == "" {
			c.lookups[at] = true
			ask = append(ask, image)
		}
	}
	if len(ask) > 0 {
		c.act(Resolve{commit, ask})
	}
}

// onResolved takes a registry's answer. A digest that was recorded for a commit stays, whatever is said later: the same
// commit is the same bytes.
func (c *Core) onResolved(e Resolved) {
	at := lookedUp{e.Commit, e.Image}
	delete(c.lookups, at) // whoever knows nothing of this answer asks anew, such as a commit that comes back
	if e.Digest == "" {
		c.unresolvedImage(at, cmp.Or(e.Err, reasonUnresolved))
		return
	}
	delete(c.failed, at)
	if k := c.candidate; k != nil && k.revision.Commit == e.Commit {
		k.learn(e.Image, e.Digest)
		c.dirty = true
	}
	c.pinRecorded(at, e.Digest)
}

// used are the digests of the images that the candidate names.
func (k *candidate) used() map[string]string {
	var all map[string]string
	for _, image := range k.wants() {
		if digest := k.digests[image]; digest != "" {
			if all == nil {
				all = map[string]string{}
			}
			all[image] = digest
		}
	}
	return all
}

func (k *candidate) learn(image, digest string) {
	if k.digests[image] == "" {
		k.digests[image] = digest
	}
}

// pinRecorded records a digest that came after its revision.
func (c *Core) pinRecorded(at lookedUp, digest string) {
	p, f := c.state.Pending, c.state.Following
	waits := p != nil && p.Revision.Commit == at.commit && p.Images[at.image] == ""
	follows := f != nil && f.Revision.Commit == at.commit && f.Images[at.image] == ""
	if !waits && !follows {
		return
	}
	c.record(Entry{Resolved: &Pinned{Commit: at.commit, Images: map[string]string{at.image: digest}}})
	c.tell("commit "+at.commit.Short(), "image "+at.image+" resolved", digest)
	if waits {
		c.outdate()
	}
	if follows {
		c.desired = nil
	}
}

// unresolvedImage notes that a registry gives no digest. What an image of the same name is in the revision that is followed is
// known, and taken: a registry that is down stops nothing that runs.
func (c *Core) unresolvedImage(at lookedUp, why string) {
	news := c.failed[at] != why
	c.failed[at] = why
	k, f := c.candidate, c.state.Following
	if k != nil && k.revision.Commit == at.commit && k.digests[at.image] == "" && f != nil && f.Images[at.image] != "" {
		k.learn(at.image, f.Images[at.image])
		c.tell("commit "+at.commit.Short(), "image "+at.image+" stays what it was in "+f.Revision.Commit.Short(), why)
		news = true
	}
	if news {
		c.dirty = true
		c.outdate()
	}
}

// Unresolved lists what is to be asked again: images by tag without a digest, of the revisions that matter.
func (c *Core) Unresolved() []Resolve {
	var list []Resolve
	add := func(commit spec.Commit, images []string, known map[string]string) {
		images = slices.DeleteFunc(slices.Clone(images), func(image string) bool {
			return known[image] != "" || c.failed[lookedUp{commit, image}] == ""
		})
		if len(images) > 0 {
			list = append(list, Resolve{commit, images})
		}
	}
	if f := c.state.Following; f != nil {
		add(f.Revision.Commit, c.following().images(), f.Images)
	}
	if p := c.state.Pending; p != nil {
		add(p.Revision.Commit, c.pendingImages(p), p.Images)
	}
	return list
}

// forgetFailed drops what registries could not say about a commit, so that they are asked anew.
func (c *Core) forgetFailed(commit spec.Commit) {
	maps.DeleteFunc(c.failed, func(at lookedUp, _ string) bool { return at.commit == commit })
}

// forgetLookups drops what registries said about revisions that do not matter any more.
func (c *Core) forgetLookups() {
	matters := map[spec.Commit]bool{}
	if f := c.state.Following; f != nil {
		matters[f.Revision.Commit] = true
	}
	if p := c.state.Pending; p != nil {
		matters[p.Revision.Commit] = true
	}
	if k := c.candidate; k != nil {
		matters[k.revision.Commit] = true
	}
	maps.DeleteFunc(c.failed, func(at lookedUp, _ string) bool { return !matters[at.commit] })
	maps.DeleteFunc(c.lookups, func(at lookedUp, _ bool) bool { return !matters[at.commit] })
}

// unresolvedRun says why no run of a root, with those that follow from it, can be made now: each keeps the version that it
// begins with, so that version has to be whole. "" when it is.
func (c *Core) unresolvedRun(all []runs.Template, root spec.AppName) string {
	d := c.following()
	for i := range all {
		if missing := d.unresolved[all[i].App.Name]; all[i].Root == root && missing != nil {
			return string(all[i].App.Name) + ": " + whyUnresolved(missing, c.said(c.state.Following.Revision.Commit))
		}
	}
	return ""
}

// previewed are the digests that a preview goes by: those recorded for the commit, those that were looked up, and where a
// registry does not answer those of the revision that is followed, as if the commit were followed now.
func (c *Core) previewed(commit spec.Commit, looked map[string]Lookup) map[string]string {
	all := addImages(c.state.Images(commit), nil)
	for image, l := range looked { // any order: independent keys
		switch f := c.state.Following; {
		case all[image] != "":
		case l.Digest != "":
			all[image] = l.Digest
		case f != nil && f.Images[image] != "":
			all[image] = f.Images[image]
		}
	}
	return all
}

// UnpinnedOf lists the images by tag of a cluster, with the apps that drivers made of its blocks, whose digests are not
// recorded for the commit.
func (c *Core) UnpinnedOf(r spec.Revision, expansions []spec.Expansion) []string {
	known := c.state.Images(r.Commit)
	return slices.DeleteFunc(c.imagesOf(r.Cluster, expansions), func(image string) bool { return known[image] != "" })
}

// Images are the digests that were recorded for a commit, by image as the commit names it; nil for one that was never
// followed, or too long ago. They must not be changed.
func (s *State) Images(commit spec.Commit) map[string]string {
	switch {
	case commit == "":
		return nil
	case s.Following != nil && s.Following.Revision.Commit == commit:
		return s.Following.Images
	case s.Pending != nil && s.Pending.Revision.Commit == commit:
		return s.Pending.Images
	}
	for i := len(s.History) - 1; i >= 0; i-- {
		if s.History[i].Commit == commit {
			return foldImages(s.History[:i+1])
		}
	}
	return nil
}

// foldImages adds up what entries of the history say of images: each only says what differs from the one before.
func foldImages(history []HistoryEntry) map[string]string {
	all := map[string]string{}
	for i := range history {
		for image, digest := range history[i].Images { // any order: independent keys
			if digest == "" {
				delete(all, image)
			} else {
				all[image] = digest
			}
		}
	}
	return all
}

// imagesSince is what an entry of the history says: the digests that are others than before, and "" for images that went.
func imagesSince(before, now map[string]string) map[string]string {
	diff := map[string]string{}
	for image, digest := range now { // any order: independent keys
		if before[image] != digest {
			diff[image] = digest
		}
	}
	for image := range before { // any order: independent keys
		if now[image] == "" {
			diff[image] = ""
		}
	}
	if len(diff) == 0 {
		return nil
	}
	return diff
}

// dropOldest forgets the oldest entries of the history; what they said of images goes to the one after them.
func dropOldest(history []HistoryEntry, n int) []HistoryEntry {
	if n <= 0 {
		return history
	}
	if images := foldImages(history[:n+1]); n < len(history) {
		history[n].Images = nil
		if len(images) > 0 {
			history[n].Images = images
		}
	}
	return slices.Delete(history, 0, n)
}

// resolve adds digests to the revisions of a commit.
func (s *State) resolve(p *Pinned) {
	if old := s.Pending; old != nil && old.Revision.Commit == p.Commit {
		pending := *old
		pending.Images = addImages(old.Images, p.Images)
		s.Pending = &pending
	}
	if old := s.Following; old != nil && old.Revision.Commit == p.Commit {
		f := *old
		f.Images = addImages(old.Images, p.Images)
		s.Following = &f
		if n := len(s.History); n > 0 && s.History[n-1].Commit == p.Commit {
			h := &s.History[n-1]
			h.Images = addImages(h.Images, p.Images)
		}
	}
}

// addImages returns a copy with more digests; those that are there stay.
func addImages(to, more map[string]string) map[string]string {
	all := maps.Clone(to)
	if all == nil {
		all = map[string]string{}
	}
	for image, digest := range more { // any order: independent keys
		if all[image] == "" {
			all[image] = digest
		}
	}
	return all
}
