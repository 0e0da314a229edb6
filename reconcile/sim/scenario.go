package sim

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"

	"golang.org/x/tools/txtar"
)

// Options are what a run depends on beside its scenario.
type Options struct {
	Seed uint64
	JSON bool
	// Story tells what happened, folded so that a person can follow a day, and ends with the figures.
	Story bool
	// Out gets each line of output, without its newline.
	Out func(line string)
	// After is told after each command how far the run is: the simulated time since its beginning and the events so far.
	After func(now spec.Duration, events int)
	// Load reads the repository of a commit. The language lives above this package's layer, so it is passed in.
	Load func(fs.FS) (*spec.Cluster, []spec.Diagnostic)
	// Policies are those beside the built-in ones, by plugin name.
	Policies map[string]place.Policy
	// Expand answers for framework drivers; nil: their blocks are held.
	Expand func(block spec.Framework, owned []spec.AllocationView) spec.Expansion
}

// Result is how a run ended.
type Result struct {
	Err     error  // a bad script, an expectation that was not met, or an invariant that was violated
	Events  int    // that were handled
	Trace   string // hash of everything that happened
	Seed    uint64
	Figures Figures
	Last    string // the last lines of the story before something went wrong
	// Broke names what went wrong, without times and names: an invariant, the command that failed, or an expectation and
	// what was found instead. Two runs that break the same may be two ways into one mistake.
	Broke string
	// Input is that of the plan that did not pass the checks; when something else went wrong, of the plan that the leader
	// would make of the commit that it follows. Nil: it follows none.
	Input *reconcile.Saved
}

// command is one line of a script.
type command struct {
	line int
	text string
	args []string
}

// scenario is a script and the revisions that it commits.
type scenario struct {
	commands  []command
	revisions map[string]*spec.Revision
	files     map[string]*txtar.Archive // of the revisions, where they were read from files
}

// say adds a command to a script.
func (s *scenario) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.commands = append(s.commands, command{len(s.commands) + 1, text, strings.Fields(text)})
}

// maxScenario bounds the bytes of a scenario.
const maxScenario = 16 << 20

// parse reads a scenario.
func parse(data []byte, o *Options) (*scenario, error) {
	if len(data) > maxScenario {
		return nil, fmt.Errorf("read scenario: it has %d bytes, at most %d are allowed", len(data), maxScenario)
	}
	if bytes.HasPrefix(data, []byte("-- ")) {
		return nil, fmt.Errorf("read scenario: the script is missing before the first file")
	}
	archive := txtar.Parse(data)
	s := &scenario{revisions: map[string]*spec.Revision{}}
	for n, line := range strings.Split(string(archive.Comment), "\n") {
		line, _, _ = strings.Cut(line, "#")
		for _, text := range strings.Split(line, "·") {
			if args := strings.Fields(text); len(args) > 0 {
				s.commands = append(s.commands, command{n + 1, strings.TrimSpace(text), args})
			}
		}
	}
	folders := map[string]*txtar.Archive{}
	for _, f := range archive.Files {
		name, path, ok := strings.Cut(f.Name, "/")
		if !ok || !fs.ValidPath(path) {
			return nil, fmt.Errorf("read scenario: file %q belongs to no commit: write it as NAME/%s", f.Name, f.Name)
		}
		if folders[name] == nil {
			folders[name] = &txtar.Archive{}
		}
		folders[name].Files = append(folders[name].Files, txtar.File{Name: path, Data: f.Data})
	}
	s.files = folders
	for _, name := range sortedKeys(folders) {
		fsys, err := txtar.FS(folders[name])
		if err != nil {
			return nil, fmt.Errorf("read scenario: the files of commit %s: %w", name, err)
		}
		cluster, diagnostics := o.Load(fsys)
		r := revision(name, cluster, diagnostics)
		r.Commit = commitHash(name + string(txtar.Format(folders[name])))
		s.revisions[name] = r
	}
	return s, nil
}

// revision makes a commit of a cluster.
func revision(name string, cluster *spec.Cluster, ds []spec.Diagnostic) *spec.Revision {
	r := &spec.Revision{Commit: commitHash(name), Subject: name, Author: "sim", Time: epoch, Diagnostics: ds}
	if cluster != nil && !spec.HasErrors(ds) {
		c := *cluster
		c.Apps = slices.Clone(cluster.Apps)
		withChecks(c.Apps)
		r.Cluster = &c
	}
	return r
}

