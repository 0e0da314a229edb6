package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/client"
	"github.com/stowage/stowage/spec"
)

func (s *shell) logsCommand() *cobra.Command {
	var filter client.LogFilter
	c := &cobra.Command{Use: "logs WHAT…", Short: "Output of tasks: of allocations, slots such as shop/web[3], or all of an app", Args: cobra.MinimumNArgs(1),
		Example: "  stowage logs -f shop/web\n  stowage logs --since 10m --stream stderr 'shop/web[0]' 'shop/db[0]'",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			if filter.Since != "" && !cmd.Flags().Changed("tail") {
				filter.Tail = -1
			}
			sources, err := s.logSources(cmd, c, args)
			if err != nil {
				return err
			}
			return s.showLogs(cmd.Context(), c, filter, sources)
		}}
	c.Flags().BoolVarP(&filter.Follow, "follow", "f", false, "go on as it comes")
	c.Flags().IntVar(&filter.Tail, "tail", 100, "last lines of each stream to begin with; -1: all there is (default with --since)")
	c.Flags().StringVar(&filter.Since, "since", "", "only what was printed since: a duration such as 10m, or a moment such as 2026-11-27T03:00:00Z")
	c.Flags().StringVar((*string)(&filter.Task), "task", "", "whose output; without it, the only main task's")
	c.Flags().StringVar(&filter.Stream, "stream", "", "stdout or stderr; without it, both")
	return c
}

// maxSources bounds how many allocations are shown side by side.
const maxSources = 100

// logSource is an allocation whose output is shown.
type logSource struct {
	id   spec.AllocationID
	name string     // what its lines are marked with
	slot *spec.Slot // whose later allocations are shown too when it is followed; nil: only this one
}

// logSources finds the allocations that a person means: what target finds, and of an app that has several all that have not ended.
func (s *shell) logSources(cmd *cobra.Command, c *client.Client, args []string) (sources []logSource, err error) {
	seen := map[spec.AllocationID]bool{}
	add := func(id spec.AllocationID, name string, slot *spec.Slot) {
		if !seen[id] {
			seen[id] = true
			sources = append(sources, logSource{id, name, slot})
		}
	}
	for _, what := range args {
		if _, notSlot := spec.ParseSlot(what); notSlot != nil && spec.CheckName(what) == nil {
			list, err := c.Allocations(cmd.Context(), client.AllocationFilter{App: spec.AppName(what)})
			if err != nil {
				return nil, err
			}
			if alive := live(list, what); len(alive) > 1 {
				for _, a := range alive {
					add(a.ID, a.Slot.String(), &a.Slot)
				}
				continue
			}
		}
		id, err := s.target(cmd, c, what)
		if err != nil {
			return nil, err
		}
		var slot *spec.Slot
		if a, err := c.Allocation(cmd.Context(), id); err == nil && string(id) != what {
			slot = &a.Slot
		}
		add(id, what, slot)
	}
	if len(sources) > maxSources {
		return nil, fmt.Errorf("that is the output of %d allocations: at most %d are shown at once; name slots such as shop/web[3]", len(sources), maxSources)
	}
	return sources, nil
}

// showLogs prints the output of allocations as it comes, with marks if they are several.
func (s *shell) showLogs(ctx context.Context, c *client.Client, filter client.LogFilter, sources []logSource) error {
	if len(sources) == 1 && !s.json {
		stdout, endOut := s.tamed(s.Stdout)
		stderr, endErr := s.tamed(s.Stderr)
		return errors.Join(s.followLogs(ctx, c, filter, sources[0], stdout, stderr), endOut(), endErr())
	}
	width := 0
	for _, one := range sources {
		width = max(width, len(one.name))
	}
	var lock sync.Mutex // lines of several are not mixed
	var each sync.WaitGroup
	errs := make([]error, len(sources))
	for i, one := range sources {
		stdout, stderr := s.logLines(one, "stdout", width, &lock), s.logLines(one, "stderr", width, &lock)
		each.Go(func() {
			err := s.followLogs(ctx, c, filter, one, stdout, stderr)
			if errs[i] = errors.Join(stdout.flush(), stderr.flush(), err); errs[i] != nil && len(sources) > 1 {
				errs[i] = fmt.Errorf("%s: %w", one.name, errs[i])
			}
		})
	}
	each.Wait()
	return errors.Join(errs...)
}

