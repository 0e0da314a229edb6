package executor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// store keeps specs and records below a state directory.
type store struct{ dir string }

// Lock is the right to use a state directory. It ends with the process.
type Lock struct {
	dir  string
	file *os.File
}

// LockState makes a state directory and locks it. It fails if another executor has it.
func LockState(dir string) (*Lock, error) {
	if err := os.MkdirAll(filepath.Join(dir, "containers"), 0o711); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		file.Close()
		return nil, fmt.Errorf("lock state directory %s: another executor is running on it; stop that one first, or use another --state-dir: %w", dir, err)
	}
	return &Lock{dir, file}, nil
}

// Close gives the state directory up.
func (l *Lock) Close() error { return l.file.Close() }

func (s store) path(id, name string) string { return filepath.Join(s.dir, "containers", id, name) }

// create makes the directory of a container with its spec and FIFOs; owner is the user of the task, who may reopen its output.
func (s store) create(spec *Spec) error {
	dir := s.path(spec.ID, "")
	if err := os.Mkdir(dir, 0o711); err != nil {
		return fmt.Errorf("make container directory: %w", err)
	}
	if err := s.write(spec.ID, "spec.json", spec); err != nil {
		return err
	}
	for _, stream := range []string{"stdout", "stderr"} {
		if err := unix.Mkfifo(s.path(spec.ID, stream), 0o600); err != nil {
			return fmt.Errorf("make output fifo: %w", err)
		}
	}
	return nil
}

func (s store) save(c *Container) error { return s.write(c.ID, "record.json", c) }

// write replaces a file whole: a reader, or a disk that is full, never leaves half of one.
func (s store) write(id, name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	tmp := s.path(id, name+".new")
	if err := os.WriteFile(tmp, data, 0o600); err != nil {
		os.Remove(tmp)
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Rename(tmp, s.path(id, name)); err != nil {
		os.Remove(tmp)
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func (s store) spec(id string) (*Spec, error) {
	var spec Spec
	if err := s.read(id, "spec.json", &spec); err != nil {
		return nil, err
	}
	return &spec, nil
}

func (s store) record(id string) (*Container, error) {
	var c Container
	if err := s.read(id, "record.json", &c); err != nil {
		return nil, err
	}
	if c.ID != id {
		return nil, fmt.Errorf("read record of %s: it names %q", id, c.ID)
	}
	return &c, nil
}

func (s store) read(id, name string, v any) error {
	data, err := os.ReadFile(s.path(id, name))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %s of %s: %w", name, id, err)
	}
	return nil
}

// ids lists the containers on disk, whole or not, in order.
func (s store) ids() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "containers"))
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if e.IsDir() && CheckID(e.Name()) == nil {
			ids = append(ids, e.Name())
		}
	}
	return ids, nil
}

// removeTries bounds how often a folder is emptied again into which a record was just being written.
const removeTries = 5

func (s store) remove(id string) error {
	var err error
	for range removeTries {
		if err = os.RemoveAll(s.path(id, "")); !errors.Is(err, unix.ENOTEMPTY) {
			break
		}
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove container directory: %w", err)
	}
	return nil
}
