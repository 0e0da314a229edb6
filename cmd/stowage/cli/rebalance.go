package cli

import (
	"github.com/spf13/cobra"
	"github.com/stowage/stowage/cmd/stowage/view"
	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/client"
)

func (s *shell) rebalanceCommand() *cobra.Command {
	var request api.RebalanceRequest
	var cancel, status bool
	c := look(s, "rebalance", "Move what pays: room for what has none, spreads made even, nodes freed", cobra.NoArgs,
		func(cmd *cobra.Command, c *client.Client, _ []string) (any, error) {
			switch {
			case cancel:
				return c.CancelRebalance(cmd.Context())
			case status:
				return c.Rebalancing(cmd.Context())
			}
			return c.Rebalance(cmd.Context(), request)
		}, func(p *view.Page, v any) {
			switch v := v.(type) {
			case *api.Rebalancing:
				p.Rebalancing(v)
			case *api.Applied:
				if v.NoOp {
					p.Line("No rebalancing is under way.")
					return
				}
				p.Line("Cancelled: what has not moved stays where it is.")
			}
		})
	c.Example = "  stowage rebalance --dry-run\n  stowage rebalance --max-moves 10\n  stowage rebalance --status"
	c.Flags().BoolVar(&request.DryRun, "dry-run", false, "only show the moves and what each is good for")
	c.Flags().IntVar(&request.Moves, "max-moves", 0, "move no more allocations than this (50)")
	c.Flags().IntVar(&request.Parallel, "parallel", 0, "allocations on their way at a time (4)")
	c.Flags().StringVar(&request.ID, "id", "", "make just the moves that were shown under this ID; needed where sync approval is manual")
	c.Flags().BoolVar(&status, "status", false, "show the rebalancing under way")
	c.Flags().BoolVar(&cancel, "cancel", false, "end the rebalancing under way")
	c.MarkFlagsMutuallyExclusive("dry-run", "status", "cancel", "id")
	return c
}
