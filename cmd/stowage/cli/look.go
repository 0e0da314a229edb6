package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/stowage/stowage/cmd/stowage/view"
	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/client"
	"github.com/stowage/stowage/spec"
)

// look makes a command that asks the master for one value and prints it.
func look[T any](s *shell, use, short string, args cobra.PositionalArgs, ask func(*cobra.Command, *client.Client, []string) (T, error), text func(*view.Page, T)) *cobra.Command {
	return &cobra.Command{Use: use, Short: short, Args: args, RunE: func(cmd *cobra.Command, args []string) error {
		c, err := s.client()
		if err != nil {
			return err
		}
		v, err := ask(cmd, c, args)
		if err != nil {
			return err
		}
		return s.print(v, func(p *view.Page) { text(p, v) })
	}}
}

func (s *shell) statusCommand() *cobra.Command {
	return look(s, "status", "How the cluster is, on one page", cobra.NoArgs,
		func(cmd *cobra.Command, c *client.Client, _ []string) (*api.Status, error) {
			return c.Status(cmd.Context())
		},
		func(p *view.Page, st *api.Status) {
			p.Status(st)
			if st.Refused != nil {
				s.diagnostics(p.Out, st.Refused.Diagnostics)
			}
		})
}

func (s *shell) psCommand() *cobra.Command {
	var filter client.AllocationFilter
	c := look(s, "ps [APP]", "List allocations", cobra.MaximumNArgs(1),
		func(cmd *cobra.Command, c *client.Client, args []string) ([]spec.AllocationView, error) {
			if len(args) == 1 {
				filter.App = spec.AppName(args[0])
			}
			list, err := c.Allocations(cmd.Context(), filter)
			if err == nil && len(list) == 0 && filter.App != "" {
				err = known(cmd, c, string(filter.App))
			}
			if err == nil && len(list) == 0 {
				err = knownNode(cmd, c, filter.Node)
			}
			return list, err
		}, func(p *view.Page, list []spec.AllocationView) { p.Allocations(list) })
	c.Flags().StringVar((*string)(&filter.Node), "node", "", "only on this node")
	c.Flags().BoolVar(&filter.Ended, "ended", false, "also those that have ended and are remembered")
	return c
}

func (s *shell) appsCommand() *cobra.Command {
	return look(s, "apps", "List apps and how they are doing", cobra.NoArgs,
		func(cmd *cobra.Command, c *client.Client, _ []string) ([]api.App, error) {
			return c.Apps(cmd.Context())
		},
		func(p *view.Page, list []api.App) { p.Apps(list) })
}

func (s *shell) rolesCommand() *cobra.Command {
	return look(s, "roles", "Who has which share of the cluster", cobra.NoArgs,
		func(cmd *cobra.Command, c *client.Client, _ []string) ([]api.Role, error) {
			return c.Roles(cmd.Context())
		},
		func(p *view.Page, list []api.Role) { p.Roles(list) })
}

func (s *shell) nodeCommand() *cobra.Command {
	c := &cobra.Command{Use: "node", Short: "Look at nodes, or forget one"}
	c.AddCommand(look(s, "ls", "List nodes", cobra.NoArgs,
		func(cmd *cobra.Command, c *client.Client, _ []string) ([]api.Node, error) {
			return c.Nodes(cmd.Context())
		},
		func(p *view.Page, list []api.Node) { p.Nodes(list) }))
	type detail struct {
		*api.Node
		On []spec.AllocationView `json:"on"`
	}
	c.AddCommand(look(s, "show NODE", "One node, its attributes and what runs on it", cobra.ExactArgs(1),
		func(cmd *cobra.Command, c *client.Client, args []string) (detail, error) {
			n, err := c.Node(cmd.Context(), spec.NodeID(args[0]))
			if err != nil {
				return detail{}, err
			}
			on, err := c.Allocations(cmd.Context(), client.AllocationFilter{Node: n.ID})
			return detail{n, on}, err
		}, func(p *view.Page, d detail) { p.Node(d.Node, d.On) }))
	c.AddCommand(look(s, "remove NODE", "Forget a node; its allocations count as lost", cobra.ExactArgs(1),
		func(cmd *cobra.Command, c *client.Client, args []string) (*api.Applied, error) {
			return c.RemoveNode(cmd.Context(), spec.NodeID(args[0]))
		}, func(p *view.Page, _ *api.Applied) { p.Line("Removed.") }))
	return c
}

