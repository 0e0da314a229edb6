package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/stowage/stowage/agent/facts"
	"github.com/stowage/stowage/spec"
)

// factFlags are the flags of the agent that say what its machine has and keeps.
type factFlags struct {
	attributes, resources, devices                                           []string
	deviceFile, attributeFile, cores, reserveCPU, reserveMemory, reserveDisk string
	noWeak                                                                   bool
}

func (m *factFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&m.attributes, "attribute", nil, "attribute of the node, such as rack=r1; may be repeated")
	f.StringVar(&m.attributeFile, "attributes", "", "file with more attributes, each on a line as rack=r1; read again when it changes")
	f.StringArrayVar(&m.resources, "resource", nil, "named resource of the node that has no names of its own, such as license=2; may be repeated")
	f.StringArrayVar(&m.devices, "device", nil, "device of the node as KIND[/VENDOR[/MODEL]]:ID[=FILE,…], such as gpu/nvidia/a100:GPU-1=/dev/nvidia0; may be repeated")
	f.StringVar(&m.deviceFile, "devices", "", "file with a JSON list of more devices: kind, id, vendor, model, attributes, files; read again when it changes")
	f.StringVar(&m.cores, "cores", "", "cores that tasks may have for themselves, such as 2-7, or none (default: all that the agent may use)")
	f.BoolVar(&m.noWeak, "no-weak-isolation", false, "refuse tasks that are isolated less than by default, whatever the cluster allows")
	f.StringVar(&m.reserveCPU, "reserve-cpu", "", "cores kept for the machine itself")
	f.StringVar(&m.reserveMemory, "reserve-memory", "", "memory kept for the machine itself, such as 512MiB")
	f.StringVar(&m.reserveDisk, "reserve-disk", "", "disk kept for the machine itself, such as 10GiB")
}

func (m *factFlags) parse(o *facts.Options) error {
	o.Attributes = map[string]string{}
	for _, a := range m.attributes {
		name, value, ok := strings.Cut(a, "=")
		if !ok || name == "" {
			return fmt.Errorf("--attribute %s: write it as rack=r1", a)
		}
		o.Attributes[name] = value
	}
	o.Named = map[string]spec.Milli{}
	for _, r := range m.resources {
		name, value, ok := strings.Cut(r, "=")
		amount, err := strconv.ParseFloat(value, 64)
		if !ok || name == "" || err != nil || amount < 0 || amount > 1e9 {
			return fmt.Errorf("--resource %s: write it as license=2", r)
		}
		if err := spec.CheckResource(name); err != nil {
			return fmt.Errorf("--resource %s: %w", r, err)
		}
		o.Named[name] = spec.Milli(amount*1000 + 0.5)
	}
	for _, d := range m.devices {
		device, err := facts.ParseDevice(d)
		if err != nil {
			return fmt.Errorf("--device: %w", err)
		}
		o.Devices = append(o.Devices, device)
	}
	o.DeviceFile, o.AttributeFile, o.NoWeak = m.deviceFile, m.attributeFile, m.noWeak
	var err error
	if o.NoCores = m.cores == "none"; m.cores != "" && !o.NoCores {
		if o.Cores, err = spec.ParseCoreList(m.cores); err != nil {
			return fmt.Errorf("--cores: %w, or none", err)
		}
	}
	return m.reserve(o)
}

// reserve reads what the machine keeps for itself.
func (m *factFlags) reserve(o *facts.Options) error {
	if m.reserveCPU != "" {
		cores, err := strconv.ParseFloat(m.reserveCPU, 64)
		if err != nil || cores < 0 || cores > 1e6 {
			return fmt.Errorf("--reserve-cpu %s: write it as a number of cores, such as 0.5", m.reserveCPU)
		}
		o.Reserved.CPU = spec.MilliCPU(cores*1000 + 0.5)
	}
	for _, r := range []struct {
		flag, text string
		into       *spec.Bytes
	}{{"memory", m.reserveMemory, &o.Reserved.Memory}, {"disk", m.reserveDisk, &o.Reserved.Disk}} {
		if r.text == "" {
			continue
		}
		b, err := spec.ParseBytes(r.text)
		if err != nil {
			return fmt.Errorf("--reserve-%s: %w", r.flag, err)
		}
		*r.into = b
	}
	return nil
}
