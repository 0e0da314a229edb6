// Package spec holds the nouns of Stowage: what people write (cluster.go) and what the system keeps
// (state.go, plan.go). It has no behaviour beyond what a value can say of itself: names, units, hashes and
// validity. It imports the standard library only and does no input or output, so every other package can share it.
//
// Three parties write these values, and each value has exactly one writer:
//
//	desired   Cluster, App, Task …            people, through a Git commit
//	decided   Allocation, Rollout, Plan       the master, through its journal
//	observed  Node, AllocationStatus          the agents, over their link
//
// The words are defined in docs/model.md. Adding a field that users see costs two edits: the field here and its
// line in the decoder of spec/hcl.
package spec
