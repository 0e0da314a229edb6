package sim

import (
	"github.com/stowage/stowage/spec"
)

// faultCommands break things, and mend them.
var faultCommands = map[string]handler{
	"crash":         {1, (*player).crash},
	"return":        {1, (*player).comeBack},
	"partition":     {1, (*player).partition},
	"heal":          {1, (*player).heal},
	"agent-restart": {1, (*player).agentRestart},
	"freeze":        {1, (*player).freeze},
	"thaw":          {1, (*player).thaw},
	"reset":         {1, (*player).reset},
	"leader-change": {0, (*player).leaderChange},
	"leader-freeze": {1, (*player).leaderFreeze},
	"lose-journal":  {0, (*player).loseJournal},
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
