package sim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// player plays a script in a world.
type player struct {
	world     *world
	scenario  *scenario
	out       printer
	newest    *spec.Revision // the last commit, good or bad
	shown     *spec.Plan     // the plan that waits, as it was first seen
	refused   string         // the last request's refusal, until somebody expects it
	refusedAt int

	committed   *spec.Plan // of the newest commit, when it came
	committedAt spec.Time
}

type handler struct {
	args int // least
	do   func(p *player, args []string) error
}

// commands by name. Every one is a function of its own below, or in expect.go and show.go.
var handlers = map[string]handler{
	"nodes":         {1, (*player).nodes},
	"commit":        {1, (*player).commit},
	"approve":       {0, (*player).approve},
	"settle":        {0, (*player).settle},
	"advance":       {1, (*player).advance},
	"crash":         {1, (*player).crash},
	"return":        {1, (*player).comeBack},
	"partition":     {1, (*player).partition},
	"heal":          {1, (*player).heal},
	"agent-restart": {1, (*player).agentRestart},
	"freeze":        {1, (*player).freeze},
	"thaw":          {1, (*player).thaw},
	"reset":         {1, (*player).reset},
	"drain":         {1, (*player).drain},
	"undrain":       {1, (*player).undrain},
	"remove":        {1, (*player).remove},
	"exit":          {1, (*player).exit},
	"unhealthy":     {1, (*player).unhealthy},
	"healthy":       {1, (*player).healthy},
	"start":         {2, (*player).start},
	"stubborn":      {1, (*player).stubborn},
	"run":           {2, (*player).runFor},
	"restart":       {1, (*player).restart},
	"promote":       {1, (*player).promote},
	"rollback":      {1, (*player).rollback},
	"resume":        {0, (*player).resume},
	"leader-change": {0, (*player).leaderChange},
	"leader-freeze": {1, (*player).leaderFreeze},
	"lose-journal":  {0, (*player).loseJournal},
	"show":          {1, (*player).show},
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
		return fail(fmt.Errorf("there is no such command: the commands are %s, expect", strings.Join(sortedKeys(handlers), ", ")))
	}
	if len(c.args)-1 < h.args {
		return fail(fmt.Errorf("%s needs %d more words", c.args[0], h.args-len(c.args)+1))
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

func (p *player) nodes(args []string) error {
	names, err := expandNames(args[0])
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := spec.CheckLabel(name); err != nil {
			return err
		}
		if p.world.named[spec.NodeID(name)] != nil {
			return fmt.Errorf("there is a node %s already", name)
		}
		n := spec.Node{ID: spec.NodeID(name), Address: "10.0.0." + strconv.Itoa(len(p.world.machines)+1), Agent: "sim", Attributes: map[string]string{}}
		n.Capacity = spec.Resources{CPU: 4000, Memory: 8 * spec.GiB, Disk: 100 * spec.GiB}
		for _, arg := range args[1:] {
			if err := describe(&n, arg); err != nil {
				return err
			}
		}
		m := newMachine(p.world, n)
		p.world.machines = append(p.world.machines, m)
		p.world.named[n.ID] = m
		m.powerOn()
	}
	p.world.join(names)
	return nil
}

// describe adds one KEY=VALUE to a node.
func describe(n *spec.Node, arg string) error {
	key, value, ok := strings.Cut(arg, "=")
	if !ok {
		return fmt.Errorf("%q is no description: write it as KEY=VALUE", arg)
	}
	var err error
	switch key {
	case "cpu":
		var f float64
		f, err = strconv.ParseFloat(value, 64)
		n.Capacity.CPU = spec.MilliCPU(f * 1000)
	case "memory":
		n.Capacity.Memory, err = spec.ParseBytes(value)
	case "disk":
		n.Capacity.Disk, err = spec.ParseBytes(value)
	default:
		n.Attributes[key] = value
		if f, bad := strconv.ParseFloat(value, 64); bad == nil && !strings.Contains(key, ".") && f >= 0 && f < 1e12 {
			if n.Capacity.Named == nil {
				n.Capacity.Named = map[string]spec.Milli{}
			}
			n.Capacity.Named[key] = spec.Milli(f * 1000)
		}
	}
	return err
}

