package sim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/stowage/stowage/spec"
)

// fleetCommands are about which machines there are.
var fleetCommands = map[string]handler{
	"first-nodes": {1, (*player).firstNodes},
	"nodes":       {1, (*player).nodes},
	"workload":    {1, (*player).workload},
	"arrivals":    {1, (*player).arrivals},
	"measure":     {1, (*player).measure},
}

// firstNodes 3: nothing is placed before so many have joined.
func (p *player) firstNodes(args []string) error {
	n, err := strconv.Atoi(args[0])
	switch m := p.world.master; {
	case err != nil || n < 1:
		return fmt.Errorf("%q is not how many", args[0])
	case len(p.world.machines) > 0 || m.head != nil:
		return errors.New("it stands before the first nodes and the first commit")
	default:
		m.first = n
		m.lead()
		return nil
	}
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
		n.Tidy()
		newMachine(p.world, n).powerOn()
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
	case "pool":
		n.Pool = spec.PoolName(value)
		err = spec.CheckPool(n.Pool)
	case "cores":
		n.Cores, err = describeCores(value)
	default:
		if kind, model, ok := strings.Cut(key, ":"); ok {
			return describeDevices(n, kind, model, value)
		}
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
				return p.knowsNode(name)
			}
			f(m)
		}
	}
	return nil
}
