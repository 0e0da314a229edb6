// Package reconcile decides what to do: given what a commit asks for and what is, it says what changes, where, in which
// order and why. It is pure: the same Input gives the same bytes, on every machine.
//
// A plan is made in one pass over the whole cluster:
//
//	world.go     reads the input into apps and a place.Fleet; memory.go keeps of it what the next plan needs again
//	advance.go   carries the rollouts on and settles which version each app should have
//	steps.go     asks rollout.Decide for the steps of each app that is not as it should be
//	placing.go   retires what goes, then finds nodes for what comes: first what can start now, then what waits
//	fair.go      in which order: by priority, then by the shares of roles.go; preempt.go makes room where that is allowed,
//	             and chooser.go finds out who goes for it
//	plan.go      writes it down: describe.go why something is blocked, fix.go what would help, fields.go what differs in
//	             the spec, capacity.go how full the cluster gets and what the loss of a node would do
//	decide.go    takes from a plan what can be done now; apply.go tells what the records are afterwards
//
// An allocation that starts where another has yet to end waits for it (Allocation.After); the room they share counts
// once. An ID is a slot and a generation, so one decision starts at most one allocation of a slot.
package reconcile