func commitHash(text string) spec.Commit {
	sum := sha256.Sum256([]byte(text))
	return spec.Commit(hex.EncodeToString(sum[:20]))
}

// checkName is the check that apps get which have none that gates.
const checkName = "sim"

// withChecks replaces apps that nothing could keep from being healthy by copies with a check.
func withChecks(apps []*spec.App) {
	for i, app := range apps {
		if app.Kind == spec.KindBatch || gated(app) {
			continue
		}
		c := *app
		c.Tasks = slices.Clone(app.Tasks)
		for k := range c.Tasks {
			if c.Tasks[k].Lifecycle.Main() {
				c.Tasks[k].Checks = append(slices.Clone(c.Tasks[k].Checks), spec.Check{
					Name: checkName, Type: spec.CheckExec, Command: []string{"true"}, Gate: true,
					Interval: spec.DefaultCheckInterval, Timeout: spec.DefaultCheckTimeout, Failures: 1,
				})
				break
			}
		}
		apps[i] = &c
	}
}

func gated(app *spec.App) bool {
	for i := range app.Tasks {
		for _, c := range app.Tasks[i].Checks {
			if c.Gate || c.Start {
				return true
			}
		}
	}
	return false
}

// Run plays a scenario.
func Run(data []byte, o Options) Result {
	s, err := parse(data, &o)
	if err != nil {
		return Result{Err: err, Seed: o.Seed}
	}
	return s.play(&o)
}

// play runs the script to its end, or to its first failure.
func (s *scenario) play(o *Options) Result {
	if o.Out == nil {
		o.Out = func(string) {}
	}
	w := newWorld(o, s.beginning())
	p := &player{world: w, scenario: s, out: printer{w: w, json: o.JSON, out: o.Out}}
	var err error
	broke := ""
	for i := range s.commands {
		p.asked = i+1 < len(s.commands) && looks(&s.commands[i+1])
		since, began := len(w.master.events), w.now
		err = p.play(&s.commands[i])
		if o.After != nil {
			o.After(w.now.Sub(s.beginning()), w.handled)
		}
		if o.Story && (err != nil || s.commands[i].args[0] != "expect") {
			p.tell(&s.commands[i], since, began)
		}
		if err != nil {
			broke = brokeAt(w, &s.commands[i], err)
			break
		}
	}
	if err == nil && p.refused != "" {
		err, broke = fmt.Errorf("line %d: refused: %s", p.refusedAt, p.refused), "refused"
	}
	if err == nil {
		if err = p.untaken(); err != nil {
			broke = "commit"
		}
	}
	r := Result{Err: err, Events: w.handled, Trace: w.hash(), Seed: o.Seed, Figures: w.meter.figures(), Broke: broke}
	if err != nil {
		r.Input = w.input()
		r.Last = lastLines(w)
	}
	p.out.result(&r, o.Story)
	return r
}

// looks reports whether a command only looks, or says at what.
func looks(c *command) bool {
	return c.args[0] == "expect" || c.args[0] == "show" || c.args[0] == "suppose"
}

// brokeAt names what went wrong at a command. An expectation is not met in another way when something else is found.
func brokeAt(w *world, c *command, err error) string {
	if _, what, violated := strings.Cut(w.violates, ": "); violated {
		name, _, _ := strings.Cut(what, ":")
		return name
	}
	inner := errors.Unwrap(err)
	if c.args[0] == "expect" && inner != nil && strings.HasPrefix(inner.Error(), foundPrefix) {
		found, _, _ := strings.Cut(inner.Error(), "\n")
		return c.text + ": " + strings.TrimSuffix(found, ":")
	}
	return strings.Join(c.args[:min(len(c.args), 2)], " ")
}

// foundPrefix begins what is said of an expectation that is not met.
const foundPrefix = "found "

// lastOf is how many lines of the story a failure is told with.
const lastOf = 20

func lastLines(w *world) string {
	var b strings.Builder
	events := w.master.events
	for _, e := range events[max(0, len(events)-lastOf):] {
		fmt.Fprintf(&b, "%s %s: %s", w.moment(e.Time), e.Subject, e.What)
		if e.Why != "" {
			b.WriteString(" (" + e.Why + ")")
		}
		b.WriteString("\n")
	}
	return b.String()
}
