package place

import "slices"

// Snapshot is what was taken of a fleet at some moment.
type Snapshot struct {
	used, credit []int64
	load         []int32
	held         [][]held
	leaving      [][]*leaver
	epoch, at    int // of the fleet's changes; at is none when they were not kept
}

// Save keeps what is taken now, so that placements can be tried and taken back.
func (f *Fleet) Save() *Snapshot {
	s := &Snapshot{
		used: slices.Clone(f.used), credit: slices.Clone(f.credit), load: slices.Clone(f.load),
		held: make([][]held, len(f.held)), leaving: make([][]*leaver, len(f.leaving)), epoch: f.epoch, at: len(f.changed),
	}
	if f.indexes == nil {
		s.at = none
	}
	for i := range f.held {
		s.held[i] = slices.Clone(f.held[i])
		s.leaving[i] = cloneLeavers(f.leaving[i])
	}
	return s
}

// Restore goes back to what was saved. A snapshot can be loaded once.
func (f *Fleet) Restore(s *Snapshot) {
	f.used, f.credit, f.load, f.held, f.leaving = s.used, s.credit, s.load, s.held, s.leaving
	switch {
	case f.indexes == nil:
	case s.at == none || s.epoch != f.epoch:
		f.renew()
	default: // what has changed since changes back
		for _, n := range f.changed[s.at:] {
			f.touch(int(n))
		}
	}
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
