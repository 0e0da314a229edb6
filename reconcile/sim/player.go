package sim

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// player plays a script in a world.
type player struct {
	world     *world
	scenario  *scenario
	out       printer
	newest    *spec.Revision // the last commit, good or bad
	may       bool           // the command may be refused
	line      int            // of the command
	shown     *spec.Plan     // the plan that waits, as it was first seen
	refused   string         // the last request's refusal, until somebody expects it
	refusedAt int

	newestName string // of the last commit; "" when it is made up
	newestLine int
	excused    bool // it may be of no use

	made  *spec.Cluster // by workload
	known *known        // what can be spoken of; nil until it is asked for
	asked bool          // the next command looks at what this one does

	supposed spec.Supposition // what is shown and expected next assumes of the nodes

	committed   *spec.Plan // of the newest commit, when it came
	committedAt spec.Time
}

// handler carries out one command.
type handler struct {
	args int // least
	do   func(p *player, args []string) error
}

// handlers are the commands by name, from the tables of the files that are about them.
var handlers = merge(stepCommands, fleetCommands, faultCommands, taskCommands, wishCommands, runCommands)

func merge(tables ...map[string]handler) map[string]handler {
	all := map[string]handler{}
	for _, table := range tables {
		for name, h := range table { // any order: copied key by key
			all[name] = h
		}
	}
	return all
}

// stepCommands move the story on.
var stepCommands = map[string]handler{
	"commit":     {1, (*player).commit},
	"rewind":     {1, (*player).rewind},
	"repository": {1, (*player).repository},
	"approve":    {0, (*player).approve},
	"hasten":     {0, (*player).hasten},
	"settle":     {0, (*player).settle},
	"advance":    {1, (*player).advance},
	"show":       {1, (*player).show},
	"suppose":    {2, (*player).suppose},
}

// play plays one command.
func (p *player) play(c *command) error {
	fail := func(err error) error { return fmt.Errorf("line %d: %s: %w", c.line, c.text, err) }
	if c.args[0] == "expect" {
		if err := p.expect(c.args[1:]); err != nil {
			return fail(err)
		}
		return nil
	}
	if p.refused != "" {
		return fmt.Errorf("line %d: refused: %s", p.refusedAt, p.refused)
	}
	name, may := strings.CutSuffix(c.args[0], "?") // may be refused
	h, ok := handlers[name]
	if !ok {
		names := append(sortedKeys(handlers), "expect")
		return fail(fmt.Errorf("there is no such command%s", orAll(meant(name, names), ": the commands are "+strings.Join(names, ", "))))
	}
	if len(c.args)-1 < h.args {
		return fail(fmt.Errorf("%s needs %d more words", c.args[0], h.args-len(c.args)+1))
	}
	p.may, p.line = may, c.line
	if !looks(c) {
		p.supposed = spec.Supposition{}
	}
	err := h.do(p, c.args[1:])
	if p.world.violates != "" {
		err = errors.New("violated " + p.world.violates)
	}
	if err != nil {
		return fail(err)
	}
	if may {
		p.refused = ""
	}
	if p.refused != "" && p.refusedAt == 0 {
		p.refusedAt = c.line
	}
	if waiting := p.world.master.core.Pending(); waiting == nil {
		p.shown = nil
	} else if p.shown == nil || p.shown.Commit != waiting.Revision.Commit {
		p.shown = &waiting.Plan
	}
	return nil
}

func (p *player) commit(args []string) error {
	r := p.scenario.revisions[args[0]]
	if r == nil {
		return fmt.Errorf("no files begin with %s/", args[0])
	}
	p.follow(r)
	return p.taken(args[0], r)
}

// rewind v1: history is rewritten, and the branch's head is an older commit, or one from elsewhere.
func (p *player) rewind(args []string) error {
	r := p.scenario.revisions[args[0]]
	if r == nil {
		return fmt.Errorf("no files begin with %s/", args[0])
	}
	p.head(r, 0)
	return p.taken(args[0], r)
}

// repository gone, repository back: its server cannot be reached. What is committed meanwhile is seen when it is back.
func (p *player) repository(args []string) error {
	m := p.world.master
	switch args[0] {
	case "gone":
		m.unreachable = true
		m.step(m.contact())
	case "back":
		m.unreachable = false
		m.step(m.contact())
		if m.head != nil {
			m.step(control.RevisionSeen{Revision: *m.head})
		}
	default:
		return fmt.Errorf("a repository is gone or back, not %q", args[0])
	}
	return nil
}

// follow makes a revision the head of the branch.
func (p *player) follow(r *spec.Revision) { p.head(r, 1) }

func (p *player) head(r *spec.Revision, behind int) {
	p.newest, p.newestName = r, ""
	if r.Cluster != nil && p.world.master.up && p.asked {
		plan, _ := p.world.master.core.Preview(*r, nil, false, 1)
		p.committed, p.committedAt = &plan, p.world.now
	}
	p.world.master.head = r
	if !p.world.master.unreachable {
		p.world.master.step(control.SourceContact{}, control.RevisionSeen{Revision: *r, Behind: behind})
	}
}

// ask carries out a request of an operator.
func (p *player) ask(make func(control.Request) control.Event) error {
	p.refused, p.refusedAt = "", 0
	a, err := p.world.master.ask(make)
	if err != nil {
		return err
	}
	if a.Err != "" {
		p.refused = strings.Join(append([]string{a.Err}, a.Differs...), "\n  ")
		if a.Plan != nil {
			p.shown = a.Plan
		}
	}
	return nil
}

func (p *player) approve(args []string) error {
	limit := p.world.now.Add(2 * control.AnswerWithin)
	if p.may {
		limit = p.world.now.Add(spec.Second)
	}
	for p.shown == nil && p.world.violates == "" {
		if w := p.world.master.core.Pending(); w != nil {
			p.shown = &w.Plan
		} else if !p.world.next(limit) {
			if p.may {
				return nil
			}
			return errors.New("no plan waits for approval")
		}
	}
	e := control.Approve{ID: p.shown.ID, Mode: control.ModeBounded, By: "operator"}
	if waiting := p.world.master.core.Pending(); waiting != nil && waiting.Plan.ID != e.ID {
		e.Plan = p.shown
	}
	if len(args) > 0 {
		e.Mode = control.Mode(args[0])
	}
	return p.ask(func(r control.Request) control.Event { e.Request = r; return e })
}

// now: the changes of the commit that is followed wait for no window.
func (p *player) hasten([]string) error {
	return p.ask(func(r control.Request) control.Event {
		return control.Approve{Request: r, Now: true, By: "operator"}
	})
}

func (p *player) settle([]string) error { return p.world.settle() }

func (p *player) advance(args []string) error {
	if to, err := time.Parse(time.RFC3339, args[0]); err == nil {
		if spec.TimeOf(to) < p.world.now {
			return fmt.Errorf("%s is over: it is %s", args[0], p.world.now.Std().Format(time.RFC3339))
		}
		p.world.run(spec.TimeOf(to))
		return nil
	}
	d, err := spec.ParseDuration(args[0])
	if err != nil {
		return err
	}
	p.world.run(p.world.now.Add(d))
	return nil
}
