package place

import "github.com/stowage/stowage/spec"

// Policy decides where allocations go. The planner has filtered before and checks again after: a policy can choose
// badly, never wrongly. It is asked for whole batches, never for a task and a node at a time.
type Policy interface {
	// Place answers with one Pick for each allocation it finds a node for, at most Batch.Count. An error holds the app
	// with the error as the reason.
	Place(b *Batch) ([]Pick, error)
}

// Pick is one placement of a batch.
type Pick struct {
	Node  int // index into Batch.Nodes
	Score spec.Score
}