// followLogs prints the output of an allocation, and when it is followed and is not the only one that was asked for, that of those which
// take its slot after it.
func (s *shell) followLogs(ctx context.Context, c *client.Client, filter client.LogFilter, from logSource, stdout, stderr io.Writer) error {
	id := from.id
	for {
		if err := c.Logs(ctx, id, filter, stdout, stderr); err != nil || !filter.Follow || from.slot == nil {
			return err
		}
		next, err := successor(ctx, c, *from.slot, id)
		if err != nil || next == "" {
			return err
		}
		fmt.Fprintf(s.Stderr, "%s: %s has ended, this is %s\n", from.slot, id, next)
		id, filter.Tail, filter.Since = next, -1, ""
	}
}

// errFound ends a watch.
var errFound = errors.New("found")

// successor waits for the allocation that takes a slot after another, and has begun to run. It returns "" when none will: the slot is not
// wanted any more, or its work is done.
func successor(ctx context.Context, c *client.Client, slot spec.Slot, after spec.AllocationID) (next spec.AllocationID, err error) {
	_, generation, err := after.Parse()
	if err != nil {
		return "", err
	}
	for {
		app, err := c.App(ctx, slot.App)
		var answer *api.Error
		switch {
		case errors.As(err, &answer) && answer.Status == http.StatusNotFound:
			return "", nil
		case err != nil:
			return "", err
		case app.Kind == spec.KindBatch || app.Kind == spec.KindService && slot.Index >= app.Count:
			return "", nil
		}
		commit, least := spec.Commit(""), spec.Generation(0)
		err = c.Watch(ctx, client.WatchFilter{App: slot.App}, func(change api.Change) error {
			for i := range change.Allocations {
				a := &change.Allocations[i]
				if a.Slot == slot && a.Generation > generation && a.State.Rank() >= spec.StateRunning.Rank() && (next == "" || a.Generation < least) {
					next, least = a.ID, a.Generation
				}
			}
			if commit == "" {
				commit = change.Commit
			}
			if next != "" || change.Commit != commit { // another commit may not want the slot
				return errFound
			}
			return nil
		})
		if !errors.Is(err, errFound) || next != "" {
			if errors.Is(err, errFound) {
				err = nil
			}
			return next, err
		}
	}
}

// logLine is one line of output as JSON.
type logLine struct {
	Allocation spec.AllocationID `json:"allocation"`
	Stream     string            `json:"stream"`         // stdout or stderr
	Line       string            `json:"line"`           // without its end; what is not UTF-8 is replaced
	Part       bool              `json:"part,omitempty"` // the line goes on in the next object
}

// maxLogLine bounds what is held of a line that does not end.
const maxLogLine = 64 << 10

// logLines writes output line by line.
type logLines struct {
	print func(line []byte, part bool) error
	held  []byte
}

// logLines prints lines as JSON, an object for each, or with the name of where they come from before them.
func (s *shell) logLines(from logSource, stream string, width int, lock *sync.Mutex) *logLines {
	if s.json {
		return &logLines{print: func(line []byte, part bool) error {
			lock.Lock()
			defer lock.Unlock()
			return s.printLine(logLine{Allocation: from.id, Stream: stream, Line: string(bytes.ToValidUTF8(line, []byte("\uFFFD"))), Part: part})
		}}
	}
	var out io.Writer = s.Stdout
	if stream == "stderr" {
		out = s.Stderr
	}
	out, end := s.tamed(out)
	prefix := from.name + strings.Repeat(" ", width-len(from.name)) + " | "
	return &logLines{print: func(line []byte, _ bool) error {
		lock.Lock()
		defer lock.Unlock()
		_, err := fmt.Fprintf(out, "%s%s\n", prefix, line)
		return errors.Join(err, end())
	}}
}

// Write implements io.Writer.
func (l *logLines) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		room := maxLogLine - len(l.held)
		switch {
		case end >= 0 && end <= room:
			l.held = append(l.held, p[:end]...)
			p = p[end+1:]
			if err := l.put(false); err != nil {
				return 0, err
			}
		case len(p) <= room:
			l.held = append(l.held, p...)
			p = nil
		default:
			l.held = append(l.held, p[:room]...)
			p = p[room:]
			if err := l.put(true); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// flush writes a last line that has no end.
func (l *logLines) flush() error {
	if len(l.held) == 0 {
		return nil
	}
	return l.put(false)
}

func (l *logLines) put(part bool) error {
	err := l.print(l.held, part)
	l.held = l.held[:0]
	return err
}
