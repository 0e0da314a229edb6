package place

import "slices"

// Snapshot is what was taken of a fleet at some moment.
type Snapshot struct {
	used, credit []int64
	load         []int32
	ports        [][]held
	leaving      [][]*leaver
}

// Save keeps what is taken now, so that placements can be tried and taken back.
func (f *Fleet) Save() *Snapshot {
	s := &Snapshot{
		used: slices.Clone(f.used), credit: slices.Clone(f.credit), load: slices.Clone(f.load),
		ports: make([][]held, len(f.ports)), leaving: make([][]*leaver, len(f.leaving)),
	}
	for i := range f.ports {
		s.ports[i] = slices.Clone(f.ports[i])
		s.leaving[i] = cloneLeavers(f.leaving[i])
	}
	return s
}

// Restore goes back to what was saved. A snapshot can be loaded once.
func (f *Fleet) Restore(s *Snapshot) {
	f.used, f.credit, f.load, f.ports, f.leaving = s.used, s.credit, s.load, s.ports, s.leaving
}

func cloneLeavers(list []*leaver) []*leaver {
	if len(list) == 0 {
		return nil
	}
	out := make([]*leaver, len(list))
	for i, l := range list {
		c := *l
		c.credit = slices.Clone(l.credit)
		out[i] = &c
	}
	return out
}
