package agent

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

const (
	// defaultLogLimit is the most that logs take of a disk without a setting, in bytes.
	defaultLogLimit = 10 * spec.GiB
	// logsEvery is how often the logs are looked at, if what tasks may print is more than the limit; else never.
	logsEvery = 30 * time.Second
)

// logLimit is the most that the logs of this node take of its disk.
func (a *agent) logLimit() spec.Bytes {
	if a.cfg.LogLimit > 0 {
		return a.cfg.LogLimit
	}
	var disk unix.Statfs_t
	if unix.Statfs(a.cfg.DataDir, &disk) != nil {
		return defaultLogLimit
	}
	return min(defaultLogLimit, spec.Bytes(disk.Blocks)*spec.Bytes(disk.Bsize)/10)
}

// watchLogs keeps the logs of all allocations within their limit.
func (a *agent) watchLogs(ctx context.Context) error {
	limit := a.logLimit()
	over := false
	for pause(ctx, logsEvery) {
		records := a.catalogue.all()
		if mostLogs(records) <= limit {
			over = false
			continue
		}
		freed, left := a.folders.trimLogs(records, limit)
		over = tellTrimmed(a.log, limit, freed, left, over)
	}
	return nil
}

// tellTrimmed says what was removed, and once, not each time, that what is left is still too much. over is whether it was so the last time; it returns
// whether it is so now.
func tellTrimmed(log *slog.Logger, limit, freed, left spec.Bytes, over bool) bool {
	switch {
	case freed > 0:
		log.Info("logs took more than their limit; the oldest are gone", "limit", limit.String(), "freed", freed.String(), "left", left.String())
	case left > limit && !over:
		log.Warn("logs take more than their limit, and what is left is being written to: give tasks a smaller max_size of logs", "limit", limit.String(), "left", left.String())
	}
	return left > limit
}

// mostLogs is what the logs of allocations may grow to, by the limits of their tasks.
func mostLogs(records []node.Record) (sum spec.Bytes) {
	for i := range records {
		for _, t := range records[i].App.Tasks {
			sum += 2 * t.Logs.MaxSize * spec.Bytes(t.Logs.MaxFiles)
		}
	}
	return sum
}

// logFile is a file of a log, with its marks.
type logFile struct {
	path    string
	size    spec.Bytes
	written time.Time
	newest  bool // it is being written to
	info    os.FileInfo
}

// logsOf lists the files of an allocation's logs.
func (f folders) logsOf(id spec.AllocationID) (files []logFile) {
	entries, err := os.ReadDir(f.logs(id))
	if err != nil {
		return nil
	}
	for _, e := range entries {
		number := filepath.Ext(e.Name())
		if _, err := strconv.Atoi(strings.TrimPrefix(number, ".")); err != nil {
			continue
		}
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // gone since
		}
		one := logFile{path: filepath.Join(f.logs(id), e.Name()), size: spec.Bytes(info.Size()), written: info.ModTime(), newest: number == ".0", info: info}
		if marks, err := os.Lstat(one.path + ".times"); err == nil {
			one.size += spec.Bytes(marks.Size())
		}
		files = append(files, one)
	}
	return files
}

// trimLogs removes logs until all of them take no more than the limit: first those of ended allocations, whole, of the one that printed last
// the longest time ago first; then rotated files of the others, the oldest first. What is being written to stays: it is bounded by its task's settings.
func (f folders) trimLogs(records []node.Record, limit spec.Bytes) (freed, left spec.Bytes) {
	type group struct {
		files   []logFile
		written time.Time
	}
	var ended, rotated []group
	for i := range records {
		var g group
		over := records[i].Status.State.Terminal()
		for _, one := range f.logsOf(records[i].Decided.ID) {
			left += one.size
			if one.written.After(g.written) {
				g.written = one.written
			}
			g.files = append(g.files, one)
			if !over && !one.newest {
				rotated = append(rotated, group{[]logFile{one}, one.written})
			}
		}
		if over && len(g.files) > 0 {
			ended = append(ended, g)
		}
	}
	older := func(a, b group) int { return a.written.Compare(b.written) }
	slices.SortFunc(ended, older)
	slices.SortFunc(rotated, older)
	for _, g := range append(ended, rotated...) {
		if left <= limit {
			break
		}
		for _, one := range g.files {
			if one.remove() == nil {
				freed, left = freed+one.size, left-one.size
			}
		}
	}
	return freed, left
}

// errRotated says that another file has the name by now.
var errRotated = errors.New("the log was rotated meanwhile")

// remove removes a log file and its marks, if the name still stands for the file that was listed: the executor gives it to a newer one when it rotates.
// One that is gone is no error.
func (l *logFile) remove() error {
	now, err := os.Lstat(l.path)
	if err == nil && !os.SameFile(now, l.info) {
		return errRotated
	}
	_ = os.Remove(l.path + ".times")
	if err := os.Remove(l.path); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}
