package master

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/stowage/stowage/master/api/server"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/wire"
)

const (
	// usageWithin bounds how long a node may take to say what it uses.
	usageWithin = 5 * time.Second
	// usageAtOnce is how many nodes are asked at a time.
	usageAtOnce = 64
	// maxUsage bounds what one node says, in bytes: some ten thousand tasks.
	maxUsage = 16 << 20
)

// getUsage asks the nodes what they use. One that does not say has an error in its place.
func (m *Master) getUsage(c *server.Call) (any, error) {
	q := c.URL.Query()
	app, only := q.Get("app"), spec.NodeID(q.Get("node"))
	var id spec.AllocationID
	if name := q.Get("allocation"); name != "" {
		a, err := m.allocation(c, name)
		if err != nil {
			return nil, err
		}
		id, only = a.ID, a.Node
	}
	s, err := m.snapshot(c.Context())
	if err != nil {
		return nil, err
	}
	var nodes []spec.NodeID
	switch {
	case only != "":
		nodes = []spec.NodeID{only}
	case app != "":
		for _, a := range s.pick(app, "", false) {
			nodes = append(nodes, a.Node)
		}
		slices.Sort(nodes)
		nodes = slices.Compact(nodes)
	default:
		for i := range s.nodes {
			nodes = append(nodes, s.nodes[i].ID)
		}
	}
	list := make([]spec.NodeUsage, len(nodes))
	var each sync.WaitGroup
	turns := make(chan struct{}, usageAtOnce)
	for i, node := range nodes {
		each.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			u, err := m.usageOf(c.Context(), node, id)
			if err != nil {
				u = spec.NodeUsage{Error: err.Error()}
			}
			u.Node = node
			u.Allocations = slices.DeleteFunc(u.Allocations, func(a spec.AllocationUsage) bool { return !below(a.App, app) })
			if u.Allocations == nil {
				u.Allocations = []spec.AllocationUsage{}
			}
			list[i] = u
		})
	}
	each.Wait()
	return list, c.Context().Err()
}

// usageOf asks one node.
func (m *Master) usageOf(ctx context.Context, node spec.NodeID, id spec.AllocationID) (u spec.NodeUsage, err error) {
	ctx, cancel := context.WithTimeout(ctx, usageWithin)
	defer cancel()
	win, err := m.link.Open(node, wire.Open{ID: id, Usage: &wire.Usage{}})
	if err != nil {
		return u, err
	}
	defer win.Close()
	data, err := win.All(ctx, maxUsage)
	if err != nil {
		return u, err
	}
	err = json.Unmarshal(data, &u)
	return u, err
}
