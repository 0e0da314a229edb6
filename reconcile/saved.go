package reconcile

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stowage/stowage/spec"
)

// SavedFormatVersion is the version of the form of Saved. Minor versions only add.
const SavedFormatVersion = "1.0"

// Saved is an input in the form in which it is kept and passed on: with it, the plan can be made again anywhere. It has
// none of the values of environments, no settings of frameworks, policies and plugins, and nothing that tasks say while
// they run. What equals has equal marks in their place, so the plan is the same.
//
// What stays are the words that a plan may repeat, as it would be another without them: why allocations ended or are not
// healthy, why rollouts and runs failed, which may repeat what a check or an executor said, what operators and commits
// gave as reasons, and the texts of framework drivers in Held and Steps. What is known of a task and not of its allocation
// is kept only where this plan repeats it: why a rollout fails at this very moment, or after which failure a slot waits.
type Saved struct {
	FormatVersion string                  `json:"format_version"`
	Salt          string                  `json:"salt"`             // of the marks
	Blocks        map[spec.AppName]string `json:"blocks,omitempty"` // the marks of the framework blocks, by name
	Input         Input                   `json:"input"`
}

// Save hides what a saved input must not tell. The salt should be one that nobody has used before.
func Save(in Input, salt string) Saved {
	s := Saved{FormatVersion: SavedFormatVersion, Salt: salt, Blocks: map[spec.AppName]string{}}
	in.Policies = nil
	started, told := foreseen(in)
	in.Current = slices.Clone(in.Current)
	for i := range in.Current {
		a := &in.Current[i]
		if told[a.ID] {
			a.Reason = a.Trouble()
		}
		a.Tasks = nil
		if a.Healthy && !a.State.Terminal() {
			a.Reason = "" // no plan asks why something is well
		}
	}
	in.Originals = maps.Clone(in.Originals)
	versions := make(map[spec.Hash]*spec.App, len(in.Versions))
	for h, a := range in.Versions { // any order: each hash has one value
		versions[h] = s.hide(a)
	}
	in.Versions = versions
	s.Input = in
	for h, a := range started { // any order: each hash has one value
		s.original(s.hide(a), h)
	}
	s.desire(in.Desired)
	return s
}

// foreseen are the apps of the runs that this very plan would begin, and the allocations of which it says why they failed.
func foreseen(in Input) (started map[spec.Hash]*spec.App, told map[spec.AllocationID]bool) {
	in.Brief = true
	p, r := Plan(in)
	told = map[spec.AllocationID]bool{}
	for i := range r.Rollouts {
		told[r.Rollouts[i].Failed] = true
	}
	for i := range p.Apps {
		if b := p.Apps[i].Blocked; b != nil && b.Failed != nil {
			told[b.Failed.ID] = true
		}
	}
	return r.Versions, told
}

// desire makes a cluster the one that is desired, and hides what it must not tell.
func (s *Saved) desire(c *spec.Cluster) {
	hidden := *c
	hidden.Apps = slices.Clone(c.Apps)
	for i, a := range c.Apps {
		h := s.Input.HashOf(a)
		hidden.Apps[i] = s.hide(a)
		if hidden.Apps[i] != a {
			s.original(hidden.Apps[i], h)
		}
	}
	hidden.Policy = s.settings(c.Policy)
	hidden.Pools = slices.Clone(c.Pools)
	for i := range hidden.Pools {
		if p := &hidden.Pools[i]; p.Policy != nil {
			marked := s.settings(*p.Policy)
			p.Policy = &marked
		}
	}
	hidden.Plugins = slices.Clone(c.Plugins)
	for i := range hidden.Plugins {
		hidden.Plugins[i].Args = nil
	}
	hidden.Frameworks = slices.Clone(c.Frameworks)
	for i := range hidden.Frameworks {
		f := &hidden.Frameworks[i]
		s.Blocks[f.Name] = s.block(f)
		f.Config, f.Places = nil, nil
	}
	s.Input.Desired, s.Input.Hashes = &hidden, nil
}

// original remembers what an app hashed to.
func (s *Saved) original(hidden *spec.App, h spec.Hash) {
	if now := hidden.Hash(); now != h {
		if s.Input.Originals == nil {
			s.Input.Originals = map[spec.Hash]spec.Hash{}
		}
		s.Input.Originals[now] = h
	}
}

// hide returns the app with marks in place of the values of its environment and the settings of its policy.
func (s *Saved) hide(a *spec.App) *spec.App {
	configured := a.Policy != nil && len(a.Policy.Config) > 0
	headed := func(c spec.Check) bool { return len(c.Headers) > 0 }
	fetched := func(a spec.Artifact) bool { return len(a.Headers) > 0 }
	if !configured && !slices.ContainsFunc(a.Tasks, func(t spec.Task) bool {
		return len(t.Env) > 0 || slices.ContainsFunc(t.Checks, headed) || slices.ContainsFunc(t.Artifacts, fetched)
	}) {
		return a
	}
	c := *a
	if configured {
		p := s.settings(*a.Policy)
		c.Policy = &p
	}
	c.Tasks = slices.Clone(a.Tasks)
	for i := range c.Tasks {
		t := &c.Tasks[i]
		if len(t.Env) > 0 {
			t.Env = s.marks(t.Env)
		}
		if slices.ContainsFunc(t.Checks, headed) {
			t.Checks = slices.Clone(t.Checks)
			for k := range t.Checks {
				if h := t.Checks[k].Headers; len(h) > 0 {
					t.Checks[k].Headers = s.marks(h)
				}
			}
		}
		if slices.ContainsFunc(t.Artifacts, fetched) {
			t.Artifacts = slices.Clone(t.Artifacts)
			for k := range t.Artifacts {
				if h := t.Artifacts[k].Headers; len(h) > 0 {
					t.Artifacts[k].Headers = s.marks(h)
				}
			}
		}
	}
	return &c
}

