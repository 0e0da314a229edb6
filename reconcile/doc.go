// Package reconcile decides what to do: given what a commit asks for and what is, it says what changes, where, in which
// order and why. It is pure: the same Input gives the same bytes, on every machine.
//
// A plan is made in one pass over the whole cluster, in the order of the files: world.go reads the input into apps and
// a place.Fleet; advance.go carries the rollouts on and settles which version each app should have; rollout.Decide
// gives the steps of each app; placing.go finds the nodes, most important first; plan.go writes it all down. Decide
// takes from a plan what can be done now, and Apply tells what the world's records are afterwards.
package reconcile
