package sim

import (
	"fmt"
	"strings"

	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/reconcile/node"
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
	"lag":           {2, (*player).lag},
	"repeat":        {1, (*player).repeat},
	"skew":          {2, (*player).skew},
	"disk-full":     {1, (*player).diskFull},
	"disk-free":     {1, (*player).diskFree},
	"leader-change": {0, (*player).leaderChange},
	"leader-freeze": {1, (*player).leaderFreeze},
	"lose-journal":  {0, (*player).loseJournal},
}

// crash takes the power from machines; with wipe they come back with empty disks.
func (p *player) crash(args []string) error {
	nodes, wipe := withWord(args, "wipe")
	return p.each(nodes, func(m *machine) {
		if m.on {
			m.powerOff()
		}
		if wipe {
			m.wipe()
		}
	})
}

// withWord takes a word from the end of a command, if it is there.
func withWord(args []string, word string) ([]string, bool) {
	if n := len(args); n > 1 && args[n-1] == word {
		return args[:n-1], true
	}
	return args, false
}

func (p *player) comeBack(args []string) error {
	return p.each(args, func(m *machine) {
		if !m.on {
			m.powerOn()
		}
	})
}

// partition cuts links. With mute nothing that the nodes say arrives, with deaf nothing that is said to them; the link
// stays, and what was said arrives once it is healed.
func (p *player) partition(args []string) error {
	nodes, mute := withWord(args, "mute")
	nodes, deaf := withWord(nodes, "deaf")
	return p.each(nodes, func(m *machine) {
		m.mute, m.deaf, m.cut = m.mute || mute, m.deaf || deaf, m.cut || !mute && !deaf
		p.world.hear(m)
		if m.cut {
			m.breakLink()
		}
	})
}

func (p *player) heal(args []string) error { return p.each(args, (*machine).clearLink) }

// lag n3 5s: what is said on a link arrives that much later.
func (p *player) lag(args []string) error {
	d, err := spec.ParseDuration(args[1])
	if err != nil {
		return err
	}
	return p.each(args[:1], func(m *machine) { m.lag = d })
}

// repeat has all that arrives on a link arrive twice, as after a sender that was not sure.
func (p *player) repeat(args []string) error {
	return p.each(args, func(m *machine) { m.twice = true })
}

// skew n3 5m, skew master -5m: a clock is wrong from now on.
func (p *player) skew(args []string) error {
	text, negative := strings.CutPrefix(args[1], "-")
	d, err := spec.ParseDuration(text)
	if err != nil {
		return err
	}
	if negative {
		d = -d
	}
	if args[0] == "master" {
		p.world.master.skew = d
		p.world.master.step(control.Tick{})
		return nil
	}
	return p.each(args[:1], func(m *machine) {
		m.skew = d
		m.step(node.Tick{})
	})
}

// diskFull leaves no room on the disks of nodes, or on that of the master.
func (p *player) diskFull(args []string) error {
	if args[0] == "master" {
		p.world.master.full = true
		return nil
	}
	return p.each(args, func(m *machine) { m.full = true })
}

func (p *player) diskFree(args []string) error {
	if args[0] == "master" {
		p.world.master.full = false
		return nil
	}
	return p.each(args, (*machine).unstick)
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
	return p.each(args, func(m *machine) {
		m.frozen = m.core != nil
		p.world.hear(m)
	})
}

func (p *player) thaw(args []string) error {
	return p.each(args, func(m *machine) {
		if m.frozen {
			held := m.held
			m.frozen, m.held = false, nil
			p.world.hear(m)
			if len(m.stuck) > 0 && !m.full {
				m.held = held
				m.unstick()
			} else if len(held) > 0 {
				m.step(held...)
			}
			m.connectSoon()
		}
	})
}

func (p *player) reset(args []string) error { return p.each(args, (*machine).breakLink) }

// leaderChange has another master lead: at once; with recorded when the next decision is durable and nobody has been
// told of it; with unrecorded when it was made and is lost.
func (p *player) leaderChange(args []string) error {
	m := p.world.master
	switch {
	case len(args) == 0 && m.up:
		m.depose()
	case len(args) == 1 && (args[0] == "recorded" || args[0] == "unrecorded"):
		m.trap = args[0]
	case len(args) > 0:
		return fmt.Errorf("the leader changes at once, or at its next decision: recorded or unrecorded")
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