// settings returns the policy with marks in place of its settings, which only programs read that are no part of Saved.
func (s *Saved) settings(p spec.PolicyRef) spec.PolicyRef {
	if len(p.Config) > 0 {
		p.Config = s.marks(p.Config)
	}
	return p
}

func (s *Saved) marks(values map[string]string) map[string]string {
	out := make(map[string]string, len(values))
	for name, value := range values { // any order: copied key by key
		out[name] = s.mark(value)
	}
	return out
}

// mark stands for a value: equal values have equal marks, within one saved input.
func (s *Saved) mark(value string) string {
	m := hmac.New(sha256.New, []byte(s.Salt))
	m.Write([]byte(value))
	return "hidden:" + hex.EncodeToString(m.Sum(nil)[:12])
}

func (s *Saved) block(f *spec.Framework) string {
	b, err := json.Marshal([]any{f.Driver, f.Config})
	if err != nil {
		panic("reconcile: a block of plain values does not encode: " + err.Error())
	}
	return s.mark(string(b))
}

// heldUnasked is why the apps of a framework stay as they are in a plan of a folder without a master.
const heldUnasked = "its framework block is not the one that was saved, and no driver is asked without a master"

// Over returns the input with the apps of another cluster, such as of a working tree, in place of those saved: as the
// master would plan that cluster. Apps that framework drivers made stay where their block has not changed, and are held
// where it has.
func (s *Saved) Over(c *spec.Cluster, subject string) Input {
	o := Saved{Salt: s.Salt, Blocks: map[spec.AppName]string{}, Input: s.Input}
	in := &o.Input
	in.Originals, in.Held = maps.Clone(in.Originals), maps.Clone(in.Held)
	if in.Held == nil {
		in.Held = map[spec.AppName]string{}
	}
	made := slices.DeleteFunc(slices.Clone(in.Desired.Apps), func(a *spec.App) bool { return a.Framework == "" })
	c = s.pinned(c, in.Held)
	o.desire(c)
	for _, a := range made {
		i := slices.IndexFunc(c.Frameworks, func(f spec.Framework) bool { return strings.HasPrefix(string(a.Name), string(f.Name)+"/") })
		if i < 0 {
			continue
		}
		if f := &c.Frameworks[i]; o.Blocks[f.Name] != s.Blocks[f.Name] {
			in.Held[a.Name] = heldUnasked
		}
		in.Desired.Apps = append(in.Desired.Apps, a)
	}
	slices.SortFunc(in.Desired.Apps, func(a, b *spec.App) int { return cmp.Compare(a.Name, b.Name) })
	in.Commit, in.Subject, in.Signed, in.Base.Behind = "", subject, false, 0
	return *in
}

// heldUnresolved is why an app stays as it is in a plan without a master: its image, and the task.
const heldUnresolved = "task %s: the digest of image %s is not in the saved input, and no registry is asked without a master: pin it as %[2]s@sha256:…, or plan with the master"

// pinned returns the cluster with the digests that images by tag have in the saved input. Apps with others are held.
func (s *Saved) pinned(c *spec.Cluster, held map[spec.AppName]string) *spec.Cluster {
	digests := map[string]string{}
	for _, a := range s.Input.Desired.Apps {
		for _, image := range a.Pulled() {
			if name, digest, ok := strings.Cut(image, "@"); ok {
				digests[name] = digest
			}
		}
	}
	p := *c
	p.Apps = slices.Clone(c.Apps)
	for i, a := range c.Apps {
		p.Apps[i] = a.PinImages(digests)
		for k := range p.Apps[i].Tasks {
			if t := &p.Apps[i].Tasks[k]; spec.Unpinned(t.Image) && held[a.Name] == "" {
				held[a.Name] = fmt.Sprintf(heldUnresolved, t.Name, t.Image)
			}
		}
	}
	return &p
}

// Check reports what keeps a saved input from being planned: it is of a newer form, or not whole.
func (s *Saved) Check() error {
	major, _, _ := strings.Cut(s.FormatVersion, ".")
	mine, _, _ := strings.Cut(SavedFormatVersion, ".")
	switch {
	case s.FormatVersion == "" || major == mine && s.Input.Desired == nil:
		return errors.New("it is no saved input: stowage plan --save FILE writes one")
	case major != mine:
		return fmt.Errorf("it has the format version %s, and this program reads %s.x: use the version of stowage that wrote it", s.FormatVersion, mine)
	}
	for _, a := range s.Input.Desired.Apps {
		if a == nil {
			return errDamaged
		}
	}
	for _, a := range s.Input.Versions { // any order: one is enough
		if a == nil {
			return errDamaged
		}
	}
	return nil
}

var errDamaged = errors.New("it is damaged, apps are missing in it: save it again with stowage plan --save FILE")

// Missing names the policies that placed apps of the saved input and are no part of it, as they are programs: the apps
// that use them are held.
func (s *Saved) Missing() []string { return slices.Sorted(maps.Keys(s.Input.PolicyVersions)) }
