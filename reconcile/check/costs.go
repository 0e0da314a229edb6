package check

import "github.com/stowage/stowage/spec"

// costs adds up what the plan says of prices.
func (c *checker) costs() {
	k := c.plan.Cost
	if k == nil {
		return
	}
	sum := k.Idle
	for i := range k.Apps {
		if sum += k.Apps[i].After; k.Apps[i].After < 0 || k.Apps[i].Before < 0 || i > 0 && dearest(&k.Apps[i]) > dearest(&k.Apps[i-1]) {
			c.report("costs", string(k.Apps[i].App), "%+v is negative or out of order", k.Apps[i])
		}
	}
	if k.Idle < 0 || sum > k.After {
		c.report("costs", string(c.plan.ID), "what apps have and what is idle is %s, the nodes cost %s", sum, k.After)
	}
	if c.plan.Suppose.Empty() && k.Before != k.After {
		c.report("costs", string(c.plan.ID), "nothing is supposed of the nodes, and they cost %s instead of %s", k.After, k.Before)
	}
}

func dearest(a *spec.AppCost) spec.Price { return max(a.Before, a.After) }
