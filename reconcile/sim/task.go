package sim

import (
	"fmt"
	"strconv"

	"github.com/stowage/stowage/spec"
)

// taskCommands say how tasks behave.
var taskCommands = map[string]handler{
	"exit":      {1, (*player).exit},
	"unhealthy": {1, (*player).unhealthy},
	"healthy":   {1, (*player).healthy},
	"start":     {2, (*player).start},
	"stubborn":  {1, (*player).stubborn},
	"run":       {2, (*player).runFor},
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
