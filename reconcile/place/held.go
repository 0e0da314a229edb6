package place

import (
	"encoding/binary"
	"slices"

	"github.com/stowage/stowage/spec"
)

// held is a thing of a node that one allocation has and nobody else can: a port (its number*2, plus 1 for UDP), a
// device (firstDevice and its place in the node's list) or a core (firstCore and its number). The list of a node is
// sorted, and may hold one twice while an allocation waits for another that leaves.
type held uint32

// Where devices and cores begin; ports end at 131,072.
const (
	firstDevice held = 1 << 20
	firstCore   held = 1 << 24
)

// nameUnits keeps what the node has by name.
func (f *Layout) nameUnits(i int, n *spec.Node) {
	if len(n.Devices) > 0 {
		if f.devices == nil {
			f.devices = make([][]spec.Device, len(f.ids))
		}
		f.devices[i] = n.Devices[:min(len(n.Devices), spec.MaxDevices)]
	}
	if len(n.Cores) > 0 {
		if f.cores == nil {
			f.cores = make([][]spec.CoreGroup, len(f.ids))
		}
		f.cores[i] = n.Cores
	}
}

// each calls do with the key of everything that was given. A device that the node no longer has has none: nobody can
// be given it.
func (f *Fleet) each(node int, g *spec.Grant, do func(held)) {
	for _, p := range g.Ports {
		do(portKey(p.Number, p.Protocol))
	}
	if len(g.Devices) > 0 {
		have := f.devicesOf(node)
		for _, d := range g.Devices {
			if i := slices.IndexFunc(have, func(h spec.Device) bool { return h.Kind == d.Kind && h.ID == d.ID }); i >= 0 {
				do(firstDevice + held(i))
			}
		}
	}
	for _, c := range g.Cores {
		for _, core := range c.Cores {
			do(firstCore + held(core))
		}
	}
}

// keys lists what was given.
func (f *Fleet) keys(node int, g *spec.Grant) []held {
	if g == nil || len(g.Ports)+len(g.Devices)+len(g.Cores) == 0 {
		return nil
	}
	var all []held
	f.each(node, g, func(k held) { all = append(all, k) })
	return all
}

func (f *Fleet) hold(node int, g *spec.Grant) {
	if g == nil {
		return
	}
	f.each(node, g, func(k held) {
		i, _ := slices.BinarySearch(f.held[node], k)
		f.held[node] = slices.Insert(f.held[node], i, k)
	})
	f.mostHeld = max(f.mostHeld, len(f.held[node]))
}

func (f *Fleet) free(node int, g *spec.Grant) {
	if g == nil {
		return
	}
	f.each(node, g, func(k held) {
		if i, ok := slices.BinarySearch(f.held[node], k); ok {
			f.held[node] = slices.Delete(f.held[node], i, i+1)
		}
	})
}

// available reports whether nobody holds it, or, with leaving, only one who is on the way out.
func (f *Fleet) available(node int, k held, leaving bool) bool {
	i, taken := slices.BinarySearch(f.held[node], k)
	if !taken {
		return true
	}
	if !leaving || i+1 < len(f.held[node]) && f.held[node][i+1] == k {
		return false
	}
	return slices.ContainsFunc(f.leaving[node], func(l *leaver) bool { return slices.Contains(l.held, k) })
}

func shares(a, b []held) bool {
	return slices.ContainsFunc(a, func(k held) bool { return slices.Contains(b, k) })
}

// rank orders what is available for somebody: what the one it follows leaves comes first, then what is free, then what
// others leave; it is negative for what cannot be had.
func (f *Fleet) rank(node int, k held, r *Request) int {
	switch {
	case r.Prefer != "" && f.leaves(node, r.Prefer, k) && f.available(node, k, true):
		return 0
	case f.available(node, k, false):
		return 1
	case r.Wait && f.available(node, k, true):
		return 2
	}
	return -1
}

func (f *Fleet) leaves(node int, id spec.AllocationID, k held) bool {
	return slices.ContainsFunc(f.leaving[node], func(l *leaver) bool { return l.id == id && slices.Contains(l.held, k) })
}

// roomByName returns how many allocations of the request the node takes by its ports, devices and cores, at most limit.
func (f *Fleet) roomByName(node int, r *Request, limit int32) int32 {
	m := r.Match
	if ports := m.App.Network.Ports; len(ports) > 0 {
		if limit, _ = f.portRoom(node, ports, r.Wait, limit); limit == 0 {
			return 0
		}
	}
	if m.cores > 0 {
		if limit = min(limit, int32(len(f.openCores(node, r))/m.cores)); limit == 0 {
			return 0
		}
	}
	if len(m.asks) > 0 {
		limit = f.deviceRoom(node, r, limit)
	}
	return limit
}

// unitsKey is the same for two apps only if they ask for the same devices and as many cores; "" is neither.
func (m *Matcher) unitsKey() string {
	if m.cores+len(m.asks) == 0 {
		return ""
	}
	key := binary.AppendUvarint(nil, uint64(m.cores))
	for i := range m.asks {
		a := &m.asks[i]
		key = binary.AppendUvarint(append(binary.AppendUvarint(key, uint64(len(a.kind))), a.kind...), uint64(a.count))
		key = binary.AppendUvarint(key, uint64(len(a.rules)))
		for k := range a.rules {
			key = append(binary.AppendUvarint(key, uint64(len(a.rules[k].text))), a.rules[k].text...)
		}
	}
	return string(key)
}

// hasUnits reports whether the node has the devices and cores for one allocation.
func (f *Fleet) hasUnits(node int, m *Matcher, leaving bool) bool {
	if m.cores > 0 {
		n := 0
		for _, g := range f.coresOf(node) {
			for _, c := range g.Cores {
				if f.available(node, firstCore+held(c), leaving) {
					n++
				}
			}
		}
		if n < m.cores {
			return false
		}
	}
	if len(m.asks) == 0 {
		return true
	}
	return len(f.devicesOf(node)) > 0 && f.bid(node, m, func(i int) int {
		if f.available(node, firstDevice+held(i), leaving) {
			return 0
		}
		return -1
	}) != nil
}

// Grant chooses the ports, devices and cores of one allocation of the request on the node, which has room for it.
func (f *Fleet) Grant(node int, slot spec.Slot, r *Request) spec.Grant {
	m := r.Match
	g := spec.Grant{Ports: f.Ports(node, slot, m.App.Network.Ports)}
	if len(m.asks) > 0 {
		g.Devices = f.giveDevices(node, r)
	}
	if m.cores > 0 {
		g.Cores = f.giveCores(node, r)
	}
	return g
}