func (s *shell) explainCommand() *cobra.Command {
	type detail struct {
		*api.Explanation
		Node        *api.Node             `json:"node,omitempty"`
		Allocations []spec.AllocationView `json:"allocations,omitempty"` // of an app or node
	}
	return look(s, "explain WHAT", "Why a slot, allocation, app, run or node is as it is, and its story", cobra.ExactArgs(1),
		func(cmd *cobra.Command, c *client.Client, args []string) (d detail, err error) {
			if d.Explanation, err = c.Explain(cmd.Context(), args[0]); err != nil {
				return d, err
			}
			_, slotErr := spec.ParseSlot(d.Subject)
			switch {
			case d.Allocation != nil || slotErr == nil || d.Runs != nil:
				return d, nil
			case d.Run != nil:
				d.Allocations, err = c.Allocations(cmd.Context(), client.AllocationFilter{App: d.Run.Name, Ended: true})
				return d, err
			case d.Spec != nil:
				d.Allocations, err = c.Allocations(cmd.Context(), client.AllocationFilter{App: d.Spec.Name})
				return d, err
			}
			if d.Node, err = c.Node(cmd.Context(), spec.NodeID(d.Subject)); err != nil {
				return d, err
			}
			d.Allocations, err = c.Allocations(cmd.Context(), client.AllocationFilter{Node: d.Node.ID})
			return d, err
		}, func(p *view.Page, d detail) {
			if d.Node != nil {
				p.Node(d.Node, d.Allocations)
				p.Story(d.Story)
				return
			}
			p.Explanation(d.Explanation, d.Allocations)
		})
}

func (s *shell) whyCommand() *cobra.Command {
	var why view.Why // what is not of one app is not in the JSON, which lists apps: status and drain have it
	c := look(s, "why [APP]", "What has no place, is held, waits or has failed, and what would change that", cobra.MaximumNArgs(1),
		func(cmd *cobra.Command, c *client.Client, args []string) ([]api.BlockedApp, error) {
			list, err := c.Blocked(cmd.Context())
			if err != nil {
				return nil, err
			}
			if len(args) == 0 {
				st, err := c.Status(cmd.Context())
				if err != nil {
					return nil, err
				}
				why.Refused = st.Refused
				why.Drains, err = drains(cmd.Context(), c)
				return list, err
			}
			why.App = args[0]
			var one []api.BlockedApp
			for _, b := range list {
				if string(b.App) == args[0] {
					one = append(one, b)
				}
			}
			if len(one) == 0 {
				err = known(cmd, c, args[0])
			}
			return one, err
		}, func(p *view.Page, list []api.BlockedApp) {
			why.Apps = list
			p.Why(why)
			if why.Refused != nil {
				s.diagnostics(p.Out, why.Refused.Diagnostics)
			}
		})
	c.Long = "Without an app it tells of drains that wait or cannot get on and of a commit that is not used, too. With --json it lists apps only:\nstowage status --json and stowage drain --json have the rest."
	return c
}

func (s *shell) eventsCommand() *cobra.Command {
	var follow bool
	var tail int
	c := &cobra.Command{Use: "events [SUBJECT]", Short: "The story as it happened", Args: cobra.MaximumNArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		c, err := s.client()
		if err != nil {
			return err
		}
		filter := client.EventFilter{Follow: follow, Tail: tail}
		if len(args) == 1 {
			filter.Subject = args[0]
		}
		p := s.page()
		return c.Events(cmd.Context(), filter, func(e api.Event) error {
			if s.json {
				return s.printLine(e)
			}
			p.Event(&e.Event)
			return nil
		})
	}}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on as it happens")
	c.Flags().IntVar(&tail, "tail", 50, "past events to begin with")
	return c
}

func (s *shell) pluginCommand() *cobra.Command {
	c := &cobra.Command{Use: "plugin", Short: "Look at plugins"}
	list := look(s, "ls", "List the plugins of the followed revision and how they are", cobra.NoArgs,
		func(cmd *cobra.Command, c *client.Client, _ []string) ([]api.Plugin, error) {
			return c.Plugins(cmd.Context())
		},
		func(p *view.Page, list []api.Plugin) { p.Plugins(list) })
	list.Aliases = []string{"list"} // as it was called
	c.AddCommand(list)
	return c
}

