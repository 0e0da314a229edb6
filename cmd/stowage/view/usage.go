package view

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stowage/stowage/spec"
)

// Use is what an allocation, or one of its tasks, uses, as rates over the time between two looks.
type Use struct {
	Slot           spec.Slot         `json:"slot"`
	Allocation     spec.AllocationID `json:"allocation"`
	Task           spec.TaskName     `json:"task,omitempty"` // "": all tasks together
	Node           spec.NodeID       `json:"node"`
	CPU            spec.MilliCPU     `json:"cpu"`       // thousandths of a core
	Throttled      float64           `json:"throttled"` // percent of the time that it had to wait for its bound
	Read           spec.Bytes        `json:"read"`      // from disks, each second
	Written        spec.Bytes        `json:"written"`
	PerSecond      bool              `json:"rates"` // false: there was one look only, and no rate is known
	spec.TaskUsage `json:"-"`
	Counted        spec.TaskUsage `json:"counted"`
}

// NodeUse is what a machine uses.
type NodeUse struct {
	spec.NodeUsage
	CPU                   spec.MilliCPU
	CPUAsked, CPUTasks    spec.MilliCPU // by its tasks
	MemAsked, MemoryTasks spec.Bytes
}

// Uses makes rates of two looks. Without an earlier one, or for what was not there then, there are none. With tasks each task counts for itself.
func Uses(before, now []spec.NodeUsage, tasks bool) (nodes []NodeUse, uses []Use) {
	type key struct {
		id   spec.AllocationID
		task spec.TaskName
	}
	was := map[key]spec.TaskUsage{}
	wasNode := map[spec.NodeID]spec.NodeUsage{}
	for _, n := range before {
		wasNode[n.Node] = n
		for _, a := range n.Allocations {
			for _, t := range a.Tasks {
				was[key{a.ID, t.Task}] = t
			}
		}
	}
	for _, n := range now {
		old, known := wasNode[n.Node]
		span := float64(n.At - old.At)
		known = known && span > 0 && old.Error == ""
		node := NodeUse{NodeUsage: n}
		if known {
			node.CPU = spec.MilliCPU(rate(old.CPUNanos, n.CPUNanos, span) * 1000)
		}
		for _, a := range n.Allocations {
			all := Use{Slot: a.Slot, Allocation: a.ID, Node: n.Node, PerSecond: known}
			for _, t := range a.Tasks {
				one := Use{Slot: a.Slot, Allocation: a.ID, Task: t.Task, Node: n.Node, TaskUsage: t, Counted: t}
				if old, ok := was[key{a.ID, t.Task}]; ok && known && old.Started == t.Started {
					one.PerSecond = true
					one.CPU = spec.MilliCPU(rate(old.CPUNanos, t.CPUNanos, span) * 1000)
					one.Throttled = rate(old.ThrottledNanos, t.ThrottledNanos, span) * 100
					one.Read = spec.Bytes(rate(old.ReadBytes, t.ReadBytes, span) * 1e9)
					one.Written = spec.Bytes(rate(old.WrittenBytes, t.WrittenBytes, span) * 1e9)
				}
				node.CPUTasks, node.MemoryTasks = node.CPUTasks+one.CPU, node.MemoryTasks+t.Memory
				if all.add(&one); tasks {
					uses = append(uses, one)
				}
			}
			// What is set aside is so while a task waits for its restart, too.
			all.CPUAsked, all.MemoryAsked = cmp.Or(a.CPUAsked, all.CPUAsked), cmp.Or(a.MemoryAsked, all.MemoryAsked)
			node.CPUAsked, node.MemAsked = node.CPUAsked+all.CPUAsked, node.MemAsked+all.MemoryAsked
			if !tasks {
				all.Counted = all.TaskUsage
				uses = append(uses, all)
			}
		}
		nodes = append(nodes, node)
	}
	return nodes, uses
}

// rate is the growth of a counter in a unit of time. One that fell began anew.
func rate(old, now uint64, span float64) float64 {
	if now < old {
		return 0
	}
	return float64(now-old) / span
}

// add sums a task up with the others.
func (u *Use) add(t *Use) {
	u.PerSecond = u.PerSecond && t.PerSecond
	u.CPU, u.Throttled, u.Read, u.Written = u.CPU+t.CPU, max(u.Throttled, t.Throttled), u.Read+t.Read, u.Written+t.Written
	u.CPUNanos, u.ThrottledNanos = u.CPUNanos+t.CPUNanos, u.ThrottledNanos+t.ThrottledNanos
	u.Memory, u.MemoryPeak, u.MemoryAsked, u.MemoryMax = u.Memory+t.Memory, u.MemoryPeak+t.MemoryPeak, u.MemoryAsked+t.MemoryAsked, u.MemoryMax+cmp.Or(t.MemoryMax, t.MemoryAsked)
	u.Pids, u.OOMKills, u.CPUAsked = u.Pids+t.Pids, u.OOMKills+t.OOMKills, u.CPUAsked+t.CPUAsked
	u.ReadBytes, u.WrittenBytes = u.ReadBytes+t.ReadBytes, u.WrittenBytes+t.WrittenBytes
	u.Pressure = spec.Pressure{CPU: max(u.Pressure.CPU, t.Pressure.CPU), Memory: max(u.Pressure.Memory, t.Pressure.Memory), IO: max(u.Pressure.IO, t.Pressure.IO)}
	u.Error = cmp.Or(u.Error, t.Error)
}