// maxNodes bounds the nodes of one command.
const maxNodes = 100_000

// expandNames reads n[1-5] and n[01-80].
func expandNames(text string) ([]string, error) {
	head, rest, ok := strings.Cut(text, "[")
	if !ok {
		return []string{text}, nil
	}
	span, tail, closed := strings.Cut(rest, "]")
	first, last, ranged := strings.Cut(span, "-")
	a, err1 := strconv.Atoi(first)
	b, err2 := strconv.Atoi(last)
	if !closed || !ranged || err1 != nil || err2 != nil || a > b || b-a >= maxNodes {
		return nil, fmt.Errorf("%q is no list of nodes: write it as n[1-5]", text)
	}
	var names []string
	for i := a; i <= b; i++ {
		names = append(names, fmt.Sprintf("%s%0*d%s", head, len(first), i, tail))
	}
	return names, nil
}

func (p *player) commit(args []string) error {
	r := p.scenario.revisions[args[0]]
	if r == nil {
		return fmt.Errorf("no files begin with %s/", args[0])
	}
	p.newest = r
	if r.Cluster != nil && p.world.master.up {
		plan, _ := p.world.master.core.Preview(*r, nil, false, 1)
		p.committed, p.committedAt = &plan, p.world.now
	}
	p.world.master.head = r
	p.world.master.step(control.SourceContact{}, control.RevisionSeen{Revision: *r, Behind: 1})
	return nil
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
	for p.shown == nil && p.world.violates == "" {
		if w := p.world.master.core.Pending(); w != nil {
			p.shown = &w.Plan
		} else if !p.world.next(limit) {
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

func (p *player) settle([]string) error { return p.world.settle() }

func (p *player) advance(args []string) error {
	d, err := spec.ParseDuration(args[0])
	if err != nil {
		return err
	}
	p.world.run(p.world.now.Add(d))
	return nil
}

// each calls f with the machine of every name.
func (p *player) each(args []string, f func(*machine)) error {
	for _, arg := range args {
		names, err := expandNames(arg)
		if err != nil {
			return err
		}
		for _, name := range names {
			m := p.world.named[spec.NodeID(name)]
			if m == nil {
				return fmt.Errorf("there is no node %s", name)
			}
			f(m)
		}
	}
	return nil
}

func (p *player) crash(args []string) error {
	return p.each(args, func(m *machine) {
		if m.on {
			m.powerOff()
		}
	})
}

func (p *player) comeBack(args []string) error {
	return p.each(args, func(m *machine) {
		if !m.on {
			m.powerOn()
		}
	})
}

func (p *player) partition(args []string) error {
	return p.each(args, func(m *machine) {
		m.cut = true
		m.breakLink()
	})
}

func (p *player) heal(args []string) error {
	return p.each(args, func(m *machine) {
		m.cut = false
		m.connectSoon()
	})
}

func (p *player) agentRestart(args []string) error {
	return p.each(args, func(m *machine) {
		if m.on {
			m.killAgent()
			m.later(p.world.jitter(agentFor), m.startAgent)
		}
	})
}

func (p *player) freeze(args []string) error {
	return p.each(args, func(m *machine) { m.frozen = m.core != nil })
}

func (p *player) thaw(args []string) error {
	return p.each(args, func(m *machine) {
		if m.frozen {
			held := m.held
			m.frozen, m.held = false, nil
			m.step(held...)
			m.connectSoon()
		}
	})
}

func (p *player) reset(args []string) error { return p.each(args, (*machine).breakLink) }

func (p *player) drain(args []string) error {
	return p.ask(func(r control.Request) control.Event {
		return control.Drain{Request: r, Node: spec.NodeID(args[0]), Reason: "the script says so"}
	})
}

func (p *player) undrain(args []string) error {
	return p.ask(func(r control.Request) control.Event { return control.Undrain{Request: r, Node: spec.NodeID(args[0])} })
}

func (p *player) remove(args []string) error {
	return p.ask(func(r control.Request) control.Event {
		return control.RemoveNode{Request: r, Node: spec.NodeID(args[0])}
	})
}

// slot changes what is said of a slot.
func (p *player) slot(text string, f func(*behaviour)) (spec.Slot, error) {
	s, err := spec.ParseSlot(text)
	if err != nil {
		return s, err
	}
	if p.world.slots[s] == nil {
		p.world.slots[s] = &behaviour{}
	}
	f(p.world.slots[s])
	return s, nil
}

// containers calls f with every running container of some slots.
func (p *player) containers(of func(spec.Slot) bool, f func(*machine, *container)) {
	for _, m := range p.world.machines {
		for _, r := range m.runs() {
			if k := m.containers[r]; k != nil && k.running && of(k.alloc.Slot) {
				f(m, k)
			}
		}
	}
}

func (p *player) exit(args []string) error {
	code := 1
	if len(args) > 1 {
		var err error
		if code, err = strconv.Atoi(args[1]); err != nil {
			return fmt.Errorf("%q is no exit code", args[1])
		}
	}
	s, err := p.slot(args[0], func(b *behaviour) { b.exits, b.code = true, code })
	if err == nil {
		p.containers(func(o spec.Slot) bool { return o == s }, func(m *machine, k *container) { m.exitIn(k, 0, spec.Exit{Code: code}) })
	}
	return err
}

func (p *player) unhealthy(args []string) error {
	s, err := p.slot(args[0], func(b *behaviour) { b.unhealthy = true })
	if err == nil {
		p.containers(func(o spec.Slot) bool { return o == s }, func(m *machine, k *container) { m.answer(k) })
	}
	return err
}

func (p *player) healthy(args []string) error {
	s, err := p.slot(args[0], func(b *behaviour) { *b = behaviour{} })
	if err == nil {
		p.containers(func(o spec.Slot) bool { return o == s }, func(m *machine, k *container) { m.answer(k) })
	}
	return err
}

func (p *player) start(args []string) error {
	var d spec.Duration
	var err error
	if args[1] != "never" {
		if d, err = spec.ParseDuration(args[1]); err != nil {
			return err
		}
	}
	app := spec.AppName(args[0])
	was := p.world.appBehaviour(app)
	p.world.change(app, func(b *appBehaviour) { b.start, b.never = d, args[1] == "never" })
	if was.never {
		// What waits for ever so far begins anew.
		p.containers(func(s spec.Slot) bool { return s.App == app }, func(m *machine, k *container) { m.live(k) })
	}
	return nil
}

func (p *player) stubborn(args []string) error {
	p.world.change(spec.AppName(args[0]), func(b *appBehaviour) { b.stubborn = true })
	return nil
}

func (p *player) runFor(args []string) error {
	d, err := spec.ParseDuration(args[1])
	if err == nil {
		p.world.change(spec.AppName(args[0]), func(b *appBehaviour) { b.run = d })
	}
	return err
}

func (p *player) restart(args []string) error {
	return p.ask(func(r control.Request) control.Event { return control.Restart{Request: r, App: spec.AppName(args[0])} })
}

func (p *player) promote(args []string) error {
	return p.ask(func(r control.Request) control.Event { return control.Promote{Request: r, App: spec.AppName(args[0])} })
}

func (p *player) rollback(args []string) error {
	to := p.scenario.revisions[args[0]]
	if to == nil || p.newest == nil {
		return fmt.Errorf("there is no commit %s", args[0])
	}
	return p.ask(func(r control.Request) control.Event {
		return control.Rollback{Request: r, Revision: *to, Head: p.newest.Commit, By: "operator"}
	})
}

func (p *player) resume([]string) error {
	if err := p.ask(func(r control.Request) control.Event { return control.Resume{Request: r} }); err != nil {
		return err
	}
	if p.newest != nil {
		p.world.master.step(control.RevisionSeen{Revision: *p.newest})
	}
	return nil
}

func (p *player) leaderChange([]string) error {
	if p.world.master.up {
		p.world.master.depose()
	}
	return nil
}

func (p *player) leaderFreeze(args []string) error {
	d, err := spec.ParseDuration(args[0])
	if err != nil {
		return err
	}
	p.world.master.freeze(d)
	return nil
}

func (p *player) loseJournal([]string) error {
	p.world.master.lose()
	return nil
}
