// Package sdk is what the author of a plugin imports. A plugin is a program whose main function serves one of the two
// ports; all the rest (the hand-shake, the wire, logging, the end of the process) is seen to.
//
// # A scheduling policy
//
// The least is a scoring function. It is asked for one allocation on one node, higher is better, and everything else
// (limits, affinities, ties, the runner-up that a plan shows) is done as for the built-in policies:
//
//	package main
//
//	import (
//		"github.com/stowage/stowage/plugins/sdk"
//		"github.com/stowage/stowage/spec"
//	)
//
//	func main() {
//		sdk.ServePolicy("emptiest", "1.0", sdk.Scoring{
//			Name:  "emptiest",
//			Lower: "busier",
//			Score: func(need []int64, n *sdk.Node) spec.Milli { return spec.Milli(-n.Load) },
//		})
//	}
//
// A type of one's own with the method Place(*sdk.Batch) ([]sdk.Pick, error) takes over whole batches. A policy chooses
// among nodes that accept the allocation, and what it chose is checked: it can choose badly, never wrongly.
//
// # A framework driver
//
// A driver has two methods. Schema tells what may stand in its block; Expand turns a block into apps, given what the
// block owns so far:
//
//	type driver struct{}
//
//	func (driver) Schema(context.Context) (spec.Schema, error) {
//		return spec.Schema{Arguments: []spec.Argument{
//			{Name: "count", Type: spec.TypeNumber, Default: 3.0, Description: "How many."},
//		}}, nil
//	}
//
//	func (driver) Expand(ctx context.Context, q *sdk.Question) (*sdk.Answer, error) {
//		return &sdk.Answer{Apps: []*spec.App{{
//			Name:  q.Block.Name + "/node",
//			Count: int(q.Block.Config["count"].(float64)),
//			Tasks: []spec.Task{{Name: "server", Rootfs: spec.RootfsHost, Command: []string{"server"}}},
//		}}}, nil
//	}
//
//	func main() { sdk.ServeFramework("mine", "1.0", driver{}) }
//
// Fields of an app that are left empty get the language's defaults. examples/redis is a complete driver and explains
// how stages are written: as a function of what is owned, without memory.
//
// # What to know
//
//   - Log with package slog, or print to standard error. After serving has begun, standard output leads there too;
//     before that, printing to it breaks the hand-shake.
//   - A panic ends the process; the host shows its first line as the reason, and starts the plugin again.
//   - Every call has a deadline. A plugin that misses it is killed and started again.
//   - The environment holds PATH, LANG and TMPDIR, an empty private folder; settings come from the plugin block's args.
//   - The process ends with its host. So do its children where the master runs as root; elsewhere, a child that must not
//     outlive a host killed by force watches its own parent.
package sdk
