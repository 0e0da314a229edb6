package agent

import (
	"sync"

	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
)

// catalogue is what the other parts of the agent may look up without asking the loop: the allocations as they were last
// saved, and which run a check belongs to.
type catalogue struct {
	mu      sync.Mutex
	records map[spec.AllocationID]node.Record
	probes  map[string]probed
}

type probed struct {
	run   node.Run
	check string
}

func (c *catalogue) restore(records []node.Record) {
	c.saved(node.Save{Put: records})
}

// saved takes over what a Save effect put and dropped.
func (c *catalogue) saved(s node.Save) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.records == nil {
		c.records, c.probes = map[spec.AllocationID]node.Record{}, map[string]probed{}
	}
	for _, r := range s.Put {
		c.records[r.Decided.ID] = r
	}
	for _, id := range s.Drop {
		delete(c.records, id)
		for key, p := range c.probes {
			if p.run.ID == id {
				delete(c.probes, key)
			}
		}
	}
}

func (c *catalogue) record(id spec.AllocationID) (node.Record, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.records[id]
	return r, ok
}

func (c *catalogue) probed(key string, run node.Run, check string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probes[key] = probed{run, check}
}

func (c *catalogue) run(key string) (node.Run, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.probes[key]
	return p.run, ok
}
