package executor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// readSize is how much is taken out of a FIFO at once: all that fits into one, as the kernel makes it.
	readSize = 64 << 10
	// busySize is what a FIFO is widened to, in bytes, once it was found full busyReads times: the most that the kernel allows
	// anyone. A task that writes much then waits for the executor's turn less often; a silent one costs the kernel no more than before.
	busySize  = 1 << 20
	busyReads = 4
	// lineRoom is what a file of more than a few times that keeps free for the rest of a line that is under way when it gets full.
	lineRoom = 4 << 10
)

// buffers are shared by all streams: a silent container holds none.
var buffers = sync.Pool{New: func() any { b := make([]byte, readSize); return &b }}

// taker takes what waits in a FIFO without that it passes through this process.
type taker interface {
	// take returns how much that was, 0 at the end. With errByHand it has to be read and written.
	take(fd int) (int, error)
}

// pump copies a non-blocking stream to w until its end. While nothing comes it holds no buffer and no thread.
func pump(r *os.File, w io.Writer) {
	raw, err := r.SyscallConn()
	if err != nil {
		return
	}
	takes, _ := w.(taker)
	for full := 0; ; {
		buf := (*[]byte)(nil)
		n, taken := 0, false
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			if takes != nil {
				n, failed = takes.take(int(fd))
				switch taken = failed != errByHand; {
				case taken && failed == unix.EAGAIN:
					return false
				case taken:
					return true
				}
			}
			if buf == nil {
				buf = buffers.Get().(*[]byte)
			}
			n, failed = unix.Read(int(fd), *buf)
			switch failed {
			case unix.EAGAIN:
				buffers.Put(buf)
				buf = nil
				return false
			case unix.EINTR:
				n, failed = 0, nil
				return true
			}
			return true
		})
		more := err == nil && failed == nil && n > 0
		if more {
			if !taken {
				_, _ = w.Write((*buf)[:n])
			}
			if n >= readSize {
				if full++; full == busyReads {
					widen(raw)
				}
			}
		}
		if buf != nil {
			buffers.Put(buf)
		}
		if !more {
			return
		}
	}
}

// widen lets a FIFO hold more. Where that is refused, it stays as it is.
func widen(raw syscall.RawConn) {
	_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, busySize) })
}

// openFIFO opens both ends of a FIFO: the reader, and the end for the task, which is open for reading and writing so that the
// task never loses its reader.
func openFIFO(path string) (reader, task *os.File, err error) {
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("open output %s: %w", path, err)
	}
	task = os.NewFile(uintptr(fd), path)
	if reader, err = openReader(path); err != nil {
		task.Close()
		return nil, nil, err
	}
	return reader, task, nil
}

// openReader opens the reading end only; it comes to its end when the last process of the task is gone.
func openReader(path string) (*os.File, error) {
	reader, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open output: %w", err)
	}
	return reader, nil
}

// logWriter writes one stream of a task into files of bounded number and size. It never fails towards the task: what cannot be
// written is dropped and counted.
type logWriter struct {
	base  string // path without the number
	max   int64
	files int

	file    *os.File
	size    int64
	marked  time.Time // when the last mark was made in this file
	byHand  bool      // the file system does not let a FIFO's content be taken
	now     func() time.Time
	dropped *atomic.Int64
}

func newLogWriter(l Log, stream string, dropped *atomic.Int64) io.Writer {
	if l.Dir == "" {
		return io.Discard
	}
	w := &logWriter{base: filepath.Join(l.Dir, l.Task+"."+stream), max: l.MaxBytes, files: l.MaxFiles, now: time.Now, dropped: dropped}
	if w.max == 0 {
		w.max = DefaultLogBytes
	}
	if w.files == 0 {
		w.files = DefaultLogFiles
	}
	return w
}

func (w *logWriter) name(i int) string { return w.base + "." + strconv.Itoa(i) }

