package runc

import (
	"github.com/opencontainers/cgroups/devices/config"
)

// plainDevices are those that every container has, for one that does not share the ready-made /dev: without root, where they are
// mounted one by one from the node, as nobody makes device nodes, and with devices of its own.
func plainDevices() []*config.Device {
	var all []*config.Device
	for _, d := range deviceNodes {
		all = append(all, &config.Device{
			Path: "/dev/" + d.name, FileMode: 0o666,
			Rule: config.Rule{Type: config.CharDevice, Major: int64(d.major), Minor: int64(d.minor), Permissions: "rwm", Allow: true},
		})
	}
	return all
}
