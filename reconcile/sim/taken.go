package sim

import (
	"fmt"

	"github.com/stowage/stowage/spec"
)

// Whether the commits of a script are taken. One that is not changes nothing, so that all that follows is played against
// what was before; a script that means it says so.

// taken complains of a commit that cannot be read, unless the script expects that it is not used.
func (p *player) taken(name string, r *spec.Revision) error {
	p.newestName, p.newestLine = name, p.line
	p.excused = p.may || p.expects("not-used", name)
	if p.excused || r.Cluster != nil && !spec.HasErrors(r.Diagnostics) {
		return nil
	}
	return fmt.Errorf("it cannot be used%s\n  if that is meant: expect not-used %s", firstError(r), name)
}

func firstError(r *spec.Revision) string {
	for _, d := range r.Diagnostics {
		switch {
		case d.Severity != spec.SeverityError:
		case d.Pos.File == "":
			return ": " + d.Summary + ": " + d.Detail
		default:
			return fmt.Sprintf(": %s line %d: %s: %s", d.Pos.File, d.Pos.Line, d.Summary, d.Detail)
		}
	}
	return ""
}

// expects reports whether the script says somewhere what becomes of a commit.
func (p *player) expects(what, name string) bool {
	for i := range p.scenario.commands {
		if c := &p.scenario.commands[i]; len(c.args) == 3 && c.args[0] == "expect" && c.args[1] == what && c.args[2] == name {
			return true
		}
	}
	return false
}

// untaken says at the end why the newest commit was not taken, if the script does not.
func (p *player) untaken() error {
	m := p.world.master
	if p.newest == nil || p.newestName == "" || !m.up {
		return nil
	}
	fail := func(what, remedy string) error {
		return fmt.Errorf("line %d: commit %s: %s\n  if that is meant: expect %s %s", p.newestLine, p.newestName, what, remedy, p.newestName)
	}
	if f := m.core.Status().Failure; f != nil && f.Commit == p.newest.Commit && !p.excused {
		return fail("it cannot be used"+firstError(f), "not-used")
	}
	if w := m.core.Pending(); w != nil && w.Revision.Commit == p.newest.Commit && !p.expects("waiting", p.newestName) {
		return fail(fmt.Sprintf("its plan still waits for approval (%s), which approve gives", w.Why), "waiting")
	}
	return nil
}
