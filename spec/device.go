package spec

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Limits on what a node may have and a task may ask for by name.
const (
	// MaxDevices of one node; reports with more are cut there.
	MaxDevices = 1024
	// MaxDeviceCount is the most instances of one kind for one task.
	MaxDeviceCount = 64
	// MaxCores is the most exclusive cores for one task, and bounds the numbers of a node's cores.
	MaxCores = 4096
)

// Device is a thing of a node that has a name of its own and is given to one task at a time, such as one GPU. A node
// counts those of a kind as a named resource of that name: quotas, shares and the capacity know them by it.
type Device struct {
	Kind       string            `json:"kind"` // "gpu"
	ID         string            `json:"id"`   // its name among those of its kind on the node
	Vendor     string            `json:"vendor,omitempty"`
	Model      string            `json:"model,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Files      []string          `json:"files,omitempty"` // what of /dev a task sees that has it
}

// Tidy brings what an agent says of devices and cores into the form that planning relies on: sorted, nothing twice,
// within the limits, and counted by kind in Capacity.Named. The slices and maps that it had are left as they are.
func (n *Node) Tidy() {
	n.Cores = tidyCores(n.Cores)
	if len(n.Devices) == 0 {
		return
	}
	n.Devices = slices.Clone(n.Devices)
	slices.SortStableFunc(n.Devices, CompareDevices)
	n.Devices = slices.CompactFunc(n.Devices, func(a, b Device) bool { return CompareDevices(a, b) == 0 })
	n.Devices = slices.DeleteFunc(n.Devices, func(d Device) bool { return CheckDeviceKind(d.Kind) != nil || d.ID == "" })
	n.Devices = n.Devices[:min(len(n.Devices), MaxDevices)]
	named := make(map[string]Milli, len(n.Capacity.Named)+1)
	for _, name := range n.Capacity.Names() {
		named[name] = n.Capacity.Named[name]
	}
	for i := range n.Devices {
		named[n.Devices[i].Kind] = 0
	}
	for i := range n.Devices {
		named[n.Devices[i].Kind] += 1000
	}
	n.Capacity.Named = named
}

// tidyCores sorts the cores and leaves out those that stand there twice or have impossible numbers.
func tidyCores(groups []CoreGroup) []CoreGroup {
	var out []CoreGroup
	seen := map[int]bool{}
	for _, g := range groups {
		kept := CoreGroup{NUMA: g.NUMA}
		for _, c := range g.Cores {
			if c >= 0 && c < MaxCores && !seen[c] {
				seen[c] = true
				kept.Cores = append(kept.Cores, c)
			}
		}
		slices.Sort(kept.Cores)
		if len(kept.Cores) > 0 {
			out = append(out, kept)
		}
	}
	slices.SortStableFunc(out, func(a, b CoreGroup) int { return cmp.Compare(a.NUMA, b.NUMA) })
	return out
}

// The attributes that every device has beside those it comes with.
const (
	DeviceID     = "id"
	DeviceVendor = "vendor"
	DeviceModel  = "model"
)

// Attribute returns what a rule over devices looks at.
func (d *Device) Attribute(name string) (string, bool) {
	switch name {
	case DeviceID:
		return d.ID, true
	case DeviceVendor:
		return d.Vendor, d.Vendor != ""
	case DeviceModel:
		return d.Model, d.Model != ""
	}
	v, ok := d.Attributes[name]
	return v, ok
}

// String prints the device as the flag of the agent names it: gpu/nvidia/a100:GPU-1.
func (d *Device) String() string {
	text := d.Kind
	if d.Vendor != "" || d.Model != "" {
		text += "/" + d.Vendor
	}
	if d.Model != "" {
		text += "/" + d.Model
	}
	return text + ":" + d.ID
}

// CompareDevices orders devices by kind and ID, as a node lists them.
func CompareDevices(a, b Device) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID))
}

// CheckDeviceKind reports what is wrong with the name of a kind of device, or nil: it is a resource's name in one segment.
func CheckDeviceKind(kind string) error {
	switch kind {
	case "cpu", "memory", "disk", "memory_max", "port", "cores":
		return fmt.Errorf("%q is no kind of device", kind)
	}
	if !segment.MatchString(kind) || len(kind) > MaxNameLength {
		return fmt.Errorf("%q is no kind of device: use lower-case letters, digits and inner hyphens", kind)
	}
	return nil
}

// DeviceAsk is what a task asks for of one kind of device.
type DeviceAsk struct {
	Kind        string       `json:"name"` // the label of the block
	Count       int          `json:"count"`
	Constraints []Constraint `json:"constraints,omitempty"` // over the attributes of the device; without positions
	Affinities  []Affinity   `json:"affinities,omitempty"`  // likewise
}

// DeviceGrant is a device given to a task of an allocation.
type DeviceGrant struct {
	Task TaskName `json:"task"`
	Kind string   `json:"kind"`
	ID   string   `json:"id"`
}

// CoreGroup is the cores of a node that are near the same memory.
type CoreGroup struct {
	NUMA  int   `json:"numa"`
	Cores []int `json:"cores"` // as the kernel numbers its processors; sorted
}

// CoreGrant is cores given to a task of an allocation: nobody else runs there.
type CoreGrant struct {
	Task  TaskName `json:"task"`
	Cores []int    `json:"cores"` // sorted
}

// Grant is what an allocation has of its node by name or number, so that nobody else can have it.
type Grant struct {
	Ports   []Port
	Devices []DeviceGrant
	Cores   []CoreGrant
}

// Grant returns what was given to the allocation.
func (a *Allocation) Grant() Grant { return Grant{a.Ports, a.Devices, a.Cores} }

// Grant returns what the change gives to the new allocation.
func (c *Change) Grant() Grant { return Grant{c.Ports, c.Devices, c.Cores} }

// DeviceList names the devices of the grants in order, such as "gpu GPU-1, gpu GPU-2".
func DeviceList(grants []DeviceGrant) string {
	words := make([]string, len(grants))
	for i, g := range grants {
		words[i] = g.Kind + " " + g.ID
	}
	return strings.Join(words, ", ")
}

// AllCores joins the cores of the grants, sorted.
func AllCores(grants []CoreGrant) []int {
	var all []int
	for _, g := range grants {
		all = append(all, g.Cores...)
	}
	slices.Sort(all)
	return all
}

// CoreList prints sorted numbers of cores as the kernel does: 0-3,8.
func CoreList(cores []int) string {
	var b strings.Builder
	for i := 0; i < len(cores); {
		j := i
		for j+1 < len(cores) && cores[j+1] == cores[j]+1 {
			j++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(cores[i]))
		if j > i {
			b.WriteString("-" + strconv.Itoa(cores[j]))
		}
		i = j + 1
	}
	return b.String()
}

// ParseCoreList reads what CoreList prints and the kernel writes; the result is sorted. An empty text is no core.
func ParseCoreList(text string) ([]int, error) {
	var cores []int
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	for _, part := range strings.Split(text, ",") {
		a, b, span := strings.Cut(part, "-")
		first, err := strconv.Atoi(a)
		last := first
		if err == nil && span {
			last, err = strconv.Atoi(b)
		}
		if err != nil || first < 0 || last < first || last >= MaxCores {
			return nil, fmt.Errorf("%q is no list of cores: write it as 0-3,8", text)
		}
		for c := first; c <= last; c++ {
			cores = append(cores, c)
		}
	}
	slices.Sort(cores)
	return slices.Compact(cores), nil
}
