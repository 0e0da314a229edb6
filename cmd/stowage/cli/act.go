package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/cmd/stowage/view"
	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/client"
	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

func (s *shell) execCommand() *cobra.Command {
	var request client.ExecRequest
	var interactive bool
	c := &cobra.Command{Use: "exec WHAT -- COMMAND…", Short: "Run a command inside a task", Args: cobra.MinimumNArgs(2),
		Example: "  stowage exec -it shop/web[0] -- sh",
		RunE: func(cmd *cobra.Command, args []string) error {
			command, err := commandAfter(args)
			if err != nil {
				return err
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			id, err := s.target(cmd, c, args[0])
			if err != nil {
				return err
			}
			request.Command = command
			streams := client.Streams{Stdout: s.Stdout, Stderr: s.Stderr}
			if interactive {
				streams.Stdin = s.Stdin
			}
			if request.Terminal {
				restore, err := s.rawTerminal(cmd.Context(), &request, &streams)
				if err != nil {
					return err
				}
				defer restore()
			}
			ctx := cmd.Context()
			if !request.Terminal {
				var stop func()
				ctx, streams.Signals, stop = passSignals(ctx)
				defer stop()
			}
			code, err := c.Exec(ctx, id, request, streams)
			if err != nil {
				err = fmt.Errorf("run %s in %s: %w", command[0], id, err)
				if code := unrunnable(err); code != 0 {
					s.complain(err)
					return exitCode(code)
				}
				return err
			}
			if code != 0 {
				return exitCode(code)
			}
			return nil
		}}
	c.Flags().SetInterspersed(false)
	c.Flags().BoolVarP(&interactive, "interactive", "i", false, "pass on standard input")
	c.Flags().BoolVarP(&request.Terminal, "tty", "t", false, "with a terminal")
	c.Flags().StringVar((*string)(&request.Task), "task", "", "in which task; without it, the only main one")
	return c
}

// unrunnable is the code with which a shell says that a command could not be run: 127 when there is none of that name, 126 when it is not
// executable (POSIX.1-2024, Shell Command Language, 2.8.2); 0 for another error.
func unrunnable(err error) int {
	switch text := err.Error(); {
	case strings.Contains(text, executor.NotFound):
		return 127
	case strings.Contains(text, executor.NotExecutable):
		return 126
	}
	return 0
}

// passSignals lets Ctrl-C reach a command that runs elsewhere without a terminal: the first signal goes to it, and what it makes of
// that is awaited; the second ends the context, and hangs the command up.
func passSignals(ctx context.Context) (_ context.Context, names <-chan string, stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	caught := make(chan os.Signal, 2)
	passed := make(chan string, 1)
	signal.Notify(caught, unix.SIGINT, unix.SIGTERM)
	go func() {
		for again := false; ; again = true {
			select {
			case sig := <-caught:
				if again {
					cancel()
					return
				}
				passed <- unix.SignalName(sig.(unix.Signal))
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, passed, func() {
		signal.Stop(caught)
		cancel()
	}
}

// commandAfter is the command of WHAT -- COMMAND…; the two dashes may be missing.
func commandAfter(args []string) ([]string, error) {
	what, command := args[0], args[1:]
	switch {
	case command[0] == "--":
		command = command[1:]
	case strings.HasPrefix(command[0], "-"):
		return nil, fmt.Errorf("%s stands behind %s: flags come first, as in stowage exec -it %s -- sh", command[0], what, what)
	}
	if len(command) == 0 {
		return nil, fmt.Errorf("no command stands behind --: write it as in stowage exec -it %s -- sh", what)
	}
	return command, nil
}

// rawTerminal passes keys on as they are pressed, and the size of the window as it changes, until restored.
func (s *shell) rawTerminal(ctx context.Context, request *client.ExecRequest, streams *client.Streams) (func(), error) {
	in, ok := s.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return nil, errors.New("-t needs a terminal as standard input: leave it out to run the command without one")
	}
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("prepare terminal: %w", err)
	}
	request.Term = s.env("TERM")
	request.Columns, request.Rows, _ = term.GetSize(int(in.Fd()))
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, unix.SIGWINCH)
	sizes := make(chan api.Size)
	ctx, stop := context.WithCancel(ctx)
	go func() {
		defer close(sizes)
		for {
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
			columns, rows, err := term.GetSize(int(in.Fd()))
			if err != nil {
				continue
			}
			select {
			case sizes <- api.Size{Rows: rows, Columns: columns}:
			case <-ctx.Done():
				return
			}
		}
	}()
	streams.Resize = sizes
	return func() {
		stop()
		signal.Stop(changed)
		_ = term.Restore(int(in.Fd()), before)
	}, nil
}

// act makes a command that wishes something and prints a sentence.
func act(s *shell, use, short string, args cobra.PositionalArgs, wish func(context.Context, *client.Client, []string) (*api.Applied, error), done, already string) *cobra.Command {
	return look(s, use, short, args, func(cmd *cobra.Command, c *client.Client, args []string) (*api.Applied, error) {
		return wish(cmd.Context(), c, args)
	}, func(p *view.Page, a *api.Applied) {
		if a.NoOp {
			p.Line("%s", already)
			return
		}
		p.Line("%s", done)
	})
}

func (s *shell) restartCommand() *cobra.Command {
	var reason string
	c := act(s, "restart APP", "Replace all allocations of an app, within its budget", cobra.ExactArgs(1),
		func(ctx context.Context, c *client.Client, args []string) (*api.Applied, error) {
			return c.Restart(ctx, api.AppRequest{App: spec.AppName(args[0]), Reason: reason})
		}, "Restarting; stowage ps shows it happen.", "It is being restarted already.")
	c.Flags().StringVar(&reason, "reason", "", "why, for the story")
	return c
}

func (s *shell) scaleCommand() *cobra.Command {
	var reason string
	c := act(s, "scale APP COUNT", "Choose the count of an app, within the bounds of its scaling block", cobra.ExactArgs(2),
		func(ctx context.Context, c *client.Client, args []string) (*api.Applied, error) {
			n, err := strconv.Atoi(args[1])
			if err != nil {
				return nil, fmt.Errorf("%q is no count: write a whole number, as in stowage scale %s 5", args[1], args[0])
			}
			return c.Scale(ctx, api.ScaleRequest{App: spec.AppName(args[0]), Count: &n, Reason: reason})
		}, "Scaled; stowage ps shows it happen.", "It has that count already.")
	c.Flags().StringVar(&reason, "reason", "", "why, for the story")
	return c
}

func (s *shell) promoteCommand() *cobra.Command {
	return act(s, "promote APP", "Let the canaries of an app replace the rest", cobra.ExactArgs(1),
		func(ctx context.Context, c *client.Client, args []string) (*api.Applied, error) {
			return c.Promote(ctx, api.AppRequest{App: spec.AppName(args[0])})
		}, "Promoted.", "It was promoted already.")
}

func (s *shell) tokenCommand() *cobra.Command {
	c := &cobra.Command{Use: "token", Short: "Make, list and end tokens"}
	var request api.TokenRequest
	create := look(s, "create", "Make a token", cobra.NoArgs,
		func(cmd *cobra.Command, c *client.Client, _ []string) (*api.NewToken, error) {
			return c.CreateToken(cmd.Context(), request)
		}, func(p *view.Page, t *api.NewToken) {
			if t.Join != "" {
				p.Line("%s", t.Join)
				return
			}
			p.Line("%s", t.Secret)
		})
	create.Flags().StringVar(&request.Kind, "kind", "operator", "operator (everything), reader (looking) or agent (joining)")
	create.Flags().StringVar(&request.Name, "name", "", "whose it is")
	create.Flags().StringVar(&request.TTL, "ttl", "", "how long it is valid, such as 12h; never: for ever (default: a day for agents, for ever otherwise)")
	c.AddCommand(create)
	c.AddCommand(look(s, "ls", "List tokens, without their secrets", cobra.NoArgs,
		func(cmd *cobra.Command, c *client.Client, _ []string) ([]api.Token, error) {
			return c.Tokens(cmd.Context())
		},
		func(p *view.Page, list []api.Token) { p.Tokens(list) }))
	c.AddCommand(look(s, "revoke TOKEN", "End a token at once", cobra.ExactArgs(1),
		func(cmd *cobra.Command, c *client.Client, args []string) (*api.Applied, error) {
			return c.RevokeToken(cmd.Context(), args[0])
		}, func(p *view.Page, _ *api.Applied) { p.Line("Revoked.") }))
	return c
}
