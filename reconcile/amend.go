package reconcile

import (
	"fmt"
	"maps"
	"slices"

	"github.com/stowage/stowage/spec"
)

// Amend returns the input with the edits made: as if people had written so, or nodes had joined. The input given is
// left as it is. An edit of what is not there is an error.
func Amend(in Input, edits []spec.Edit) (Input, error) {
	desired := *in.Desired
	in.Desired = &desired
	for i := range edits {
		var err error
		switch e := &edits[i]; e.Kind {
		case spec.EditNodes:
			err = amendNodes(&in, e)
		case spec.EditQuota:
			err = amendQuota(&in, e)
		default:
			err = amendApp(&in, e)
		}
		if err != nil {
			return in, err
		}
	}
	return in, nil
}

func amendApp(in *Input, e *spec.Edit) error {
	i := slices.IndexFunc(in.Desired.Apps, func(a *spec.App) bool { return a.Name == e.App })
	if i < 0 {
		return fmt.Errorf("there is no app %q", e.App)
	}
	a := *in.Desired.Apps[i]
	switch e.Kind {
	case spec.EditCount:
		a.Count = int(e.Number)
	case spec.EditResource:
		t := slices.IndexFunc(a.Tasks, func(t spec.Task) bool { return t.Name == e.Task })
		if t < 0 {
			return fmt.Errorf("app %q has no task %q", e.App, e.Task)
		}
		a = *withResource(&a, t, e.Resource, e.Number)
	case spec.EditConstraint:
		if e.Index < 0 || e.Index >= len(a.Constraints) {
			return fmt.Errorf("app %q has no constraint number %d", e.App, e.Index)
		}
		a.Constraints = slices.Clone(a.Constraints)
		if e.Constraint == nil {
			a.Constraints = slices.Delete(a.Constraints, e.Index, e.Index+1)
		} else {
			a.Constraints[e.Index] = *e.Constraint
		}
	default:
		return fmt.Errorf("an edit of kind %q is not known", e.Kind)
	}
	in.Desired.Apps = slices.Clone(in.Desired.Apps)
	in.Desired.Apps[i] = &a
	if _, ok := in.Hashes[a.Name]; ok {
		in.Hashes = maps.Clone(in.Hashes)
		in.Hashes[a.Name] = HashApp(&a)
	}
	return nil
}

func amendQuota(in *Input, e *spec.Edit) error {
	i := slices.IndexFunc(in.Desired.Roles, func(r spec.Role) bool { return r.Name == e.Role })
	if i < 0 || in.Desired.Roles[i].Quota == nil {
		return fmt.Errorf("role %q has no quota", e.Role)
	}
	in.Desired.Roles = slices.Clone(in.Desired.Roles)
	q := in.Desired.Roles[i].Quota.Plus(spec.Resources{})
	switch e.Resource {
	case "cpu":
		q.CPU = spec.MilliCPU(e.Number)
	case "memory":
		q.Memory = spec.Bytes(e.Number)
	case "disk":
		q.Disk = spec.Bytes(e.Number)
	default:
		q.Named = maps.Clone(q.Named)
		if q.Named == nil {
			q.Named = map[string]spec.Milli{}
		}
		q.Named[e.Resource] = spec.Milli(e.Number)
	}
	in.Desired.Roles[i].Quota = &q
	return nil
}

// amendNodes adds empty nodes: like one that is there, or of a class.
func amendNodes(in *Input, e *spec.Edit) error {
	var like spec.NodeView
	stem := string(e.Like)
	if e.Class != "" {
		i := slices.IndexFunc(in.Desired.NodeClasses, func(c spec.NodeClass) bool { return c.Name == e.Class })
		if i < 0 {
			return fmt.Errorf("there is no node_class %q", e.Class)
		}
		c := &in.Desired.NodeClasses[i]
		stem, like.Pool = c.Name, c.Pool
		like.Capacity, like.Attributes = c.Capacity, maps.Clone(c.Attributes)
		if like.Attributes == nil {
			like.Attributes = map[string]string{}
		}
		like.Attributes[spec.AttributeClass] = c.Name
		like.Devices = devicesOf(c)
		like.Tidy()
	} else {
		i := slices.IndexFunc(in.Nodes, func(n spec.NodeView) bool { return n.ID == e.Like })
		if i < 0 {
			return fmt.Errorf("there is no node %q", e.Like)
		}
		like = in.Nodes[i]
	}
	taken := make(map[spec.NodeID]bool, len(in.Nodes))
	for i := range in.Nodes {
		taken[in.Nodes[i].ID] = true
	}
	in.Nodes = slices.Clone(in.Nodes)
	for k, n := int64(0), 1; k < e.Number; n++ {
		id := spec.NodeID(fmt.Sprintf("%s+%d", stem, n))
		if taken[id] {
			continue
		}
		like.ID, like.Address, like.State, like.LastSeen, like.Since = id, string(id), spec.NodeReady, in.Now, in.Now
		in.Nodes = append(in.Nodes, like)
		k++
	}
	slices.SortFunc(in.Nodes, byID)
	return nil
}

// devicesOf are the devices of a node of the class: gpu-000, gpu-001 and so on.
func devicesOf(c *spec.NodeClass) []spec.Device {
	var all []spec.Device
	number := map[string]int{}
	for _, d := range c.Devices {
		for range d.Count {
			all = append(all, spec.Device{Kind: d.Kind, ID: fmt.Sprintf("%s-%03d", d.Kind, number[d.Kind]), Vendor: d.Vendor, Model: d.Model, Attributes: d.Attributes})
			number[d.Kind]++
		}
	}
	return all
}

func resource(t *spec.Task, name string) int64 {
	switch name {
	case "cpu":
		return int64(t.CPU)
	case "memory":
		return int64(t.Memory)
	case "disk":
		return int64(t.Disk)
	}
	return int64(t.Resources[name])
}

func withResource(a *spec.App, task int, name string, amount int64) *spec.App {
	c := *a
	c.Tasks = slices.Clone(a.Tasks)
	t := &c.Tasks[task]
	switch name {
	case "cpu":
		t.CPU = spec.MilliCPU(amount)
	case cores:
		t.CPU, t.Cores = spec.MilliCPU(amount), int(amount/1000)
	case "memory":
		t.Memory = spec.Bytes(amount)
	case "disk":
		t.Disk = spec.Bytes(amount)
	default:
		t.Resources = maps.Clone(t.Resources)
		t.Resources[name] = spec.Milli(amount)
	}
	return &c
}
