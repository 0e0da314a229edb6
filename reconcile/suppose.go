package reconcile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// nodeKind is how people write spec.AttributeID.
const nodeKind = "node"

// Suppose returns the input as it would be without some nodes and with more of others, and says so in Input.Suppose.
// Nodes to be without are down at once, for good: what ran there has to go elsewhere. More nodes are ready and empty.
// What is to be removed is looked for among the nodes that are there, not among the added. The input given is left as
// it is. What does not exist is an error that names what is near.
func Suppose(in Input, s spec.Supposition) (Input, error) {
	if s.Empty() {
		return in, nil
	}
	said := spec.Supposition{}
	if in.Suppose != nil {
		said = spec.Supposition{Without: slices.Clone(in.Suppose.Without), With: slices.Clone(in.Suppose.With)}
	}
	was := in.Nodes
	in.Nodes = slices.Clone(in.Nodes)
	for _, lost := range s.Without {
		if err := lose(in.Nodes, &lost); err != nil {
			return in, err
		}
		said.Without = append(said.Without, lost)
	}
	for i := range in.Nodes {
		if in.Nodes[i].State == spec.NodeDown && was[i].State != spec.NodeDown {
			in.Nodes[i].Since = in.Now
		}
	}
	total := 0
	for _, more := range s.With {
		if total += more.Count; more.Count < 1 || total > spec.MaxMoreNodes {
			return in, fmt.Errorf("at most %d more nodes can be supposed, at least one of each kind", spec.MaxMoreNodes)
		}
		nodes, err := in.gain(was, &more)
		if err != nil {
			return in, err
		}
		in.Nodes = nodes
		said.With = append(said.With, more)
	}
	in.Suppose = &said
	return in, nil
}

// lose takes the nodes with the value down.
func lose(nodes []spec.NodeView, lost *spec.LostNodes) error {
	name := lost.Attribute
	if name == nodeKind {
		name = spec.AttributeID
	}
	lost.Nodes = nil
	values, names := map[string]bool{}, map[string]bool{nodeKind: true, place.AttributePool: true}
	for i := range nodes {
		n := &nodes[i]
		for a := range maps.Keys(n.Attributes) { // any order: a set
			names[a] = true
		}
		v, ok := valueOf(n, name)
		if !ok {
			continue
		}
		values[v] = true
		if v == lost.Value {
			n.State = spec.NodeDown
			lost.Nodes = append(lost.Nodes, n.ID)
		}
	}
	switch {
	case len(lost.Nodes) > 0:
		return nil
	case len(values) == 0:
		return fmt.Errorf("no node has the attribute %q: %s", lost.Attribute, near(lost.Attribute, names))
	case name == spec.AttributeID:
		return fmt.Errorf("there is no node %q: %s", lost.Value, near(lost.Value, values))
	}
	return fmt.Errorf("no node has %s = %q: %s", lost.Attribute, lost.Value, near(lost.Value, values))
}

// valueOf is a node's value of an attribute, as constraints see it.
func valueOf(n *spec.NodeView, attribute string) (string, bool) {
	if v, ok := n.Attributes[attribute]; ok {
		return v, true
	}
	switch attribute {
	case spec.AttributeID:
		return string(n.ID), true
	case place.AttributeAddress:
		return n.Address, true
	case place.AttributePool:
		if n.Pool == "" {
			return string(spec.DefaultPool), true
		}
		return string(n.Pool), true
	}
	return "", false
}

// gain adds nodes of a class, or like one that is there. One that the plan does without is looked at as it was.
func (in *Input) gain(was []spec.NodeView, more *spec.MoreNodes) ([]spec.NodeView, error) {
	if more.Class != "" {
		classes := map[string]bool{}
		for i := range in.Desired.NodeClasses {
			classes[in.Desired.NodeClasses[i].Name] = true
		}
		if !classes[more.Class] {
			return nil, fmt.Errorf("there is no node_class %q: %s", more.Class, near(more.Class, classes))
		}
	} else {
		ids := map[string]bool{}
		for i := range was {
			ids[string(was[i].ID)] = true
		}
		if !ids[string(more.Like)] {
			return nil, fmt.Errorf("there is no node %q: %s", more.Like, near(string(more.Like), ids))
		}
	}
	with := *in
	if err := amendNodes(&with, &spec.Edit{Kind: spec.EditNodes, Number: int64(more.Count), Class: more.Class, Like: more.Like}); err != nil {
		return nil, err
	}
	more.Nodes = nil
	for i, k := 0, 0; i < len(with.Nodes); i++ {
		if k < len(in.Nodes) && with.Nodes[i].ID == in.Nodes[k].ID {
			k++
			continue
		}
		more.Nodes = append(more.Nodes, with.Nodes[i].ID)
	}
	return with.Nodes, nil
}

// maxNear bounds how many names are listed to choose from.
const maxNear = 8

// near says what may have been meant, or what there is.
func near(given string, candidates map[string]bool) string {
	names := slices.Sorted(maps.Keys(candidates))
	if len(names) == 0 {
		return "there is none at all"
	}
	text := ""
	if c := spec.Closest(given, names); c != "" {
		text = fmt.Sprintf("did you mean %q? ", c)
	}
	text += "There are " + strings.Join(names[:min(len(names), maxNear)], ", ")
	if len(names) > maxNear {
		text += fmt.Sprintf(" and %d more", len(names)-maxNear)
	}
	return text
}