// SortUses puts the largest first: by cpu or memory, or by name.
func SortUses(uses []Use, by string) error {
	name := func(a, b *Use) int {
		return cmp.Or(strings.Compare(string(a.Slot.App), string(b.Slot.App)), cmp.Compare(a.Slot.Index, b.Slot.Index), strings.Compare(string(a.Allocation), string(b.Allocation)), strings.Compare(string(a.Task), string(b.Task)))
	}
	order := map[string]func(a, b *Use) int{
		"name":   name,
		"cpu":    func(a, b *Use) int { return cmp.Or(cmp.Compare(b.CPU, a.CPU), name(a, b)) },
		"memory": func(a, b *Use) int { return cmp.Or(cmp.Compare(b.Memory, a.Memory), name(a, b)) },
	}[by]
	if order == nil {
		return fmt.Errorf("--sort %s: use cpu, memory or name", by)
	}
	slices.SortFunc(uses, func(a, b Use) int { return order(&a, &b) })
	return nil
}

// NodeUses prints what machines use.
func (p *Page) NodeUses(nodes []NodeUse) {
	rows := make([][]string, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		if n.Error != "" {
			rows[i] = []string{string(n.Node), "?", "", "", "", "", "", n.Error}
			continue
		}
		rows[i] = []string{string(n.Node), fmt.Sprintf("%s/%d", n.CPU, n.CPUs), n.CPUTasks.String(), n.CPUAsked.String(),
			fmt.Sprintf("%s/%s", amount(n.Memory), amount(n.Total)), amount(n.MemoryTasks), amount(n.MemAsked), pressureWords(n.Pressure)}
	}
	p.Table([]string{"NODE", "CPU", "TASKS", "ASKED", "MEMORY", "TASKS", "ASKED", "PRESSURE"}, rows)
}

// Uses prints what allocations or tasks use beside what they asked for.
func (p *Page) Uses(uses []Use) {
	if len(uses) == 0 {
		p.Line("Nothing runs.")
		return
	}
	rows := make([][]string, len(uses))
	for i := range uses {
		u := &uses[i]
		name := u.Slot.String()
		if u.Task != "" {
			name += " " + string(u.Task)
		}
		if u.Error != "" {
			rows[i] = []string{name, string(u.Node), "?", "", "", "", "", "", "", u.Error}
			continue
		}
		cpu, cpuPart, throttled, disk := "?", "", "", ""
		if u.PerSecond {
			cpu, cpuPart = u.CPU.String(), part(int64(u.CPU), int64(u.CPUAsked), u.CPUAsked.String())
			if u.Throttled >= 0.5 {
				throttled = fmt.Sprintf("throttled %.0f%%", u.Throttled)
			}
			disk = amount(u.Read) + " " + amount(u.Written)
		}
		rows[i] = []string{name, string(u.Node), cpu, cpuPart,
			amount(u.Memory), part(int64(u.Memory), int64(u.MemoryAsked), amount(u.MemoryAsked)), amount(u.MemoryPeak), strconv.Itoa(u.Pids), disk,
			strings.Join(slices.DeleteFunc([]string{throttled, oomWords(u.OOMKills), pressureWords(u.Pressure)}, func(s string) bool { return s == "" }), ", ")}
	}
	p.Table([]string{"SLOT", "NODE", "CPU", "OF ASKED", "MEMORY", "OF ASKED", "PEAK", "PIDS", "READ WRITE/s", "NOTE"}, rows)
}

// part is what is used of what was asked for.
func part(used, asked int64, text string) string {
	if asked == 0 {
		return "-"
	}
	return fmt.Sprintf("%d%% of %s", used*100/asked, text)
}

func oomWords(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d killed for memory", n)
}

func pressureWords(p spec.Pressure) string {
	var words []string
	for _, one := range []struct {
		name string
		part float64
	}{{"cpu", p.CPU}, {"memory", p.Memory}, {"io", p.IO}} {
		if one.part >= 1 {
			words = append(words, fmt.Sprintf("%s %.0f%%", one.name, one.part))
		}
	}
	if len(words) == 0 {
		return ""
	}
	return "waits: " + strings.Join(words, " ")
}

// amount rounds to three digits.
func amount(b spec.Bytes) string {
	unit, name := spec.Bytes(1), "B"
	for _, u := range []struct {
		unit spec.Bytes
		name string
	}{{spec.KiB, "KiB"}, {spec.MiB, "MiB"}, {spec.GiB, "GiB"}, {spec.TiB, "TiB"}} {
		if b >= u.unit {
			unit, name = u.unit, u.name
		}
	}
	n := float64(b) / float64(unit)
	if unit == 1 || n >= 100 {
		return fmt.Sprintf("%.0f%s", n, name)
	}
	return fmt.Sprintf("%.3g%s", n, name)
}
