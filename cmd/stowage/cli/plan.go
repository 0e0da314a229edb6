package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/stowage/stowage/cmd/stowage/view"
	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/client"
	"github.com/stowage/stowage/spec"
)

// planning is what the flags of stowage plan say.
type planning struct {
	client.What
	input, save, out string
	detailed, all    bool
}

const planLong = `Without an argument: what the commit at the head of the followed branch would do now.
With a folder: the same for the files in it, committed or not. Such a plan is never applied, only shown.
With --without and --with: the same as if those nodes were gone for good, or more were there. --without takes node/NAME or
ATTRIBUTE/VALUE, --with takes COUNTxCLASS of a node_class, or COUNTxlike/NODE. Neither is such a plan ever applied.
With --save: also write all that the plan depends on to a file, from which --input plans again anywhere, without a master. The
values of environments are not in it.`

func (s *shell) planCommand() *cobra.Command {
	var f planning
	c := &cobra.Command{Use: "plan [FOLDER]", Short: "Show what a commit, or the files before you, would do", Args: cobra.MaximumNArgs(1), Long: planLong,
		RunE: func(cmd *cobra.Command, args []string) error { return s.plan(cmd.Context(), &f, args) }}
	c.Flags().StringVar(&f.Ref, "ref", "", "plan this branch, tag or commit")
	c.Flags().StringArrayVar(&f.Without, "without", nil, "plan as if these nodes were gone: node/NAME or ATTRIBUTE/VALUE; may be given again")
	c.Flags().StringArrayVar(&f.With, "with", nil, "plan as if more nodes were there: 5xCLASS or 2xlike/NODE; may be given again")
	c.Flags().StringVar(&f.out, "out", "", "also write the plan to this file, for stowage apply FILE")
	c.Flags().StringVar(&f.save, "save", "", "also write all that the plan depends on to this file, for --input")
	c.Flags().StringVar(&f.input, "input", "", "plan from this file of --save, without a master; a FOLDER is planned over the state in it")
	c.Flags().BoolVar(&f.detailed, "detailed-exitcode", false, "exit with 0 when all is as the commit says, 2 when not, 1 for an error")
	c.Flags().BoolVar(&f.all, "all", false, "long lists in full")
	return c
}

func (s *shell) plan(ctx context.Context, f *planning, args []string) error {
	plan, err := s.makePlan(ctx, f, args)
	if err != nil {
		return err
	}
	if f.out != "" {
		if err := savePlan(f.out, plan); err != nil {
			return err
		}
	}
	live, apply := len(args) == 0 && f.Ref == "" && f.input == "" && plan.Suppose == nil, ""
	if live && plan.Summary.Changes()+len(plan.Schedules) > 0 {
		apply = s.applyHint(ctx, plan)
	}
	if err := s.print(plan, func(p *view.Page) { p.Plan(plan, view.PlanOptions{All: f.all, Apply: apply}) }); err != nil {
		return err
	}
	if f.detailed && (plan.Summary != (spec.Summary{}) || len(plan.Schedules) > 0) {
		return exitCode(exitChanges)
	}
	return nil
}

func (s *shell) makePlan(ctx context.Context, f *planning, args []string) (*spec.Plan, error) {
	suppose, err := spec.ParseSupposition(f.Without, f.With)
	if err != nil {
		return nil, err
	}
	if len(args) > 0 {
		if f.Ref != "" {
			return nil, errors.New("plan either a folder or a --ref, not both")
		}
		if err := mustBeFolder(args[0]); err != nil {
			return nil, err
		}
		f.Tree = os.DirFS(args[0])
	}
	if f.input != "" {
		if f.Ref != "" || f.save != "" {
			return nil, errors.New("--input goes with neither --ref nor --save: what it plans is in the file, or in a folder")
		}
		return s.planOffline(f, suppose)
	}
	client, err := s.client()
	if err != nil {
		return nil, err
	}
	if f.save == "" {
		return client.MakePlan(ctx, f.What)
	}
	saved, err := client.Input(ctx, f.What)
	if err != nil {
		return nil, err
	}
	if err := writeInput(f.save, saved); err != nil {
		return nil, err
	}
	return s.planInput(saved, saved.Input, suppose)
}

// applyHint is the command that approves the plan, if it is one that waits.
func (s *shell) applyHint(ctx context.Context, plan *spec.Plan) string {
	client, err := s.client()
	if err != nil {
		return ""
	}
	if st, err := client.Status(ctx); err == nil && st.Pending != nil && st.Pending.Plan == plan.ID {
		return "stowage apply " + string(plan.ID)
	}
	return ""
}

func savePlan(path string, plan *spec.Plan) error {
	data, err := json.MarshalIndent(plan, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("save plan: %w", err)
	}
	return nil
}

