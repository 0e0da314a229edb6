// Package logs reads the output of tasks, which the executor keeps in files: DIR/TASK.stdout.0 is being written, .1 is the one
// before, and so on; each file is renamed to the next number when the newest is full, and the oldest goes.
//
// A stream is read as the concatenation of its files, oldest first. Files are known by their inode, not by their name, so reading
// goes on across rotations without loss or repetition, as long as the files still exist; a reader that is slower than
// its task by more than the files hold misses what was removed, and goes on with the oldest there is.
//
// Memory is bounded by one buffer for each stream, however long the lines are.
package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Stream is an output of a task.
type Stream string

// The streams.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// pollInterval is how often a follower looks for new output, when there was none the last time. It is how late a line may be
// seen, and costs two system calls for each stream.
const pollInterval = 100 * time.Millisecond

// bufferSize is the most that is given on at once, and the longest line that arrives in one piece, in bytes.
const bufferSize = 64 << 10

// Emit takes a piece of output: whole lines where a line fits into 64 KiB, or a piece of a longer line, or the beginning of one that has
// not gone on for a while. Data is valid during the call. An error ends the reading and is returned by it.
type Emit func(stream Stream, data []byte) error

// Log is the output of one task.
type Log struct {
	dir, task string
	streams   []Stream
	since     time.Time
}

// All stands for all lines there are.
const All = -1

// Open returns the log of a task in dir; without streams, of both. It is an error if dir does not exist; a task that has not
// printed anything yet has an empty log.
func Open(dir, task string, streams ...Stream) (*Log, error) {
	if task == "" || strings.ContainsAny(task, "/\x00") {
		return nil, fmt.Errorf("open log: %q is no name of a task", task)
	}
	if len(streams) == 0 {
		streams = []Stream{Stdout, Stderr}
	}
	for _, s := range streams {
		if s != Stdout && s != Stderr {
			return nil, fmt.Errorf("open log: there is no stream %q", s)
		}
	}
	if info, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("open log: %s is not a folder", dir)
	}
	return &Log{dir: dir, task: task, streams: streams}, nil
}

// Since leaves out what was printed before a moment, which is found to the second and never too late. Of output without marks (see package
// executor) whole files are left out.
func (l *Log) Since(moment time.Time) { l.since = moment }

// Tail emits the last lines of each stream, or All. Nothing tells in which order lines of different streams were printed: the stream
// that was written to last comes last.
func (l *Log) Tail(ctx context.Context, lines int, emit Emit) error {
	readers, err := l.open(lines)
	if err != nil {
		return err
	}
	defer closeAll(readers)
	for _, r := range readers {
		if err := r.limit(); err != nil {
			return fmt.Errorf("read log of %s: %w", l.task, err)
		}
	}
	for _, r := range readers {
		for more := true; more; {
			if more, err = r.drain(ctx, emit); err != nil {
				return err
			}
		}
		if err := r.give(r.kept, emit); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) open(lines int) (readers []*reader, err error) {
	for _, s := range l.streams {
		r, err := open(l.dir, l.task, s, lines, l.since)
		if err != nil {
			closeAll(readers)
			return nil, fmt.Errorf("read log of %s: %w", l.task, err)
		}
		readers = append(readers, r)
	}
	slices.SortStableFunc(readers, func(a, b *reader) int { return a.written.Compare(b.written) })
	return readers, nil
}

func closeAll(readers []*reader) {
	for _, r := range readers {
		r.close()
	}
}

// Follow emits the last lines of each stream, or All, and then what is printed, as it arrives. It returns ctx's error when ctx
// ends, and nil when ended is closed (the task is gone) and everything has been emitted.
func (l *Log) Follow(ctx context.Context, lines int, ended <-chan struct{}, emit Emit) error {
	readers, err := l.open(lines)
	if err != nil {
		return err
	}
	defer closeAll(readers)
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	over := false // seen that the task is gone, before the current round
	for {
		more := false
		for _, r := range readers {
			again, err := r.drain(ctx, emit)
			if err != nil {
				return err
			}
			more = more || again
			if over && !again {
				if err := r.give(r.kept, emit); err != nil {
					return err
				}
			}
		}
		if more {
			continue
		}
		if over {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			over = true // once more: what was printed meanwhile
		case <-tick.C:
		}
	}
}

// drainBuffers is how many buffers of one stream are read before the other gets its turn.
const drainBuffers = 16

// drain emits what there is, and reports whether there may be more at once. A line without end is kept back until the next
// time brings nothing new.
func (r *reader) drain(ctx context.Context, emit Emit) (more bool, err error) {
	for i := range drainBuffers {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n, err := r.read(r.buffer[r.kept:])
		if err != nil {
			return false, fmt.Errorf("read log %s: %w", r.base, err)
		}
		if n == 0 {
			if i > 0 {
				return false, nil
			}
			return false, r.give(r.kept, emit)
		}
		r.kept += n
		whole := bytes.LastIndexByte(r.buffer[:r.kept], '\n') + 1
		if whole == 0 && r.kept == len(r.buffer) {
			whole = r.kept
		}
		if err := r.give(whole, emit); err != nil {
			return false, err
		}
	}
	return true, nil
}

// give emits the first n bytes of the buffer.
func (r *reader) give(n int, emit Emit) error {
	if n == 0 {
		return nil
	}
	if err := emit(r.stream, r.buffer[:n]); err != nil {
		return err
	}
	r.kept = copy(r.buffer, r.buffer[n:r.kept])
	return nil
}

// errMoving is returned when files were renamed while they were being listed, too often to wait for.
var errMoving = errors.New("the files keep changing their names")
