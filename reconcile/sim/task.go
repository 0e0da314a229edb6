package sim

import (
	"fmt"
	"strconv"

	"github.com/stowage/stowage/spec"
)

// taskCommands say how tasks behave.
var taskCommands = map[string]handler{
	"exit":      {1, ofSlot((*player).exit)},
	"unhealthy": {1, ofSlot((*player).unhealthy)},
	"healthy":   {1, ofSlot((*player).healthy)},
	"start":     {2, ofApp((*player).start)},
	"stubborn":  {1, ofApp((*player).stubborn)},
	"run":       {2, ofApp((*player).runFor)},
	"pull":      {2, ofApp((*player).pull)},
	"exec":      {2, ofApp((*player).exec)},
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

// inSlot calls f with every running container of a slot, and of that slot of every run of its app.
func (p *player) inSlot(s spec.Slot, f func(*machine, *container)) {
	for _, a := range p.world.active[s] {
		if a.alive() {
			a.machine.of(a.alloc.ID, f)
		}
	}
	if p.world.master.core.State().Agendas == nil {
		return
	}
	for _, m := range p.world.machines {
		for _, id := range sortedKeys(m.usage.running) {
			if a := &m.usage.running[id].alloc; a.App != s.App && a.Index == s.Index && template(a.App) == s.App {
				m.of(id, f)
			}
		}
	}
}

// inApp calls f with every running container of an app.
func (p *player) inApp(app spec.AppName, f func(*machine, *container)) {
	for _, m := range p.world.machines {
		for _, id := range sortedKeys(m.usage.running) {
			if name := m.usage.running[id].alloc.App; name == app || template(name) == app {
				m.of(id, f)
			}
		}
	}
}

// of calls f with every running container of an allocation.
func (m *machine) of(id spec.AllocationID, f func(*machine, *container)) {
	for _, r := range m.runs() {
		if k := m.containers[r]; r.ID == id && k != nil && k.running {
			f(m, k)
		}
	}
}

// exit shop/web[2] 1 30s: whatever runs in that slot ends so, after so long.
func (p *player) exit(args []string) error {
	code := 1
	var lives spec.Duration
	if len(args) > 2 {
		var err error
		if lives, err = spec.ParseDuration(args[2]); err != nil {
			return err
		}
	}
	if len(args) > 1 {
		var err error
		if code, err = strconv.Atoi(args[1]); err != nil {
			return fmt.Errorf("%q is no exit code", args[1])
		}
	}
	s, err := p.slot(args[0], func(b *behaviour) { b.exits, b.code, b.lives = true, code, lives })
	if err == nil {
		p.inSlot(s, func(m *machine, k *container) { m.exitIn(k, lives, spec.Exit{Code: code}) })
	}
	return err
}

func (p *player) unhealthy(args []string) error {
	s, err := p.slot(args[0], func(b *behaviour) { b.unhealthy = true })
	if err == nil {
		p.inSlot(s, func(m *machine, k *container) { m.answer(k) })
	}
	return err
}

func (p *player) healthy(args []string) error {
	s, err := p.slot(args[0], func(b *behaviour) { *b = behaviour{} })
	if err == nil {
		p.inSlot(s, func(m *machine, k *container) { m.answer(k) })
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
		p.inApp(app, func(m *machine, k *container) { m.live(k) })
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

// pull shop/web 2m, pull shop/web fails, pull shop/web ok: how its image is got from now on.
func (p *player) pull(args []string) error {
	var d spec.Duration
	why := ""
	switch args[1] {
	case "ok":
	case "fails":
		why = "the registry does not have the image"
	default:
		var err error
		if d, err = spec.ParseDuration(args[1]); err != nil {
			return err
		}
	}
	p.world.change(spec.AppName(args[0]), func(b *appBehaviour) { b.pull, b.pullErr = d, why })
	return nil
}

// exec shop/web fails, exec shop/web ok: whether its program can be started from now on.
func (p *player) exec(args []string) error {
	why := ""
	switch args[1] {
	case "ok":
	case "fails":
		why = "the program is not there: exec format error"
	default:
		return fmt.Errorf("a program starts or not: write ok or fails")
	}
	p.world.change(spec.AppName(args[0]), func(b *appBehaviour) { b.execErr = why })
	return nil
}