func (s *shell) applyCommand() *cobra.Command {
	var exact, wait, now bool
	var within string
	c := &cobra.Command{Use: "apply [PLAN | FILE]", Short: "Approve the plan that waits", Args: cobra.MaximumNArgs(1),
		Long: "Approves a plan: the one that waits, one by its ID, or one from a file of stowage plan --out.\nThe same changes or fewer may then go to other nodes than planned. With --exact nothing may differ.\nWith --now the changes of that commit wait for no window; without a plan that waits, those of the commit that is followed.",
		RunE: func(cmd *cobra.Command, args []string) error {
			request, timeout := api.ApplyRequest{Mode: "bounded", Now: now}, spec.Duration(0)
			if within != "" {
				var err error
				if timeout, err = spec.ParseDuration(within); err != nil {
					return fmt.Errorf("--timeout: %w", err)
				}
				wait = true
			}
			if exact {
				request.Mode = "exact"
			}
			if len(args) == 1 {
				if err := applyArgument(args[0], &request); err != nil {
					return err
				}
			}
			client, err := s.client()
			if err != nil {
				return err
			}
			if len(args) == 0 {
				st, err := client.Status(cmd.Context())
				if err != nil {
					return err
				}
				if st.Pending == nil && !now {
					return s.print(api.Applied{NoOp: true}, func(p *view.Page) { p.Line("No plan waits for approval.") })
				}
				if st.Pending != nil {
					request.ID = st.Pending.Plan
				}
			}
			applied, err := client.Apply(cmd.Context(), request)
			if err != nil {
				return err
			}
			if err := s.print(applied, func(p *view.Page) {
				applyWords(p, applied)
				if now {
					p.Line("Its changes wait for no window.")
				}
			}); err != nil || !wait || applied.Plan == nil {
				return err
			}
			return s.await(cmd.Context(), client, applied, timeout)
		}}
	c.Flags().BoolVar(&exact, "exact", false, "refuse if anything that the plan rests on has moved")
	c.Flags().BoolVar(&now, "now", false, "begin outside of the windows too")
	c.Flags().BoolVar(&wait, "wait", false, "show progress until the plan is done; what it says has no place, or waits for a window, is named, not waited for")
	c.Flags().StringVar(&within, "timeout", "", "as --wait, and end with an error after this long, such as 5m")
	return c
}

func applyArgument(arg string, request *api.ApplyRequest) error {
	if strings.HasPrefix(arg, "p-") {
		request.ID = spec.PlanID(arg)
		return nil
	}
	data, err := os.ReadFile(arg)
	if err != nil {
		return fmt.Errorf("read plan: %w: name a plan by its ID (p-…) or a file of stowage plan --out", err)
	}
	request.Plan = new(spec.Plan)
	if err := json.Unmarshal(data, request.Plan); err != nil || request.Plan.ID == "" {
		return fmt.Errorf("read plan: %s is no plan as stowage plan --out writes it", arg)
	}
	return nil
}

func applyWords(p *view.Page, applied *api.Applied) {
	switch {
	case applied.NoOp:
		p.Line("That plan was applied already: nothing to do.")
	case applied.Plan != nil:
		p.Line("Plan %s applied: commit %s is followed.", applied.Plan.ID, applied.Plan.Commit.Short())
	default:
		p.Line("Applied.")
	}
}

func (s *shell) showCommand() *cobra.Command {
	var all bool
	c := &cobra.Command{Use: "show PLAN", Short: "Show a plan that waits or was applied", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		client, err := s.client()
		if err != nil {
			return err
		}
		plan, err := client.Plan(cmd.Context(), spec.PlanID(args[0]))
		if err != nil {
			return err
		}
		return s.print(plan, func(p *view.Page) { p.Plan(plan, view.PlanOptions{All: all}) })
	}}
	c.Flags().BoolVar(&all, "all", false, "long lists in full")
	return c
}

func (s *shell) historyCommand() *cobra.Command {
	return &cobra.Command{Use: "history", Short: "Revisions that were followed, newest first", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		client, err := s.client()
		if err != nil {
			return err
		}
		list, err := client.History(cmd.Context())
		if err != nil {
			return err
		}
		return s.print(list, func(p *view.Page) { p.History(list) })
	}}
}

func (s *shell) diffCommand() *cobra.Command {
	return &cobra.Command{Use: "diff PLAN PLAN", Short: "What differs between two plans", Args: cobra.ExactArgs(2), RunE: func(cmd *cobra.Command, args []string) error {
		client, err := s.client()
		if err != nil {
			return err
		}
		d, err := client.Diff(cmd.Context(), spec.PlanID(args[0]), spec.PlanID(args[1]))
		if err != nil {
			return err
		}
		return s.print(d, func(p *view.Page) { p.Diff(d) })
	}}
}

func (s *shell) rollbackCommand() *cobra.Command {
	return &cobra.Command{Use: "rollback COMMIT", Short: "Follow an older commit until a newer one arrives", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		client, err := s.client()
		if err != nil {
			return err
		}
		applied, err := client.Rollback(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return s.print(applied, func(p *view.Page) {
			if applied.NoOp {
				p.Line("That commit is followed already.")
				return
			}
			p.Line("Following %s until a newer commit arrives; stowage resume goes back to the head of the branch.", args[0])
		})
	}}
}

func (s *shell) resumeCommand() *cobra.Command {
	return &cobra.Command{Use: "resume", Short: "Follow the head of the branch again after a rollback", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		client, err := s.client()
		if err != nil {
			return err
		}
		applied, err := client.Resume(cmd.Context())
		if err != nil {
			return err
		}
		return s.print(applied, func(p *view.Page) {
			if applied.NoOp {
				p.Line("The head of the branch is followed already.")
				return
			}
			p.Line("Following the branch again.")
		})
	}}
}
