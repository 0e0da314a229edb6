package sim

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// wishCommands are what operators ask of the master.
var wishCommands = map[string]handler{
	"drain":     {1, (*player).drain},
	"undrain":   {1, (*player).undrain},
	"remove":    {1, (*player).remove},
	"restart":   {1, (*player).restart},
	"rebalance": {0, (*player).rebalance},
	"scale":     {2, (*player).scale},
	"promote":   {1, (*player).promote},
	"rollback":  {1, (*player).rollback},
	"resume":    {0, (*player).resume},
}

func (p *player) drain(args []string) error {
	d := control.Drain{Reason: "the script says so"}
	rest := args[:0:0]
	for _, a := range args {
		if name, ok := strings.CutPrefix(a, "window="); ok {
			d.Window = spec.WindowName(name)
			continue
		}
		text, ok := strings.CutPrefix(a, "deadline=")
		if !ok {
			rest = append(rest, a)
			continue
		}
		var err error
		if d.Deadline, err = spec.ParseDuration(text); err != nil {
			return err
		}
	}
	d.Nodes, d.Where = chosen(rest)
	return p.ask(func(r control.Request) control.Event { d.Request = r; return d })
}

// chosen reads the nodes that a wish is about: names, and NAME=VALUE for all with that attribute.
func chosen(args []string) (nodes []spec.NodeID, where map[string]string) {
	for _, a := range args {
		if name, value, ok := strings.Cut(a, "="); ok {
			if where == nil {
				where = map[string]string{}
			}
			where[name] = value
		} else {
			nodes = append(nodes, spec.NodeID(a))
		}
	}
	return nodes, where
}

func (p *player) undrain(args []string) error {
	nodes, where := chosen(args)
	return p.ask(func(r control.Request) control.Event {
		return control.Undrain{Request: r, Nodes: nodes, Where: where}
	})
}

func (p *player) remove(args []string) error {
	return p.ask(func(r control.Request) control.Event {
		return control.RemoveNode{Request: r, Node: spec.NodeID(args[0])}
	})
}

func (p *player) restart(args []string) error {
	return p.ask(func(r control.Request) control.Event { return control.Restart{Request: r, App: spec.AppName(args[0])} })
}

func (p *player) scale(args []string) error {
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("%q is no count", args[1])
	}
	return p.ask(func(r control.Request) control.Event {
		return control.Scale{Request: r, App: spec.AppName(args[0]), Count: n, By: "operator"}
	})
}

// rebalance reads "cancel", "max=N" and "parallel=N".
func (p *player) rebalance(args []string) error {
	e := control.Rebalance{By: "operator"}
	for _, a := range args {
		name, text, _ := strings.Cut(a, "=")
		if a == "cancel" {
			return p.ask(func(r control.Request) control.Event { return control.CancelRebalance{Request: r} })
		}
		n, err := strconv.Atoi(text)
		switch {
		case err == nil && n > 0 && name == "max":
			e.Moves = n
		case err == nil && n > 0 && name == "parallel":
			e.Parallel = n
		default:
			return fmt.Errorf("%q is nothing that a rebalancing knows: cancel, max=N and parallel=N are", a)
		}
	}
	return p.ask(func(r control.Request) control.Event { e.Request = r; return e })
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
