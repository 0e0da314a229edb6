package reconcile

// RuleBudget is the rule of a slot that only the disruption budget keeps from being replaced in its own room.
const RuleBudget = "its own room, as the disruption budget lets no other slot stop first"

// What the planner says of its own accord, as people read it; package rollout has the reasons of single steps.
const (
	reasonPruned      = "the app left the repository"
	afterStopped      = "after %s has stopped"
	heldPolicyMissing = "the scheduling policy %q is not running"
	heldPolicy        = "the scheduling policy %q failed: %v"
	ruleBackOff       = "back-off: the last attempt failed"
	detailBackOff     = "%s on %s: %s"
	detailWaiting     = "; %d slots wait"
	unsaidWhy         = "it ended"
	rulePolicy        = "the scheduling policy chose none of the feasible nodes"
	ruleTurn          = "there was no room when its turn came"
	ruleNoNodes       = "the cluster has no nodes"
	reasonRunPatience = "waited %s: %s"
	reasonRunDone     = "the run is complete"
	reasonPreempted   = "preempted for "
	reasonDisplaced   = "its allocation was preempted for %s"
	ruleQuota         = "quota of role %s: %s"
	ruleGang          = "gang: %d of %d would fit, and none starts without the others"
	detailGangFits    = " with those that would fit"
	detailGang        = "%s would fit, %s would not"
	ruleGangWaits     = "gang: it waits for one of its slots, whose last attempt failed"
	ruleReserved      = "reservation %s for role %s"
	ruleNoAttribute   = "no node has the attribute %q"
	hintAttribute     = "%s; did you mean %q?"
	warnIdleSpread    = "spread of %s says nothing"
	warnIdleSpreads   = "spread of %s, and of %d more, says nothing"
	ruleKept          = "kept for role %s: %s %s"
)
