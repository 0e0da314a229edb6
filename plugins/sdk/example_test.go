package sdk_test

import (
	"context"
	"fmt"

	"github.com/stowage/stowage/plugins"
	"github.com/stowage/stowage/plugins/sdk"
	"github.com/stowage/stowage/spec"
)

// Emptiest is a policy of one line: the node with the fewest allocations.
var emptiest = sdk.Scoring{
	Name:  "emptiest",
	Lower: "busier",
	Score: func(_ []int64, n *sdk.Node) spec.Milli { return spec.Milli(-n.Load) },
}

// A policy is tried out without a host, and served by sdk.ServePolicy("emptiest", "1.0", emptiest) in main.
func ExampleServePolicy() {
	picks, _ := emptiest.Place(&sdk.Batch{
		App: "shop/web", Count: 1, Resources: []string{"cpu"}, Need: []int64{500}, Nodes: []spec.NodeID{"n1", "n2"},
		Capacity: []int64{4000, 4000}, Free: []int64{3000, 1000}, Room: []int32{1, 1}, Own: []int32{0, 0}, Load: []int32{5, 2},
	})
	fmt.Println("node number", picks[0].Node)
	// Output: node number 1
}

// workers is a driver that makes one app of its block.
type workers struct{}

// Schema implements sdk.Framework.
func (workers) Schema(context.Context) (spec.Schema, error) {
	return spec.Schema{Arguments: []spec.Argument{{Name: "count", Type: spec.TypeNumber, Default: 3.0, Description: "How many."}}}, nil
}

// Expand implements sdk.Framework.
func (workers) Expand(_ context.Context, q *sdk.Question) (*sdk.Answer, error) {
	count, _ := q.Block.Config["count"].(float64)
	return &sdk.Answer{Apps: []*spec.App{{
		Name: q.Block.Name + "/node", Count: int(count),
		Tasks: []spec.Task{{Name: "server", Rootfs: spec.RootfsHost, Command: []string{"sleep", "infinity"}}},
	}}}, nil
}

// A driver is tried out without a host, and served by sdk.ServeFramework("workers", "1.0", workers{}) in main.
func ExampleServeFramework() {
	block := spec.Framework{Driver: "workers", Name: "mine", Config: map[string]any{"count": 2.0}}
	answer, _ := workers{}.Expand(context.Background(), &sdk.Question{Block: block})
	expansion, err := plugins.Expansion(block, answer)
	fmt.Println(expansion.Apps[0].Name, expansion.Apps[0].Count, expansion.Apps[0].Tasks[0].Memory, err)
	// Output: mine/node 2 128MiB <nil>
}
