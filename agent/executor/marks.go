package executor

import (
	"encoding/binary"
	"os"
	"time"
)

// Marks say when what a log file holds was printed: beside FILE lies FILE.times, a sequence of 16 bytes each, a time in nanoseconds
// since 1970 and an offset in the file (big-endian). What stands behind an offset was printed at that time, or less than MarkEvery after it.

// MarkSize is the size of a mark, in bytes.
const MarkSize = 16

// MarkEvery is the least time between two marks, and so how exactly a moment is found in a log.
const MarkEvery = time.Second

// mark notes that what comes next is printed now. Without room for it, a moment in this file is found less exactly.
func (w *logWriter) mark() {
	now := w.now()
	if since := now.Sub(w.marked); since >= 0 && since < MarkEvery {
		return
	}
	w.marked = now
	f, err := os.OpenFile(w.name(0)+".times", os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return
	}
	var b [MarkSize]byte
	binary.BigEndian.PutUint64(b[:], uint64(now.UnixNano()))
	binary.BigEndian.PutUint64(b[8:], uint64(w.size))
	_, _ = f.Write(b[:])
	f.Close()
}
