package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/stowage/stowage/cmd/stowage/view"
	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/client"
	"github.com/stowage/stowage/spec"
)

// errSettled ends the watch when nothing is left to do.
var errSettled = errors.New("settled")

// steps prints a line for each step of an allocation.
type steps struct {
	*shell
	page  *view.Page
	began time.Time
	seen  map[spec.AllocationID]string
	after spec.Generation // what is not newer was there before: it is told once it changes
}

func (s *shell) newSteps(after spec.Generation) *steps {
	return &steps{shell: s, page: s.page(), began: time.Now(), seen: map[spec.AllocationID]string{}, after: after}
}

// tell prints what an allocation is by now, unless it was so before.
func (t *steps) tell(a *spec.AllocationView) error {
	word := stepWord(a)
	was, known := t.seen[a.ID]
	if was == word {
		return nil
	}
	t.seen[a.ID] = word
	switch {
	case !known && a.Generation <= t.after:
		return nil
	case t.json:
		return t.printLine(a)
	}
	t.page.Line("  %6d ms  %-16s on %-6s %s", time.Since(t.began).Milliseconds(), a.Slot, a.Node, word)
	return nil
}

// follow prints a line for each step of an allocation until everything is as the followed revision asks, and anything runs.
func (s *shell) follow(ctx context.Context, c *client.Client) error {
	t := s.newSteps(0)
	err := c.Watch(ctx, client.WatchFilter{}, func(change api.Change) error {
		for i := range change.Allocations {
			if err := t.tell(&change.Allocations[i]); err != nil {
				return err
			}
		}
		if change.Settled && len(t.seen) > 0 {
			return errSettled
		}
		return nil
	})
	if errors.Is(err, errSettled) {
		return nil
	}
	return err
}

func stepWord(a *spec.AllocationView) string {
	word := string(a.State)
	if a.State == spec.StateRunning && a.Healthy {
		word = "healthy"
	}
	if a.State == spec.StateFailed && a.Reason != "" {
		word += ": " + a.Reason
	}
	return word
}

// freeAddress returns the address if nobody listens there, and one with another port otherwise.
func freeAddress(address string) (string, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		host, _, splitErr := net.SplitHostPort(address)
		if splitErr != nil {
			return "", fmt.Errorf("listen on %s: %w: write it as 127.0.0.1:7470", address, splitErr)
		}
		if l, err = net.Listen("tcp", net.JoinHostPort(host, "0")); err != nil {
			return "", fmt.Errorf("listen on %s: %w", host, err)
		}
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// onlyNew is a file system without the files that a folder has already.
type onlyNew struct {
	fs.FS
	there string
}

// ReadDir leaves out regular files that are there.
func (o onlyNew) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(o.FS, name)
	kept := entries[:0]
	for _, e := range entries {
		if _, err := os.Stat(filepath.Join(o.there, filepath.FromSlash(name), e.Name())); err != nil || e.IsDir() {
			kept = append(kept, e)
		}
	}
	return kept, err
}
