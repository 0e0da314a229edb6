package sim

import (
	"fmt"

	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// wishCommands are what operators ask of the master.
var wishCommands = map[string]handler{
	"drain":    {1, (*player).drain},
	"undrain":  {1, (*player).undrain},
	"remove":   {1, (*player).remove},
	"restart":  {1, (*player).restart},
	"promote":  {1, (*player).promote},
	"rollback": {1, (*player).rollback},
	"resume":   {0, (*player).resume},
}

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
