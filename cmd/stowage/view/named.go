package view

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
)

// namedWords names the devices and cores that an allocation has.
func namedWords(devices []spec.DeviceGrant, cores []spec.CoreGrant) string {
	text := ""
	if len(devices) > 0 {
		text += "  " + spec.DeviceList(devices)
	}
	if len(cores) > 0 {
		text += "  cores " + spec.CoreList(spec.AllCores(cores))
	}
	return text
}

// named prints the devices and cores of a node, and who has them.
func (p *Page) named(n *api.Node, on []spec.AllocationView) {
	for i := range n.Devices {
		d := &n.Devices[i]
		what := strings.TrimSpace(strings.Join([]string{d.ID, d.Vendor, d.Model}, " "))
		for _, name := range sortedKeys(d.Attributes) {
			what += fmt.Sprintf("  %s=%s", name, d.Attributes[name])
		}
		for k := range on {
			for _, g := range on[k].Devices {
				if g.Kind == d.Kind && g.ID == d.ID && !on[k].State.Terminal() {
					what += "  taken by " + on[k].Slot.String()
				}
			}
		}
		p.pairs([][2]string{{d.Kind, what}})
	}
	for _, g := range n.Cores {
		what := fmt.Sprintf("%s of NUMA node %d", spec.CoreList(g.Cores), g.NUMA)
		for k := range on {
			if had := spec.AllCores(on[k].Cores); len(had) > 0 && !on[k].State.Terminal() && slices.Contains(g.Cores, had[0]) {
				what += fmt.Sprintf("  %s taken by %s", spec.CoreList(had), on[k].Slot)
			}
		}
		p.pairs([][2]string{{"cores", what}})
	}
}
