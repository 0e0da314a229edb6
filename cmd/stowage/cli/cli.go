// Package cli is the command line of stowage: one file for each group of commands, all over the API that other programs
// have too.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/stowage/stowage/cmd/stowage/view"
	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
	"golang.org/x/term"
)

// World is what surrounds a run of the command line, so that tests can run the real thing.
type World struct {
	Args    []string
	Env     []string
	Stdin   io.Reader
	Stdout  io.Writer
	Stderr  io.Writer
	Version string
}

// The exit codes. plan --detailed-exitcode tells changes from none.
const (
	exitOK      = 0
	exitError   = 1
	exitChanges = 2
)

// exitCode ends the program with a code and without a message: everything was said.
type exitCode int

// Error is never shown.
func (e exitCode) Error() string { return "exit " + strconv.Itoa(int(e)) }

// shell is what every command uses of the world and of the global flags.
type shell struct {
	World
	json        bool
	credentials string
	noColour    bool
}

// Run carries out one command line and returns the exit code.
func Run(ctx context.Context, w World) int {
	s := &shell{World: w}
	root := s.root()
	root.SetArgs(w.Args)
	root.SetIn(w.Stdin)
	root.SetOut(w.Stdout)
	root.SetErr(w.Stderr)
	err := root.ExecuteContext(ctx)
	var code exitCode
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	}
	s.complain(interrupted(err, ""))
	return exitError
}

// errInterrupted ends a command that waited when somebody pressed Ctrl-C.
var errInterrupted = errors.New("interrupted")

// interrupted says of a wait that somebody ended what goes on without it; other errors stay as they are.
func interrupted(err error, goesOn string) error {
	switch {
	case !errors.Is(err, context.Canceled):
		return err
	case goesOn == "":
		return errInterrupted
	}
	return fmt.Errorf("%w: %s", errInterrupted, goesOn)
}

// complain prints an error with what to do about it.
func (s *shell) complain(err error) {
	var refused *api.Error
	if errors.As(err, &refused) && len(refused.Diagnostics) > 0 {
		s.diagnostics(s.Stderr, refused.Diagnostics)
	}
	if s.json {
		_ = json.NewEncoder(s.Stdout).Encode(map[string]string{"error": err.Error()})
		return
	}
	lines := strings.Split(err.Error(), "\n") // nodes and tasks may have a word in them
	for i := range lines {
		lines[i] = spec.Printable(lines[i])
	}
	fmt.Fprintf(s.Stderr, "stowage: %s\n", strings.Join(lines, "\n"))
}

func (s *shell) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "stowage",
		Short: "Run a cluster of machines as one, from Git",
		Long: "Stowage makes many machines act as one, from Git: commit HCL, see the plan, watch it run.\n\n" +
			"  stowage init        a starter repository\n" +
			"  stowage dev         a cluster on this machine, following the repository you are in\n" +
			"  stowage plan ./     what the files before you would do\n",
		SilenceUsage: true, SilenceErrors: true,
	}
	root.PersistentFlags().BoolVar(&s.json, "json", false, "print data as JSON")
	root.PersistentFlags().StringVar(&s.credentials, "credentials", "", "credentials file of a master (default: $STOWAGE_CREDENTIALS, then the usual places)")
	root.PersistentFlags().BoolVar(&s.noColour, "no-color", false, "no colours (also: NO_COLOR)")
	root.AddGroup(&cobra.Group{ID: "write", Title: "Writing specs:"}, &cobra.Group{ID: "change", Title: "Changing the cluster:"},
		&cobra.Group{ID: "look", Title: "Looking:"}, &cobra.Group{ID: "act", Title: "Acting on what runs:"}, &cobra.Group{ID: "run", Title: "Daemons:"})
	for group, commands := range map[string][]*cobra.Command{
		"write":  {s.initCommand(), s.validateCommand(), s.fmtCommand(), s.simCommand()},
		"change": {s.planCommand(), s.applyCommand(), s.showCommand(), s.historyCommand(), s.diffCommand(), s.rollbackCommand(), s.resumeCommand()},
		"look": {s.statusCommand(), s.psCommand(), s.appsCommand(), s.runsCommand(), s.nodeCommand(), s.explainCommand(), s.whyCommand(), s.eventsCommand(), s.rolesCommand(),
			s.pluginCommand(), s.logsCommand(), s.topCommand(), s.statsCommand(), s.fsCommand()},
		"act": {s.execCommand(), s.cpCommand(), s.restartCommand(), s.scaleCommand(), s.dispatchCommand(), s.cancelCommand(), s.drainCommand(), s.undrainCommand(), s.promoteCommand(), s.rebalanceCommand(), s.tokenCommand()},
		"run": {s.devCommand(), s.masterCommand(), s.agentCommand()},
	} {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	root.AddCommand(s.versionCommand())
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w: %s --help lists the flags", err, c.CommandPath())
	})
	sayUsage(root)
	return root
}

// sayUsage lets wrong arguments be answered with the right ones, in a command and all below it.
func sayUsage(c *cobra.Command) {
	switch check := c.Args; {
	case c.HasSubCommands() && c.HasParent() && c.RunE == nil:
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return c.Help()
			}
			return fmt.Errorf("unknown command %q: %s --help lists them", c.CommandPath()+" "+args[0], c.CommandPath())
		}
	case check != nil:
		c.Args = func(c *cobra.Command, args []string) error {
			if check(c, args) == nil {
				return nil
			}
			return fmt.Errorf("wrong number of arguments (%d): write it as %s; %s --help tells more", len(args), strings.TrimSuffix(c.UseLine(), " [flags]"), c.CommandPath())
		}
	}
	for _, below := range c.Commands() {
		sayUsage(below)
	}
}

func (s *shell) versionCommand() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		if s.json {
			return s.printJSON(map[string]string{"version": s.Version})
		}
		_, err := fmt.Fprintf(s.Stdout, "stowage %s\n", s.Version)
		return err
	}}
}

// env returns a variable of the surrounding environment.
func (s *shell) env(name string) string {
	for i := len(s.Env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(s.Env[i], name+"="); ok {
			return v
		}
	}
	return ""
}

// page is standard output as a view.
func (s *shell) page() *view.Page {
	p := &view.Page{Out: s.Stdout, Now: spec.TimeOf(time.Now())}
	if f, ok := s.Stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.Colour = s.colour()
		if w, _, err := term.GetSize(int(f.Fd())); err == nil {
			p.Width = w
		}
	}
	return p
}

func (s *shell) colour() bool {
	return !s.noColour && s.env("NO_COLOR") == "" && s.env("TERM") != "dumb"
}

func (s *shell) printJSON(v any) error {
	e := json.NewEncoder(s.Stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// print prints a value as JSON if that is asked for, and otherwise as text.
func (s *shell) print(v any, text func(*view.Page)) error {
	if s.json {
		return s.printJSON(v)
	}
	text(s.page())
	return nil
}

// home is the folder of this user's settings.
func (s *shell) home() string {
	if dir := s.env("XDG_CONFIG_HOME"); dir != "" {
		return filepath.Join(dir, "stowage")
	}
	return filepath.Join(s.env("HOME"), ".config", "stowage")
}