// known returns an error unless an app has that name, or lies below it.
func known(cmd *cobra.Command, c *client.Client, name string) error {
	apps, err := c.Apps(cmd.Context())
	if err != nil {
		return err
	}
	for i := range apps {
		if string(apps[i].Name) == name || strings.HasPrefix(string(apps[i].Name), name+"/") {
			return nil
		}
	}
	names := make([]string, len(apps))
	for i := range apps {
		names[i] = string(apps[i].Name)
	}
	return fmt.Errorf("there is no app %q: %sstowage apps lists them", name, meant(name, names))
}

// meant is a question after the name that was most likely meant, before another remedy; "" when there is none like it.
func meant(name string, names []string) string {
	if near := spec.Closest(name, names); near != "" {
		return fmt.Sprintf("did you mean %q? Otherwise ", near)
	}
	return ""
}

// knownNode returns an error unless a node has that name, or none is given.
func knownNode(cmd *cobra.Command, c *client.Client, name spec.NodeID) error {
	if name == "" {
		return nil
	}
	_, err := c.Node(cmd.Context(), name)
	return err
}

// target finds the allocation that a person means: by its ID, its slot, or the only (or first healthy) one of an app.
func (s *shell) target(cmd *cobra.Command, c *client.Client, what string) (spec.AllocationID, error) {
	id := spec.AllocationID(what)
	if _, _, err := id.Parse(); err == nil && !strings.Contains(what, "/") {
		if _, err := c.Allocation(cmd.Context(), id); err == nil {
			return id, nil
		}
	}
	app := what
	slot, err := spec.ParseSlot(what)
	if err == nil {
		app = string(slot.App)
	}
	list, listErr := c.Allocations(cmd.Context(), client.AllocationFilter{App: spec.AppName(app), Ended: true})
	if listErr != nil {
		return "", listErr
	}
	best := -1
	for i := range list {
		if string(list[i].App) != app || err == nil && list[i].Slot != slot {
			continue
		}
		if best < 0 || better(&list[i], &list[best]) {
			best = i
		}
	}
	if best < 0 && err != nil && len(list) > 0 {
		if run := newestRun(cmd.Context(), c, app, list); run != "" {
			fmt.Fprintf(s.Stderr, "%s has runs: this is %s\n", app, run)
			return s.target(cmd, c, run)
		}
	}
	if best < 0 {
		near := ""
		if apps, err := c.Apps(cmd.Context()); err == nil {
			var names []string
			for i := range apps {
				names = append(names, string(apps[i].Name))
			}
			near = meant(app, names)
		}
		return "", fmt.Errorf("nothing is called %q: %sname an allocation, a slot such as shop/web[3], an app, or a run; stowage ps --ended lists them", what, near)
	}
	if alive := live(list, app); err != nil && len(alive) > 1 {
		fmt.Fprintf(s.Stderr, "%s has %d allocations: this is %s; name another such as %s[%d]\n", app, len(alive), list[best].Slot, app, alive[len(alive)-1].Slot.Index)
	}
	return list[best].ID, nil
}

// newestRun returns the newest run of an app that has an allocation among these; "" if none has.
func newestRun(ctx context.Context, c *client.Client, app string, list []spec.AllocationView) string {
	of, err := c.Runs(ctx, spec.AppName(app))
	if err != nil {
		return "" // it has no runs
	}
	for i := range of {
		for _, r := range slices.Backward(of[i].Runs) {
			if string(of[i].App) == app && slices.ContainsFunc(list, func(a spec.AllocationView) bool { return a.App == r.Name }) {
				return string(r.Name)
			}
		}
	}
	return ""
}

// live are the allocations of an app that have not ended.
func live(list []spec.AllocationView, app string) []*spec.AllocationView {
	var alive []*spec.AllocationView
	for i := range list {
		if string(list[i].App) == app && !list[i].State.Terminal() {
			alive = append(alive, &list[i])
		}
	}
	return alive
}

// better prefers what has not ended, then what is newer.
func better(a, b *spec.AllocationView) bool {
	if a.State.Terminal() != b.State.Terminal() {
		return b.State.Terminal()
	}
	return a.Generation > b.Generation
}
