package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/stowage/stowage/spec"

	"golang.org/x/tools/txtar"
)

// minimiseTries bounds the runs of one search.
const minimiseTries = 400

// Minimise looks for the shortest scenario that goes wrong like the given one does, with the same seed, by leaving out
// commands: delta debugging, after Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, IEEE
// Transactions on Software Engineering 2002. It returns the scenario as a file, and how it ends. One that ends well is
// an error.
func Minimise(data []byte, o Options) (string, Result, error) {
	s, err := parse(data, &o)
	if err != nil {
		return "", Result{}, err
	}
	return s.minimised(o)
}

// MinimiseRandom is Minimise of what Random plays.
func MinimiseRandom(shape Shape, o Options) (string, Result, error) {
	return made(shape, o.Seed).minimised(o)
}

func (s *scenario) minimised(o Options) (string, Result, error) {
	o.Out = nil
	m := &minimiser{options: o, best: s, tries: minimiseTries}
	m.result = s.play(&o)
	if m.result.Err == nil {
		return "", m.result, errors.New("minimise: this scenario ends well")
	}
	m.commands()
	m.apps()
	m.commands()
	return m.best.text(fmt.Sprintf("stowage sim --seed %d: %v", o.Seed, m.result.Err)), m.result, nil
}

// minimiser looks for a shorter scenario.
type minimiser struct {
	options Options
	best    *scenario
	result  Result // of best
	tries   int
}

// try takes a scenario for the best one if it breaks the same.
func (m *minimiser) try(s *scenario) bool {
	if m.tries == 0 {
		return false
	}
	m.tries--
	o := m.options
	r := s.play(&o)
	if r.Err == nil || r.Broke != m.result.Broke {
		return false
	}
	m.best, m.result = s, r
	return true
}

// commands leaves out as many commands as it can: halves first, then ever smaller pieces, until none can go.
func (m *minimiser) commands() {
	for size := max(1, len(m.best.commands)/2); ; {
		shorter := false
		for at := 0; at < len(m.best.commands); {
			s, end := *m.best, min(at+size, len(m.best.commands))
			piece := m.kept(s.commands[at:end], s.commands[end:])
			s.commands = slices.Concat(s.commands[:at], piece, s.commands[end:])
			if len(piece) < end-at && m.try(&s) {
				shorter = true
				at += len(piece)
			} else {
				at += size
			}
		}
		switch {
		case size > 1:
			size /= 2
		case !shorter || m.tries == 0:
			return
		}
	}
}

// kept are the commands that stay of those that are left out, before what comes after them.
func (m *minimiser) kept(out, after []command) []command {
	kept := slices.DeleteFunc(slices.Clone(out), func(c command) bool { return !m.stays(&c) })
	if len(kept) == 0 {
		return rests(out, after)
	}
	return kept
}

// rests returns what must stay of commands that are left out: the last settling before something is expected at rest.
// Without it, a world that has had no time for anything would pass for one that never comes to rest.
func rests(out, after []command) []command {
	is := func(text string) func(command) bool {
		return func(c command) bool { return strings.HasPrefix(c.text, text) }
	}
	if slices.ContainsFunc(after, is("settle")) || !slices.ContainsFunc(after, is("expect at-rest")) {
		return nil
	}
	for i := len(out) - 1; i >= 0; i-- {
		if is("settle")(out[i]) {
			return out[i : i+1]
		}
	}
	return nil
}

// stays reports whether a command has to stay. Where nothing is found of what is expected, an empty world would break the
// same: what makes the world and lets it live is then part of the mistake.
func (m *minimiser) stays(c *command) bool {
	if m.result.Broke == "commit" && c.args[0] == "approve?" {
		return true // a plan that nobody approved would wait as well
	}
	for _, nothing := range []string{": found 0", ": found none", ": found 0 such lines", ": found 0 changes"} {
		if strings.HasSuffix(m.result.Broke, nothing) {
			return slices.Contains([]string{"begin", "nodes", "workload", "commit", "commit?", "settle", "advance"}, c.args[0])
		}
	}
	return false
}

// apps leaves out apps of clusters that were made up.
func (m *minimiser) apps() {
	names := map[spec.AppName]bool{}
	for _, r := range m.best.revisions { // any order: collected as a set
		if r.Cluster != nil && m.best.files[r.Subject] == nil {
			for _, a := range r.Cluster.Apps {
				names[a.Name] = true
			}
		}
	}
	for _, name := range sortedKeys(names) {
		s := *m.best
		s.revisions = map[string]*spec.Revision{}
		for key, r := range m.best.revisions { // any order: copied key by key
			if s.revisions[key] = r; r.Cluster != nil && s.files[key] == nil {
				without, c := *r, *r.Cluster
				c.Apps = slices.DeleteFunc(slices.Clone(c.Apps), func(a *spec.App) bool { return a.Name == name })
				without.Cluster = &c
				s.revisions[key] = &without
			}
		}
		m.try(&s)
	}
}

// text is the scenario as a file, with a remark at its head.
func (s *scenario) text(remark string) string {
	var b strings.Builder
	b.WriteString("# " + strings.ReplaceAll(remark, "\n", "\n# ") + "\n")
	used := map[string]bool{}
	for _, c := range s.commands {
		b.WriteString(c.text + "\n")
		for _, word := range c.args[1:] {
			used[word] = true
		}
	}
	b.WriteString("\n")
	for _, name := range sortedKeys(s.revisions) {
		if !used[name] {
			continue
		}
		archive := &txtar.Archive{}
		switch {
		case s.files[name] != nil:
			for _, f := range s.files[name].Files {
				archive.Files = append(archive.Files, txtar.File{Name: name + "/" + f.Name, Data: f.Data})
			}
		case s.revisions[name].Cluster == nil:
			archive.Files = []txtar.File{{Name: name + "/cluster.hcl", Data: []byte(badText)}}
		default:
			archive.Files = []txtar.File{{Name: name + "/cluster.hcl", Data: []byte(clusterText(s.revisions[name].Cluster))}}
		}
		b.Write(txtar.Format(archive))
	}
	return b.String()
}

// badText is a commit that nobody can read.
const badText = "cluster \"random\" {\n"
