package cli

import (
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
	"github.com/stowage/stowage/reconcile/sim"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/hcl"
)

func (s *shell) simCommand() *cobra.Command {
	var seed uint64
	var minimise, story bool
	c := &cobra.Command{Use: "sim SCENARIO…", Short: "Rehearse commits and faults in virtual time, with the real decision code", Args: cobra.MinimumNArgs(1),
		Long: "Runs the real cores of master and agents in one process and in virtual time. A scenario is a txtar archive: its comment is the\nscript, one command a line; the files under NAME/ are what the repository holds at \"commit NAME\". See docs/simulator.md.",
		RunE: func(_ *cobra.Command, args []string) error {
			failed := false
			for _, path := range args {
				data, err := os.ReadFile(path)
				if err != nil {
					return fmt.Errorf("read scenario: %w", err)
				}
				o := sim.Options{Seed: seed, JSON: s.json, Story: story,
					Out:  func(line string) { fmt.Fprintln(s.Stdout, line) },
					Load: func(fsys fs.FS) (*spec.Cluster, []spec.Diagnostic) { return hcl.Load(fsys, hcl.Options{}) }}
				if minimise {
					text, _, err := sim.Minimise(data, o)
					if err != nil {
						return fmt.Errorf("%s: %w", path, err)
					}
					fmt.Fprint(s.Stdout, text)
					continue
				}
				result := sim.Run(data, o)
				if result.Err != nil {
					failed = true
					fmt.Fprintf(s.Stderr, "%s: %v\n", path, result.Err)
					continue
				}
				if !s.json {
					fmt.Fprintf(s.Stdout, "%s: ok, %d events, trace %s, seed %d\n", path, result.Events, result.Trace, result.Seed)
				}
			}
			if failed {
				return exitCode(exitError)
			}
			return nil
		}}
	c.Flags().Uint64Var(&seed, "seed", 1, "seed of everything that is left to chance")
	c.Flags().BoolVar(&story, "story", false, "tell what happened, in order and with the reasons, and end with figures")
	c.Flags().BoolVar(&minimise, "minimise", false, "print the shortest scenario that goes wrong like this one does")
	return c
}
