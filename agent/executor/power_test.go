package executor

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// losePower stops the server, ends the container's process, and makes the boot one of before, as a machine does that goes down and comes up.
func (w *world) losePower(c Container) {
	w.t.Helper()
	file := filepath.Join(w.dir, "state/containers", c.ID, "record.json")
	running, err := os.ReadFile(file)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := unix.Kill(c.Pid, unix.SIGKILL); err != nil {
		w.t.Fatal(err)
	}
	w.wait(c.ID)
	w.await("its end is on disk, so that nobody writes there any more", func() bool {
		data, _ := os.ReadFile(file)
		return bytes.Contains(data, []byte(StateExited))
	})
	w.stop()
	// Power went before anybody saw it end.
	if err := os.WriteFile(file, bytes.ReplaceAll(running, []byte(c.Boot), []byte("the-boot-before")), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func TestExitOfARestartedMachine(t *testing.T) {
	w := newWorld(t)
	c, err := w.client.Start(t.Context(), w.spec("a", "exec sleep 1000"))
	if err != nil {
		t.Fatal(err)
	}
	w.losePower(c)
	w.serve()
	c = w.wait("a")
	if !c.Exit.Unknown || !c.Exit.Rebooted || c.Exit.Success() || c.Exit.String() != "ended when the node restarted" {
		t.Errorf("%+v: %v", c.Exit, c.Exit)
	}
	// It is told just so by the executor after that one.
	w.stop()
	w.serve()
	if c := w.wait("a"); !c.Exit.Rebooted {
		t.Errorf("the next executor tells %+v", c.Exit)
	}
}

// Files are not flushed one by one: a machine that loses power may find any of them short, or gone. Whatever is left, the
// executor comes up, tells the exit or knows nothing of the container, and the name can be used again.
func TestTornState(t *testing.T) {
	for _, file := range []string{"containers/a/spec.json", "containers/a/record.json", "containers/a/stdout", "containers/a/stderr", coresFile, "containers/a/record.json.new"} {
		for _, part := range []int{-1, 0, 1, 2} { // -1: gone; otherwise halves
			if fifo := strings.HasPrefix(filepath.Base(file), "std"); fifo && part >= 0 {
				continue // it is there or is not
			}
			w := newWorld(t)
			c, err := w.client.Start(t.Context(), w.spec("a", "exec sleep 1000"))
			if err != nil {
				t.Fatal(err)
			}
			w.losePower(c)
			name := filepath.Join(w.dir, "state", file)
			if file == coresFile {
				if err := os.WriteFile(name, []byte("[1,2]"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			data := []byte(`{"id":"a","state":"running"`)
			if info, err := os.Lstat(name); err == nil && info.Mode().IsRegular() {
				if data, err = os.ReadFile(name); err != nil {
					t.Fatal(err)
				}
			}
			if part < 0 {
				err = os.Remove(name)
			} else {
				err = os.WriteFile(name, data[:len(data)*part/2], 0o600)
			}
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			w.serve()
			now, err := w.client.Get(t.Context(), "a")
			switch {
			case errors.Is(err, ErrNotFound):
				if _, err := os.Stat(filepath.Join(w.dir, "state/containers/a")); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s, part %d: forgotten, but not removed: %v", file, part, err)
				}
			case err != nil:
				t.Errorf("%s, part %d: %v", file, part, err)
			case now.State != StateExited || !now.Exit.Rebooted:
				t.Errorf("%s, part %d: %s, %v", file, part, now.State, now.Exit)
			default:
				if err := w.client.Delete(t.Context(), "a"); err != nil {
					t.Errorf("%s, part %d: %v", file, part, err)
				}
			}
			if _, err := w.client.Start(t.Context(), w.spec("a", "exit 4")); err != nil {
				t.Errorf("%s, part %d: the name cannot be used again: %v", file, part, err)
			} else if c := w.wait("a"); c.Exit.Code != 4 {
				t.Errorf("%s, part %d: %v", file, part, c.Exit)
			}
		}
	}
}
