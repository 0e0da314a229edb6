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

// lookAgain is how often dispatch --wait asks how far a run has come.
const lookAgain = 500 * time.Millisecond

func (s *shell) runsCommand() *cobra.Command {
	var app spec.AppName
	return look(s, "runs [APP]", "Apps with runs and when they run next; of one app, its runs", cobra.MaximumNArgs(1),
		func(cmd *cobra.Command, c *client.Client, args []string) ([]api.Runs, error) {
			if len(args) == 1 {
				app = spec.AppName(args[0])
			}
			return c.Runs(cmd.Context(), app)
		}, func(p *view.Page, list []api.Runs) {
			if app == "" {
				p.RunsOverview(list)
				return
			}
			p.RunsOf(list)
		})
}

func (s *shell) dispatchCommand() *cobra.Command {
	var request api.DispatchRequest
	var given []string
	var wait bool
	c := &cobra.Command{Use: "dispatch APP", Short: "Start a run of an app with a schedule", Args: cobra.ExactArgs(1),
		Example: "  stowage dispatch nightly -p date=2026-11-26 --wait",
		Long: "Start a run of an app with a schedule, and of all that follows from it.\n" +
			"Parameters are kept and shown: pass the name of a secret, never the secret.",
		RunE: func(cmd *cobra.Command, args []string) error {
			request.App = spec.AppName(args[0])
			var err error
			if request.Parameters, err = parameters(given); err != nil {
				return err
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			d, err := c.Dispatch(cmd.Context(), request)
			if err != nil {
				return err
			}
			if wait {
				return interrupted(s.awaitRun(cmd.Context(), c, &d.Run), "the run goes on; stowage runs shows it, stowage cancel "+string(d.Run.Name)+" ends it")
			}
			return s.print(d, func(p *view.Page) {
				if d.NoOp {
					p.Line("%s was started with this token before; it is %s.", d.Run.Name, d.Run.State)
					return
				}
				p.Line("%s", d.Run.Name)
				p.Line("  stowage runs %s shows how far it is, stowage cancel %s ends it.", d.Run.App, d.Run.Name)
			})
		}}
	c.Flags().StringArrayVarP(&given, "parameter", "p", nil, "a parameter, as NAME=VALUE; may be repeated")
	c.Flags().StringVar(&request.Token, "token", "", "a word of yours: asking again with the same one starts nothing more")
	c.Flags().BoolVar(&wait, "wait", false, "wait until it has ended, with all that follows from it; exit code 1 unless all is complete")
	return c
}

// parameters reads NAME=VALUE pairs.
func parameters(given []string) (map[string]string, error) {
	out := map[string]string{}
	for _, text := range given {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, fmt.Errorf("%q is no parameter: write it as -p NAME=VALUE", text)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("the parameter %s is given twice: leave one out", name)
		}
		out[name] = value
	}
	return out, nil
}

// awaitRun waits until a run and all that follow from it have ended, prints them, and fails unless all are complete.
func (s *shell) awaitRun(ctx context.Context, c *client.Client, run *spec.Run) error {
	for {
		list, err := c.Runs(ctx, "")
		if err != nil {
			return err
		}
		under, bad, found := 0, 0, []api.Runs{}
		for _, a := range list {
			for _, r := range a.Runs {
				if r.Root != run.Root || r.Key != run.Key {
					continue
				}
				if !r.State.Ended() {
					under++
				} else if r.State != spec.RunComplete {
					bad++
				}
				a.Next, a.Runs = 0, []spec.Run{r}
				found = append(found, a)
				break
			}
		}
		if len(found) == 0 {
			return fmt.Errorf("%s is no longer remembered: too many runs have ended since. See stowage events", run.Name)
		}
		if under == 0 {
			if err := s.print(found, func(p *view.Page) { p.RunsOf(found) }); err != nil {
				return err
			}
			if bad > 0 {
				return exitCode(exitError)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookAgain):
		}
	}
}

// underWay are the runs that are meant: those of an app that have not ended, or the one of that name.
func underWay(ctx context.Context, c *client.Client, name spec.AppName) ([]spec.AppName, error) {
	list, err := c.Runs(ctx, "")
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(list, func(of api.Runs) bool { return of.App == name })
	if i < 0 {
		return []spec.AppName{name}, nil
	}
	var names []spec.AppName
	for _, r := range list[i].Runs {
		if !r.State.Ended() {
			names = append(names, r.Name)
		}
	}
	return names, nil
}

func (s *shell) cancelCommand() *cobra.Command {
	var reason string
	c := act(s, "cancel RUN", "End a run, or all of an app that are under way: what is left of it is stopped", cobra.ExactArgs(1),
		func(ctx context.Context, c *client.Client, args []string) (*api.Applied, error) {
			names, err := underWay(ctx, c, spec.AppName(args[0]))
			a := &api.Applied{NoOp: true}
			for _, name := range names {
				one, cancelErr := c.Cancel(ctx, api.CancelRequest{Run: name, Reason: reason})
				if err = errors.Join(err, cancelErr); cancelErr == nil {
					a.NoOp = a.NoOp && one.NoOp
				}
			}
			return a, err
		}, "Cancelled; stowage ps shows it stop.", "It has ended already.")
	c.Flags().StringVar(&reason, "reason", "", "why, for the story")
	return c
}
