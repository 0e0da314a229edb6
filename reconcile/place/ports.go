package place

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

func portKey(number int, p spec.Protocol) held {
	k := held(number) << 1
	if p == spec.UDP {
		k++
	}
	return k
}

// portRoom returns how many allocations with these ports the node takes, at most limit, and the first static port in
// the way when it takes none.
func (f *Fleet) portRoom(node int, asked []spec.PortSpec, leaving bool, limit int32) (int32, *spec.PortSpec) {
	dynamic := 0
	for i := range asked {
		if asked[i].Static == 0 {
			dynamic++
			continue
		}
		if !f.available(node, portKey(asked[i].Static, asked[i].Protocol), leaving) {
			return 0, &asked[i]
		}
		limit = 1
	}
	if dynamic > 0 {
		low, high := f.dynamic[node][0], f.dynamic[node][1]
		first, _ := slices.BinarySearch(f.held[node], portKey(low, spec.TCP))
		last, _ := slices.BinarySearch(f.held[node], portKey(high+1, spec.TCP))
		free := high - low + 1 - (last - first)
		limit = min(limit, int32(max(0, free/dynamic)))
	}
	return limit, nil
}

// portsFree reports whether nobody has one of the ports with a number on the node.
func (f *Fleet) portsFree(node int, asked []spec.PortSpec, leaving bool) bool {
	for i := range asked {
		if p := &asked[i]; p.Static != 0 && !f.available(node, portKey(p.Static, p.Protocol), leaving) {
			return false
		}
	}
	return true
}

// HasPort reports whether nobody has the port on the node but those who leave.
func (f *Fleet) HasPort(node, number int, p spec.Protocol) bool {
	return f.available(node, portKey(number, p), true)
}

// Ports chooses the ports of one allocation on the node. Dynamic ones start at a number derived from the slot, so that
// a port that was just given up is not the first to be given out again.
func (f *Fleet) Ports(node int, slot spec.Slot, asked []spec.PortSpec) []spec.Port {
	if len(asked) == 0 {
		return nil
	}
	low, span := f.dynamic[node][0], f.dynamic[node][1]-f.dynamic[node][0]+1
	ports := make([]spec.Port, 0, len(asked))
	offset := int(hash(string(slot.App)))%span + slot.Index
	for _, a := range asked {
		p := spec.Port{Name: a.Name, Number: a.Static, Protocol: a.Protocol}
		for try := 0; p.Number == 0 && try < span; try++ {
			number := low + (offset+try)%span
			if !staticAsked(asked, number) && !given(ports, number) &&
				f.available(node, portKey(number, spec.TCP), false) && f.available(node, portKey(number, spec.UDP), false) {
				p.Number = number
			}
		}
		ports = append(ports, p)
	}
	return ports
}

func staticAsked(asked []spec.PortSpec, number int) bool {
	return slices.ContainsFunc(asked, func(a spec.PortSpec) bool { return a.Static == number })
}

func given(ports []spec.Port, number int) bool {
	return slices.ContainsFunc(ports, func(p spec.Port) bool { return p.Number == number })
}

// hash is 32-bit FNV-1a.
func hash(s string) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}
