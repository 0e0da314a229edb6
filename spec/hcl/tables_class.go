package hcl

import (
	"fmt"

	"github.com/stowage/stowage/spec"
)

var classTable = &table[spec.NodeClass]{
	doc: fmt.Sprintf("A kind of machine that plans may count with: what a node of it brings. A node belongs to a class by its attribute %s, as in stowage agent --attribute %s=NAME.", spec.AttributeClass, spec.AttributeClass),
	args: []argument[spec.NodeClass]{
		arg("cpu", manyCores, func(c *spec.NodeClass) *spec.MilliCPU { return &c.Capacity.CPU }, "Cores for tasks").must(),
		arg("memory", size, func(c *spec.NodeClass) *spec.Bytes { return &c.Capacity.Memory }, "Memory for tasks").must(),
		arg("disk", size, func(c *spec.NodeClass) *spec.Bytes { return &c.Capacity.Disk }, "Disk for tasks"),
		arg("resources", amounts, func(c *spec.NodeClass) *map[string]spec.Milli { return &c.Capacity.Named }, "Named resources, such as { gpu = 4 }"),
		arg("attributes", textMap, func(c *spec.NodeClass) *map[string]string { return &c.Attributes }, "What constraints and spreads see of a node, such as { \"disk.type\" = \"ssd\" }"),
		arg("pool", text[spec.PoolName](), func(c *spec.NodeClass) *spec.PoolName { return &c.Pool }, fmt.Sprintf("The pool its nodes are in. Without it: %q", spec.DefaultPool)),
	},
	check: func(d *decoder, b *block, c *spec.NodeClass) {
		if c.Capacity.CPU == 0 && c.Capacity.Memory == 0 && b.has("cpu") && b.has("memory") && b.sound("cpu", "memory") {
			d.at(b.place(), b.env.context, "Empty node class", "A node of the class has neither cores nor memory for tasks. Say what it brings, such as cpu = 16.")
		}
		if v, ok := c.Attributes[spec.AttributeClass]; ok && v != b.label(0) {
			d.at(b.placeOf("attributes"), b.env.context, "Wrong value for attributes", fmt.Sprintf("%s is the name of the class, here %q. Leave it out.", spec.AttributeClass, shorten(b.label(0), 60)))
		}
	},
}

func (l *loader) decodeClass(b *block) {
	c := classTable.fresh()
	c.Name, c.Pos = b.label(0), position(b.TypeRange)
	l.checkName(b, "node_class", spec.CheckLabel)
	classTable.decode(&l.decoder, b, &c)
	if len(l.classes) >= spec.MaxNodeClasses {
		l.at(b.place(), b.env.context, "Too many node classes", fmt.Sprintf("The commit makes more than %d node classes. Make fewer.", spec.MaxNodeClasses))
		return
	}
	pool := c.Pool
	if pool == spec.DefaultPool {
		c.Pool = ""
	}
	if declare(l, l.classes, "node_class", c.Name, &c, b) {
		l.later = append(l.later, func() { l.checkPoolName(b, pool) })
	}
}
