package sim

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stowage/stowage/spec"
)

// describeDevices adds gpu:a100=4: four devices of a kind, with a model if there is one, numbered on from those of the
// kind that the node has.
func describeDevices(n *spec.Node, kind, model, value string) error {
	count, err := strconv.Atoi(value)
	if err == nil {
		err = spec.CheckDeviceKind(kind)
	}
	if err != nil || count < 1 || count > spec.MaxDevices {
		return fmt.Errorf("%s:%s=%s describes no devices: write it as gpu:a100=4", kind, model, value)
	}
	have := 0
	for i := range n.Devices {
		if n.Devices[i].Kind == kind {
			have++
		}
	}
	for i := range count {
		n.Devices = append(n.Devices, spec.Device{Kind: kind, ID: fmt.Sprintf("%s-%03d", kind, have+i), Model: model})
	}
	return nil
}

// describeCores reads 0-3/4-7: the cores that the node can give, by NUMA node.
func describeCores(value string) ([]spec.CoreGroup, error) {
	var groups []spec.CoreGroup
	for i, part := range strings.Split(value, "/") {
		cores, err := spec.ParseCoreList(part)
		if err != nil {
			return nil, err
		}
		groups = append(groups, spec.CoreGroup{NUMA: i, Cores: cores})
	}
	return groups, nil
}

// expectNamed compares the devices or cores of the running allocation of a slot with a list.
func expectNamed(what string) func(*player, []string) error {
	return func(p *player, args []string) error { return p.hasNamed(what, args[0], args[1]) }
}

func (p *player) hasNamed(what, slot, list string) error {
	for _, v := range p.world.master.core.Allocations() {
		if v.Slot.String() != slot || v.State != spec.StateRunning || v.Want != spec.WantRun {
			continue
		}
		got := spec.CoreList(spec.AllCores(v.Cores))
		if what == "devices" {
			ids := make([]string, len(v.Devices))
			for i, d := range v.Devices {
				ids[i] = d.ID
			}
			got = strings.Join(ids, ",")
		}
		if got != list {
			return fmt.Errorf("found %s", got)
		}
		return nil
	}
	return fmt.Errorf("nothing runs in %s", slot)
}
