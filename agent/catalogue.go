package agent

import (
	"slices"
	"sync"

	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
)

// catalogue is what the other parts of the agent may look up without asking the loop: the allocations as they were last
// saved, and which run a check belongs to.
type catalogue struct {
	mu      sync.Mutex
	records map[spec.AllocationID]node.Record
	probes  map[string]node.Run
}

func (c *catalogue) restore(records []node.Record) {
	c.saved(node.Save{Put: records})
}

// saved takes over what a Save effect put and dropped.
func (c *catalogue) saved(s node.Save) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.records == nil {
		c.records, c.probes = map[spec.AllocationID]node.Record{}, map[string]node.Run{}
	}
	for _, r := range s.Put {
		c.records[r.Decided.ID] = r
	}
	for _, id := range s.Drop {
		delete(c.records, id)
		for key, run := range c.probes {
			if run.ID == id {
				delete(c.probes, key)
			}
		}
	}
}

// named reports whether a Save effect is about allocations that have cores, as they are and as they were.
func (c *catalogue) named(s node.Save) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range s.Put {
		if len(s.Put[i].Decided.Cores) > 0 {
			return true
		}
	}
	return slices.ContainsFunc(s.Drop, func(id spec.AllocationID) bool { return len(c.records[id].Decided.Cores) > 0 })
}

// cores lists those of allocations that run or are being started: nobody else may run there. One that still waits for its turn has
// none yet.
func (c *catalogue) cores() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []int
	for _, r := range c.records {
		if s := r.Status.State; !s.Terminal() && s != spec.StatePlaced && s != spec.StatePending {
			all = append(all, spec.AllCores(r.Decided.Cores)...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (c *catalogue) all() []node.Record {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]node.Record, 0, len(c.records))
	for _, r := range c.records {
		all = append(all, r)
	}
	return all
}

func (c *catalogue) record(id spec.AllocationID) (node.Record, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.records[id]
	return r, ok
}

// passing reports whether a check of the present run was passing when that was last saved.
func (c *catalogue) passing(run node.Run, check string) bool {
	r, _ := c.record(run.ID)
	for i, t := range r.Status.Tasks {
		if t.Name == run.Task && i < len(r.Tasks) && r.Tasks[i].Attempt == run.Attempt {
			return slices.ContainsFunc(t.Checks, func(r spec.Result) bool { return r.Check == check && r.Passing })
		}
	}
	return false
}

func (c *catalogue) probed(key string, run node.Run) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probes[key] = run
}

func (c *catalogue) run(key string) (node.Run, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	run, ok := c.probes[key]
	return run, ok
}

func (c *catalogue) unprobed(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.probes, key)
}