// Write stores p and always returns len(p), nil.
func (w *logWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		if err := w.open(); err != nil {
			w.dropped.Add(int64(len(p)))
			break
		}
		part := w.fits(p)
		if part == 0 {
			if err := w.rotate(); err != nil {
				w.dropped.Add(int64(len(p)))
				break
			}
			continue
		}
		w.mark()
		n, err := w.file.Write(p[:part])
		w.size += int64(n)
		if err != nil {
			w.dropped.Add(int64(len(p) - n))
			break
		}
		p = p[part:]
	}
	return total, nil
}

// errByHand says that output has to be read and written: where a file begins or ends, or the disk is full.
var errByHand = errors.New("read it")

// take moves what waits in a FIFO into the current file. At each moment it is in the one or in the other, so that nothing is lost when the executor is
// killed in between; and it is copied once instead of twice.
func (w *logWriter) take(fd int) (int, error) {
	if w.byHand {
		return 0, errByHand
	}
	room := w.full() - w.size
	if w.file == nil || room < busySize {
		waiting, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
		if err != nil || waiting == 0 || w.open() != nil {
			return 0, errByHand
		}
		if room = w.full() - w.size; int64(waiting) > room { // where to cut depends on what it is
			return 0, errByHand
		}
	}
	out, err := w.file.SyscallConn()
	if err != nil {
		return 0, errByHand
	}
	var n int64
	var failed error
	if err := out.Control(func(file uintptr) {
		for n, failed = 0, unix.EINTR; failed == unix.EINTR; {
			n, failed = unix.Splice(fd, nil, int(file), nil, int(min(room, busySize)), unix.SPLICE_F_NONBLOCK)
		}
	}); err != nil {
		return 0, errByHand
	}
	switch failed {
	case nil:
	case unix.EAGAIN:
		return 0, failed
	case unix.EINVAL:
		w.byHand = true
		return 0, errByHand
	default:
		return 0, errByHand
	}
	if n > 0 {
		w.mark()
		w.size += n
	}
	return int(n), nil
}

// full is the size from which on a file takes only the rest of a line.
func (w *logWriter) full() int64 {
	if w.max <= 16*lineRoom {
		return w.max
	}
	return w.max - lineRoom
}

// fits says how much of p goes into the current file: all, or up to the last line end within reach, or, for a line longer than
// a whole file, what there is room for. 0 means that the file is full.
func (w *logWriter) fits(p []byte) int {
	room := max(0, w.full()-w.size)
	if int64(len(p)) <= room {
		return len(p)
	}
	if end := bytes.LastIndexByte(p[:room], '\n'); end >= 0 {
		return end + 1
	}
	if w.size == 0 {
		return int(room)
	}
	if rest := p[:min(int64(len(p)), w.max-w.size)]; w.withinLine() {
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			return end + 1
		}
		if len(rest) == len(p) {
			return len(p)
		}
	}
	return 0
}

// withinLine reports whether what the current file has ends within a line.
func (w *logWriter) withinLine() bool {
	var last [1]byte
	_, err := w.file.ReadAt(last[:], w.size-1)
	return err == nil && last[0] != '\n'
}

func (w *logWriter) open() error {
	if w.file != nil {
		return nil
	}
	f, err := os.OpenFile(w.name(0), os.O_RDWR|os.O_CREATE, 0o640) // nothing is spliced into a file that is open to append
	if err != nil {
		return err
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		f.Close()
		return err
	}
	w.file, w.size = f, size
	return nil
}

// rotate makes .0 the file .1 and so on; the oldest goes.
func (w *logWriter) rotate() error {
	w.file.Close()
	w.file, w.marked = nil, time.Time{}
	if w.files == 1 {
		_ = os.Remove(w.name(0) + ".times")
		return os.Remove(w.name(0))
	}
	for i := w.files - 1; i > 0; i-- {
		if err := os.Rename(w.name(i-1), w.name(i)); err != nil && !os.IsNotExist(err) {
			return err
		}
		if os.Rename(w.name(i-1)+".times", w.name(i)+".times") != nil {
			_ = os.Remove(w.name(i) + ".times") // those of the file that went
		}
	}
	return nil
}

// Close closes the current file.
func (w *logWriter) Close() error {
	if w.file == nil {
		return nil
	}
	err := w.file.Close()
	w.file = nil
	return err
}
