package check

import "github.com/stowage/stowage/spec"

// preemption looks at who has to go for others: only where the cluster allows it, only what runs and is less important
// by the gap, and nothing that is not preempted at all.
func (c *checker) preemption() {
	seen := map[spec.AllocationID]spec.Slot{}
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		if len(ch.Victims) > 0 && !c.in.Desired.Preemption {
			c.report("preemption", ch.Slot.String(), "it preempts, which the cluster does not allow")
		}
		for _, v := range ch.Victims {
			a, app := c.byID[v.ID], c.apps[ch.Version]
			if a == nil || app == nil || a.State.Terminal() || a.Want == spec.WantStop {
				c.report("preemption", ch.Slot.String(), "%s does not run, and is to make room", v.ID)
				continue
			}
			if other, twice := seen[v.ID]; twice {
				c.report("preemption", ch.Slot.String(), "%s makes room for %s already", v.ID, other)
			}
			seen[v.ID] = ch.Slot
			if a.Node != ch.Node {
				c.report("preemption", ch.Slot.String(), "%s is on %s, and makes no room on %s", v.ID, a.Node, ch.Node)
			}
			if v.Priority > app.Priority-spec.PreemptionGap {
				c.report("preemption", ch.Slot.String(), "%s has priority %d, which is no %d below %d", v.ID, v.Priority, spec.PreemptionGap, app.Priority)
			}
			if old := c.in.Versions[a.Version]; a.App == ch.App || old != nil && (old.Kind == spec.KindSystem || old.Gang) {
				c.report("preemption", ch.Slot.String(), "%s is of the app itself, of a system app or of a gang", v.ID)
			}
		}
	})
}
