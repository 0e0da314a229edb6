package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/stowage/stowage/cmd/stowage/view"
	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/client"
	"github.com/stowage/stowage/spec"
)

// drainPoll is how often drain --wait looks.
const drainPoll = 500 * time.Millisecond

// nodeChoice is how commands name nodes: one by one, and by their attributes.
type nodeChoice struct{ where []string }

func (n *nodeChoice) flag(c *cobra.Command) {
	c.Flags().StringArrayVar(&n.where, "where", nil, "all nodes with this attribute, such as rack=r1; several: with all of them")
}

func (n *nodeChoice) read(args []string) ([]spec.NodeID, map[string]string, error) {
	var nodes []spec.NodeID
	for _, a := range args {
		nodes = append(nodes, spec.NodeID(a))
	}
	var where map[string]string
	for _, w := range n.where {
		name, value, ok := strings.Cut(w, "=")
		if !ok || name == "" {
			return nil, nil, fmt.Errorf("--where %s says no attribute: write it as --where rack=r1", w)
		}
		if where == nil {
			where = map[string]string{}
		}
		where[name] = value
	}
	return nodes, where, nil
}

func (s *shell) drainCommand() *cobra.Command {
	var deadline, reason, window string
	var cancel, wait bool
	var choice nodeChoice
	c := &cobra.Command{Use: "drain [NODE…]", Short: "Move everything away from nodes; without any, show the drains under way", Args: cobra.ArbitraryArgs,
		Example: "  stowage drain n7 --reason \"new disk\" --deadline 1h\n  stowage drain --where rack=r1 --wait\n  stowage drain --cancel n7\n  stowage drain n7 --window nightly",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			request := api.DrainRequest{Reason: reason, Window: spec.WindowName(window)}
			if request.Nodes, request.Where, err = choice.read(args); err != nil {
				return err
			}
			if len(args)+len(choice.where) == 0 {
				return s.showDrains(cmd.Context(), c)
			}
			if cancel {
				return s.undrain(cmd.Context(), c, api.UndrainRequest{Nodes: request.Nodes, Where: request.Where})
			}
			if deadline != "" {
				if request.Deadline, err = spec.ParseDuration(deadline); err != nil {
					return err
				}
			}
			a, err := c.DrainNodes(cmd.Context(), request)
			if err != nil {
				return err
			}
			if wait {
				return interrupted(s.awaitDrain(cmd.Context(), c, a.Nodes), "the drain goes on; stowage drain shows how far it is, stowage drain --cancel takes it back")
			}
			return s.print(a, func(p *view.Page) {
				p.Line("Draining %s; stowage drain shows how far it is, stowage drain --cancel takes it back.", view.Names(a.Nodes))
			})
		}}
	c.Flags().StringVar(&deadline, "deadline", "", "what is left after this long is stopped all the same, such as 1h; with --window it counts from the opening")
	c.Flags().StringVar(&window, "window", "", "take nothing new from now on, and give away what is there when this window of the repository opens")
	c.Flags().StringVar(&reason, "reason", "", "why, for the story")
	c.Flags().BoolVar(&cancel, "cancel", false, "take the drain back, as stowage undrain does")
	c.Flags().BoolVar(&wait, "wait", false, "tell of each step until the nodes are drained; interrupting it leaves the drain as it is")
	choice.flag(c)
	return c
}

func (s *shell) undrainCommand() *cobra.Command {
	var choice nodeChoice
	c := &cobra.Command{Use: "undrain [NODE…]", Short: "Let nodes take allocations again", Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			nodes, where, err := choice.read(args)
			if err != nil {
				return err
			}
			if len(args)+len(choice.where) == 0 {
				return errors.New("no node is named: write it as stowage undrain n7, or stowage undrain --where rack=r1")
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			return s.undrain(cmd.Context(), c, api.UndrainRequest{Nodes: nodes, Where: where})
		}}
	choice.flag(c)
	return c
}

func (s *shell) undrain(ctx context.Context, c *client.Client, request api.UndrainRequest) error {
	a, err := c.UndrainNodes(ctx, request)
	if err != nil {
		return err
	}
	return s.print(a, func(p *view.Page) {
		if a.NoOp {
			p.Line("Nothing of that is draining.")
			return
		}
		p.Line("%s take allocations again: what has not left stays.", view.Names(a.Nodes))
	})
}

// drains are the nodes that are to be empty.
func drains(ctx context.Context, c *client.Client) ([]api.Node, error) {
	list, err := c.Nodes(ctx)
	return slices.DeleteFunc(list, func(n api.Node) bool { return n.Drain == nil }), err
}

func (s *shell) showDrains(ctx context.Context, c *client.Client) error {
	list, err := drains(ctx, c)
	if err != nil {
		return err
	}
	return s.print(list, func(p *view.Page) { p.Drains(list) })
}

// awaitDrain tells of every change until all the nodes are empty, or nobody wants them to be.
func (s *shell) awaitDrain(ctx context.Context, c *client.Client, nodes []spec.NodeID) error {
	told := map[spec.NodeID]string{}
	for {
		list, err := c.Nodes(ctx)
		if err != nil {
			return err
		}
		left, p := 0, s.page()
		for i := range list {
			n := &list[i]
			if !slices.Contains(nodes, n.ID) {
				continue
			}
			if n.Drain != nil && n.Drain.Left > 0 {
				left++
			}
			line := p.DrainLine(n)
			if told[n.ID] == line {
				continue
			}
			told[n.ID] = line
			if s.json {
				if err := s.printLine(n); err != nil {
					return err
				}
				continue
			}
			p.Line("  %s  %s", n.ID, line)
		}
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(drainPoll):
		}
	}
}
