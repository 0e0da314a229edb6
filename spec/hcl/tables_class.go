package hcl

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"

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
		arg("price", price, func(c *spec.NodeClass) *spec.Price { return &c.Price }, fmt.Sprintf("What a node of it costs in an hour, in the cluster's currency; plans say what they cost. A node's own attribute %s counts before it", spec.AttributePrice)),
	},
	blocks: []nested[spec.NodeClass]{
		several("device", "kind", classDeviceTable, addClassDevice, "Devices that a node of it has, such as device \"gpu\" { count = 4 }."),
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

var classDeviceTable = &table[spec.ClassDevice]{
	doc:      "Like devices that a node of the class has. Its label is their kind. They are called KIND-000 and so on, and count as a named resource of their kind.",
	defaults: func() spec.ClassDevice { return spec.ClassDevice{Count: 1} },
	args: []argument[spec.ClassDevice]{
		arg("count", whole(1, spec.MaxDeviceCount), func(c *spec.ClassDevice) *int { return &c.Count }, "How many"),
		arg("vendor", text[string](), func(c *spec.ClassDevice) *string { return &c.Vendor }, "Who makes them"),
		arg("model", text[string](), func(c *spec.ClassDevice) *string { return &c.Model }, "What they are called"),
		arg("attributes", textMap, func(c *spec.ClassDevice) *map[string]string { return &c.Attributes }, "What rules over devices see of them, such as { memory = \"80GiB\" }"),
	},
}

func addClassDevice(d *decoder, b *block, c *spec.NodeClass, device spec.ClassDevice) {
	device.Kind = b.label(0)
	if !d.checkName(b, "kind of device", spec.CheckDeviceKind) {
		return
	}
	if _, twice := c.Capacity.Named[device.Kind]; twice {
		d.at(b.place(), b.env.context, "Device counted twice", fmt.Sprintf("resources counts %q once more. Take it out of resources.", device.Kind))
		return
	}
	total := device.Count
	for _, o := range c.Devices {
		if total += o.Count; o.Kind == device.Kind && o.Model == device.Model {
			d.at(b.place(), b.env.context, "Duplicate device", fmt.Sprintf("The class has devices of the kind %q and this model already. Raise count there.", device.Kind))
			return
		}
	}
	if total > spec.MaxDevices {
		d.at(b.place(), b.env.context, "Too many devices", fmt.Sprintf("A node of the class would have more than %d devices. Make it fewer.", spec.MaxDevices))
		return
	}
	c.Devices = append(c.Devices, device)
	slices.SortFunc(c.Devices, func(a, b spec.ClassDevice) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Model, b.Model))
	})
}

// price is what a node costs in an hour.
var price = kind[spec.Price]{
	name: "price such as 0.42",
	read: func(v cty.Value) (spec.Price, error) {
		if _, ok := asFloat(v); !ok {
			return 0, mustBe("a price such as 0.42", v)
		}
		digits := strings.TrimSuffix(strings.TrimRight(v.AsBigFloat().Text('f', 9), "0"), ".")
		p, err := spec.ParsePrice(digits)
		if err != nil || p == 0 {
			return 0, wrong(fmt.Sprintf("must be a price in an hour from 0.000001 to %s, with at most six digits behind the point, but here it is %s", spec.MaxPrice, numberText(v)))
		}
		return p, nil
	},
	show: func(p spec.Price) string {
		if p == 0 {
			return ""
		}
		return p.String()
	},
}
