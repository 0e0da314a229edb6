package reconcile

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/stowage/stowage/spec"
)

// nodesHash covers what a plan rests on of the nodes: their states, what they have, and the attributes that anything asks
// for. Others may change without making a plan another one.
func (w *world) nodesHash() spec.Hash {
	h := sha256.New()
	buf := make([]byte, 0, 1<<12)
	names := w.attributesAsked()
	for n := range w.fleet.Len() {
		buf = append(buf, w.fleet.ID(n)...)
		buf = append(buf, 0)
		buf = append(buf, w.fleet.State(n)...)
		if pool := w.fleet.Pool(n); pool != spec.DefaultPool {
			buf = append(append(buf, 0), pool...)
		}
		for _, v := range w.fleet.Capacity(n) {
			buf = binary.AppendVarint(buf, v)
		}
		buf = appendUnits(appendAttributes(buf, &w.nodes[n], names), &w.nodes[n].Node)
		if len(buf) > 1<<11 {
			h.Write(buf)
			buf = buf[:0]
		}
	}
	h.Write(buf)
	return spec.Hash(hex.EncodeToString(h.Sum(nil)[:8]))
}

// attributesAsked lists the attributes of nodes that apps, reservations and failure domains name, in order.
func (w *world) attributesAsked() []string {
	names := slices.Clone(w.in.Desired.FailureDomains)
	see := func(a *spec.App) {
		for i := range a.Constraints {
			names = append(names, a.Constraints[i].Attribute)
		}
		for i := range a.Affinities {
			names = append(names, a.Affinities[i].Attribute)
		}
		for i := range a.Spreads {
			names = append(names, a.Spreads[i].Attribute)
		}
	}
	for _, a := range w.in.Desired.Apps {
		see(a)
	}
	for _, a := range w.in.Versions { // any order: a set, sorted below
		see(a)
	}
	for i := range w.in.Desired.Reservations {
		for k := range w.in.Desired.Reservations[i].Constraints {
			names = append(names, w.in.Desired.Reservations[i].Constraints[k].Attribute)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func appendAttributes(buf []byte, n *spec.NodeView, names []string) []byte {
	for i, name := range names {
		if v, ok := valueOf(n, name); ok && name != spec.AttributeID {
			buf = appendText(binary.AppendUvarint(buf, uint64(i)), v)
		}
	}
	return buf
}

// appendUnits adds what the node has by name or number: devices, cores and a range of ports of its own.
func appendUnits(buf []byte, n *spec.Node) []byte {
	for i := range n.Devices {
		d := &n.Devices[i]
		for _, text := range []string{d.Kind, d.ID, d.Vendor, d.Model} {
			buf = appendText(buf, text)
		}
		for _, name := range slices.Sorted(maps.Keys(d.Attributes)) {
			buf = appendText(appendText(buf, name), d.Attributes[name])
		}
	}
	for i := range n.Cores {
		buf = binary.AppendVarint(buf, int64(n.Cores[i].NUMA))
		for _, c := range n.Cores[i].Cores {
			buf = binary.AppendVarint(buf, int64(c))
		}
	}
	if n.PortFirst != 0 || n.PortLast != 0 {
		buf = binary.AppendVarint(binary.AppendVarint(buf, int64(n.PortFirst)), int64(n.PortLast))
	}
	return buf
}

func appendText(buf []byte, text string) []byte {
	return append(binary.AppendUvarint(buf, uint64(len(text))), text...)
}
