package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
)

// memory keeps what the core must not forget: DIR/header.json and DIR/allocations/ID.json. Files are replaced by rename, so
// that a reader finds the old or the new one whole. They are not flushed to the disk one by one: a machine that loses
// power loses its tasks too, and is told again what to run; what it then finds cut short is set aside.
type memory struct{ dir string }

func (m memory) header() string { return filepath.Join(m.dir, "header.json") }

func (m memory) record(id spec.AllocationID) string {
	return filepath.Join(m.dir, "allocations", string(id)+".json")
}

// load reads all that is remembered. A record that cannot be read is set aside under another name and reported: its
// containers then run on as ones that nobody knows.
func (m memory) load(log *slog.Logger) (node.Memory, error) {
	var all node.Memory
	if err := os.MkdirAll(filepath.Join(m.dir, "allocations"), 0o700); err != nil {
		return all, fmt.Errorf("make memory: %w", err)
	}
	if err := readJSON(m.header(), &all.Header); err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Error("the remembered generation cannot be read and is set aside; the master tells it again", "file", m.header(), "error", err)
		all.Header = node.Header{}
		_ = os.Rename(m.header(), m.header()+".unreadable")
	}
	if v := all.Header.FormatVersion; v > node.MemoryVersion {
		return all, fmt.Errorf("read memory in %s: it has format version %d, this agent knows up to %d: run the newer agent again", m.dir, v, node.MemoryVersion)
	}
	entries, err := os.ReadDir(filepath.Join(m.dir, "allocations"))
	if err != nil {
		return all, fmt.Errorf("read memory: %w", err)
	}
	for _, e := range entries {
		path := filepath.Join(m.dir, "allocations", e.Name())
		if strings.HasSuffix(e.Name(), ".tmp") {
			_ = os.Remove(path) // a write that a crash cut short
			continue
		}
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		var r node.Record
		if err := readJSON(path, &r); err != nil || r.App == nil {
			log.Error("a remembered allocation cannot be read and is set aside", "file", path, "error", err)
			_ = os.Rename(path, path+".unreadable")
			continue
		}
		all.Records = append(all.Records, r)
	}
	return all, nil
}

// save carries out a Save effect.
func (m memory) save(s node.Save) error {
	for i := range s.Put {
		if err := writeJSON(m.record(s.Put[i].Decided.ID), &s.Put[i], false); err != nil {
			return fmt.Errorf("remember %s: %w", s.Put[i].Decided.ID, err)
		}
	}
	for _, id := range s.Drop {
		if err := os.Remove(m.record(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget %s: %w", id, err)
		}
	}
	if s.Header != nil {
		if err := writeJSON(m.header(), s.Header, false); err != nil {
			return fmt.Errorf("remember generation: %w", err)
		}
	}
	return nil
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// writeJSON replaces a file by rename. A durable one also survives the loss of power.
func writeJSON(path string, v any, durable bool) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	temporary := path + ".tmp"
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil && durable {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	if !durable {
		return nil
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// bootID names this start of the machine; "" where the kernel does not tell.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id))
}
