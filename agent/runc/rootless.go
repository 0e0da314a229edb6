package runc

import (
	"github.com/opencontainers/cgroups/devices/config"
)

// rootlessDevices are mounted one by one from the node: without root nobody makes device nodes.
func rootlessDevices() []*config.Device {
	var all []*config.Device
	for _, d := range deviceNodes {
		all = append(all, &config.Device{
			Path: "/dev/" + d.name, FileMode: 0o666,
			Rule: config.Rule{Type: config.CharDevice, Major: int64(d.major), Minor: int64(d.minor), Permissions: "rwm", Allow: true},
		})
	}
	return all
}
