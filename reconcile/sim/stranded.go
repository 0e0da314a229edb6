package sim

import (
	"fmt"

	"github.com/stowage/stowage/spec"
)

// Stranded is how much of a cluster lies idle where nothing typical fits. The typical allocations are those that the
// followed revision asks for. Of a node's free cpu, such a share is stranded as allocations that do not fit on the node
// have in all the cpu that is asked for; likewise of memory. It is the fragmentation of Weng et al., Beware of
// Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent, USENIX ATC 2023, section 3, but
// that each kind of allocation counts by what it asks for there instead of by how often it comes: a large one that has no
// place is worth more than a small one. Shares are of what the nodes in touch have, in millionths.
type Stranded struct {
	At     spec.Duration `json:"at"` // since the beginning
	CPU    int64         `json:"cpu"`
	Memory int64         `json:"memory"`
	// UsedCPU and UsedMemory are what allocations have that have not ended.
	UsedCPU    int64 `json:"used_cpu"`
	UsedMemory int64 `json:"used_memory"`
	Empty      int   `json:"empty"`   // nodes without any
	Blocked    int   `json:"blocked"` // slots without a place
	Started    int   `json:"started"` // allocations so far
}

// measure 6h: from now on it is measured so often how much is stranded.
func (p *player) measure(args []string) error {
	every, err := spec.ParseDuration(args[0])
	if err != nil || every < spec.Minute {
		return fmt.Errorf("%q is not how often: a minute is the least", args[0])
	}
	p.world.measureEach(every)
	return nil
}

func (w *world) measureEach(every spec.Duration) {
	if w.master.up {
		w.meter.stranded = append(w.meter.stranded, w.strand())
	}
	w.atIdle(w.now.Add(every), func() { w.measureEach(every) })
}

// strand measures now, by what the master knows.
func (w *world) strand() Stranded {
	core := w.master.core
	s := Stranded{At: w.now.Sub(epoch), Started: w.meter.started}
	used, busy := map[spec.NodeID]spec.Resources{}, map[spec.NodeID]bool{}
	for _, h := range core.State().Allocations { // any order: sums
		if app := core.Version(h.Allocation.Version); h.Ended == nil && app != nil {
			used[h.Allocation.Node] = used[h.Allocation.Node].Plus(app.Needs())
			busy[h.Allocation.Node] = true
		}
	}
	for _, b := range core.Blocked() {
		s.Blocked += len(b.Slots)
	}
	var needs []spec.Resources
	var asked spec.Resources
	if f := core.State().Following; f != nil {
		for _, app := range f.Revision.Cluster.Apps {
			needs = append(needs, times(app.Needs(), app.Count))
			asked = asked.Plus(needs[len(needs)-1])
		}
	}
	var has, taken, lost spec.Resources
	for _, m := range w.machines {
		if !core.Reachable(m.desc.ID) {
			continue
		}
		has, taken = has.Plus(m.desc.Capacity), taken.Plus(used[m.desc.ID])
		free := m.desc.Capacity.Minus(used[m.desc.ID])
		if !busy[m.desc.ID] {
			s.Empty++
		}
		var unfit spec.Resources
		if f := core.State().Following; f != nil {
			for i, app := range f.Revision.Cluster.Apps {
				if exceeds(app.Needs(), free) != "" {
					unfit = unfit.Plus(needs[i])
				}
			}
		}
		lost.CPU += spec.MilliCPU(share1e6(int64(free.CPU), of(int64(unfit.CPU), int64(asked.CPU)), int64(asked.CPU)))
		lost.Memory += spec.Bytes(share1e6(int64(free.Memory/spec.MiB), of(int64(unfit.Memory/spec.MiB), int64(asked.Memory/spec.MiB)), int64(asked.Memory)))
	}
	s.CPU, s.UsedCPU = of(int64(lost.CPU), int64(has.CPU)), of(int64(taken.CPU), int64(has.CPU))
	s.Memory, s.UsedMemory = of(int64(lost.Memory), int64(has.Memory/spec.MiB)), of(int64(taken.Memory/spec.MiB), int64(has.Memory/spec.MiB))
	return s
}

// share1e6 is millionths of an amount; nothing where nothing is asked for.
func share1e6(amount, millionths, asked int64) int64 {
	if asked == 0 {
		return 0
	}
	return amount * millionths / 1e6
}

func times(r spec.Resources, n int) spec.Resources {
	r.CPU, r.Memory = r.CPU*spec.MilliCPU(n), r.Memory*spec.Bytes(n)
	return r
}
