package sim

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/check"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// suppose without node/n3 with 2xbig: what is shown and expected of plans right after it is as if the nodes were so.
// Nothing in the world changes.
func (p *player) suppose(args []string) error {
	var without, with []string
	to := &without
	for i, word := range args {
		switch word {
		case "without":
			to = &without
		case "with":
			to = &with
		default:
			if i == 0 {
				return errors.New("write suppose without node/n3, or suppose with 2xbig, or both")
			}
			*to = append(*to, word)
		}
	}
	s, err := spec.ParseSupposition(without, with)
	if err != nil {
		return err
	}
	if s.Empty() {
		return errors.New("write which nodes, such as suppose without node/n3")
	}
	p.supposed = s
	if _, err = p.supposedPlan(); err != nil && p.may {
		p.supposed, err = spec.Supposition{}, nil // nothing is shown of it
	}
	return err
}

// supposedPlan is what would be planned now on the nodes that are supposed.
func (p *player) supposedPlan() (spec.Plan, error) {
	core := p.world.master.core
	in := core.Input()
	if p.newest != nil && p.newest.Cluster != nil && core.Status().Left != p.newest.Commit {
		in = core.PreviewInput(*p.newest, control.Answers{}, false, 0)
	}
	if in.Desired == nil {
		return spec.Plan{}, errors.New("there is no commit to plan")
	}
	in, err := reconcile.Suppose(in, p.supposed)
	if err != nil {
		return spec.Plan{}, err
	}
	plan, r := reconcile.Plan(in)
	for _, v := range check.Plan(in, plan, r) {
		p.world.violated("%s: %v", invariantPlan, v)
		return plan, errors.New(v.String())
	}
	return plan, nil
}

// blocked is what has no place, as of the last plan or on the nodes that are supposed.
func (p *player) blocked() []control.BlockedView {
	if p.supposed.Empty() {
		return p.world.master.core.Blocked()
	}
	return p.explained()
}

func (p *player) explained() []control.BlockedView {
	if p.supposed.Empty() {
		return p.world.master.core.Explained()
	}
	plan, err := p.supposedPlan()
	if err != nil {
		return nil
	}
	var out []control.BlockedView
	for i := range plan.Apps {
		if b := plan.Apps[i].Blocked; b != nil && len(b.Slots) > 0 {
			out = append(out, control.BlockedView{App: plan.Apps[i].App, Blocked: *b})
		}
	}
	return out
}

// expectLoss rack r1 4 2: the loss of the nodes with a value would displace so many, and so many of them had no home.
func (p *player) expectLoss(args []string) error {
	f := p.plan().Failure
	if f == nil {
		return errors.New("the plan tells of no loss: it changes nothing")
	}
	losses, attributes := f.Nodes, []string{"node"}
	for i := range f.Domains {
		if attributes = append(attributes, f.Domains[i].Attribute); f.Domains[i].Attribute == args[0] {
			losses = f.Domains[i].Values
		}
	}
	if len(losses) > 0 && &losses[0] == &f.Nodes[0] && args[0] != "node" {
		return fmt.Errorf("no loss of a %s is told, but of %v", args[0], attributes)
	}
	for _, l := range losses {
		if l.Name == args[1] {
			if got := []string{strconv.Itoa(l.Displaced), strconv.Itoa(l.Homeless)}; got[0] != args[2] || got[1] != args[3] {
				return fmt.Errorf("found %s displaced and %s without a home", got[0], got[1])
			}
			return nil
		}
	}
	return fmt.Errorf("no loss of %s is told", args[1])
}
