package hcl

import (
	"fmt"
	"slices"

	"github.com/stowage/stowage/spec"
)

var deviceTable = &table[spec.DeviceAsk]{
	doc:      "Devices for the task alone, chosen by name when it is placed. Its label is their kind. The task finds their names in STOWAGE_DEVICE_KIND.",
	defaults: func() spec.DeviceAsk { return spec.DeviceAsk{Count: 1} },
	args: []argument[spec.DeviceAsk]{
		arg("count", whole(1, spec.MaxDeviceCount), func(a *spec.DeviceAsk) *int { return &a.Count }, "How many"),
	},
	blocks: []nested[spec.DeviceAsk]{
		several("constraint", "", deviceConstraintTable, func(_ *decoder, _ *block, a *spec.DeviceAsk, c spec.Constraint) {
			a.Constraints = append(a.Constraints, c)
		}, "A rule that each of the devices must meet."),
		several("affinity", "", deviceAffinityTable, func(_ *decoder, _ *block, a *spec.DeviceAsk, w spec.Affinity) {
			a.Affinities = append(a.Affinities, w)
		}, "A wish: devices that meet it are preferred, and nodes that have them."),
	},
}

// deviceAttributes is what rules over devices look at.
const deviceAttributes = "What of the device is looked at: id, vendor, model, or what its node says of it, such as memory"

var deviceConstraintTable = &table[spec.Constraint]{
	doc:      "A rule that a device must meet.",
	defaults: func() spec.Constraint { return spec.Constraint{Operator: spec.OpEqual} },
	args: []argument[spec.Constraint]{
		arg("attribute", text[string](), func(c *spec.Constraint) *string { return &c.Attribute }, deviceAttributes).must(),
		arg("operator", oneOf(nodeOperators...), func(c *spec.Constraint) *spec.Operator { return &c.Operator }, "How it is compared"),
		ruleValue(func(c *spec.Constraint) (*string, *[]string) { return &c.Value, &c.Values }),
	},
	check: func(d *decoder, b *block, c *spec.Constraint) {
		d.checkRule(b, c.Attribute, c.Operator, c.Value, c.Values)
	},
}

var deviceAffinityTable = &table[spec.Affinity]{
	doc:      "A wish: devices that meet it are preferred.",
	defaults: func() spec.Affinity { return spec.Affinity{Operator: spec.OpEqual, Weight: defaultWishWeight} },
	args: []argument[spec.Affinity]{
		arg("attribute", text[string](), func(a *spec.Affinity) *string { return &a.Attribute }, deviceAttributes).must(),
		arg("operator", oneOf(nodeOperators...), func(a *spec.Affinity) *spec.Operator { return &a.Operator }, "How it is compared"),
		ruleValue(func(a *spec.Affinity) (*string, *[]string) { return &a.Value, &a.Values }),
		arg("weight", whole(-100, 100), func(a *spec.Affinity) *int { return &a.Weight }, "How strong the wish is; negative ones keep away"),
	},
	check: func(d *decoder, b *block, a *spec.Affinity) {
		d.checkRule(b, a.Attribute, a.Operator, a.Value, a.Values)
		if a.Weight == 0 && b.sound("weight") {
			d.at(b.placeOf("weight"), b.env.context, "Wrong value for weight", "A weight of 0 is no wish. Take one from -100 to 100.")
		}
	},
}

func addDevice(d *decoder, b *block, t *spec.Task, a spec.DeviceAsk) {
	a.Kind = b.label(0)
	if !d.checkName(b, "kind of device", spec.CheckDeviceKind) {
		return
	}
	if slices.ContainsFunc(t.Devices, func(o spec.DeviceAsk) bool { return o.Kind == a.Kind }) {
		d.at(b.place(), b.env.context, "Duplicate device", fmt.Sprintf("The task asks for devices of the kind %q already. Raise count there, or make it two tasks.", a.Kind))
		return
	}
	t.Devices = append(t.Devices, a)
}

// checkNamed checks what a task asks for by name: devices and cores.
func (d *decoder) checkNamed(b *block, t *spec.Task) {
	for i := range t.Devices {
		if _, twice := t.Resources[t.Devices[i].Kind]; twice {
			d.at(b.placeOf("resources"), b.env.context, "Device asked for twice", fmt.Sprintf("A device %q block asks for it by name, and resources counts it once more. Take it out of resources.", t.Devices[i].Kind))
		}
	}
	if t.Cores == 0 {
		return
	}
	if b.has("cpu") {
		d.at(b.placeOf("cpu"), b.env.context, "Two amounts of cpu", "A task has cores for itself alone (cores), or a share of those of all (cpu), not both. Remove one.")
	}
	t.CPU = spec.MilliCPU(t.Cores) * 1000
}
