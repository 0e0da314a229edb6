package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/stowage/stowage/cmd/stowage/view"
	"github.com/stowage/stowage/master/api/client"
	"github.com/stowage/stowage/spec"
)

// leastSpan is the least time between two looks: each node is asked.
const leastSpan = 500 * time.Millisecond

func (s *shell) topCommand() *cobra.Command {
	var filter client.UsageFilter
	var every time.Duration
	var sort string
	c := &cobra.Command{Use: "top [APP]", Short: "What nodes and allocations use, beside what they asked for", Args: cobra.MaximumNArgs(1),
		Long: "On a terminal it goes on until Ctrl-C; elsewhere, and with --json, it prints once.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				filter.App = spec.AppName(args[0])
			}
			if every < leastSpan {
				return fmt.Errorf("--every %s: at least %s", every, leastSpan)
			}
			if err := view.SortUses(nil, sort); err != nil {
				return err
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			if filter.App != "" {
				if err := known(cmd, c, string(filter.App)); err != nil {
					return err
				}
			}
			if err := knownNode(cmd, c, filter.Node); err != nil {
				return err
			}
			return s.watchUsage(cmd.Context(), c, filter, every, sort, false)
		}}
	c.Flags().StringVar((*string)(&filter.Node), "node", "", "only on this node")
	c.Flags().DurationVar(&every, "every", 2*time.Second, "how long one look lasts")
	c.Flags().StringVar(&sort, "sort", "cpu", "what comes first: cpu, memory or name")
	return c
}

func (s *shell) statsCommand() *cobra.Command {
	var every time.Duration
	c := &cobra.Command{Use: "stats WHAT", Short: "What the tasks of an allocation, a slot or an app use", Args: cobra.ExactArgs(1),
		Long: "Prints once, after a look of the length that --every gives.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if every < leastSpan {
				return fmt.Errorf("--every %s: at least %s", every, leastSpan)
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			filter := client.UsageFilter{App: spec.AppName(args[0])}
			if _, notSlot := spec.ParseSlot(args[0]); notSlot == nil || spec.CheckName(args[0]) != nil || known(cmd, c, args[0]) != nil {
				id, err := s.target(cmd, c, args[0])
				if err != nil {
					return err
				}
				filter = client.UsageFilter{Allocation: id}
			}
			return s.watchUsage(cmd.Context(), c, filter, every, "name", true)
		}}
	c.Flags().DurationVar(&every, "every", time.Second, "how long the look lasts")
	return c
}

// watchUsage looks at what is used: once, or again and again on a terminal unless only tasks are asked for.
func (s *shell) watchUsage(ctx context.Context, c *client.Client, filter client.UsageFilter, every time.Duration, sort string, tasks bool) error {
	out, isFile := s.Stdout.(*os.File)
	live := isFile && term.IsTerminal(int(out.Fd())) && !s.json && !tasks
	before, err := c.Usage(ctx, filter)
	if err != nil {
		return err
	}
	for {
		select {
		case <-time.After(every):
		case <-ctx.Done():
			if live {
				return nil // somebody has seen enough
			}
			return ctx.Err()
		}
		now, err := c.Usage(ctx, filter)
		if err != nil {
			if live && ctx.Err() != nil {
				return nil
			}
			return err
		}
		nodes, uses := view.Uses(before, now, tasks)
		if err := view.SortUses(uses, sort); err != nil {
			return err
		}
		if s.json {
			return s.printJSON(map[string]any{"nodes": now, "uses": uses})
		}
		p := s.page()
		var text bytes.Buffer
		if p.Out = &text; !tasks {
			p.NodeUses(nodes)
			p.Line("")
		}
		p.Uses(uses)
		if !live {
			_, err := s.Stdout.Write(text.Bytes())
			return err
		}
		if _, err := fmt.Fprintf(s.Stdout, "\x1b[H\x1b[2J%s", fitting(text.Bytes(), int(out.Fd()))); err != nil {
			return err
		}
		before = now
	}
}

// fitting is as much of a text as a terminal has lines.
func fitting(text []byte, terminal int) []byte {
	_, rows, err := term.GetSize(terminal)
	if err != nil || rows < 2 {
		return text
	}
	at := 0
	for range rows - 1 {
		i := bytes.IndexByte(text[at:], '\n')
		if i < 0 {
			return text
		}
		at += i + 1
	}
	return text[:at]
}
