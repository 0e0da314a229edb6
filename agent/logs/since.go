package logs

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"sort"
	"time"

	"github.com/stowage/stowage/agent/executor"
)

// seekTime moves files, newest first, on to where what was printed since a moment begins, and returns how many are needed.
func (r *reader) seekTime(files []*os.File, since time.Time) (int, error) {
	for i, f := range files {
		offset, err := r.offsetAt(f, since)
		if err != nil {
			return 0, err
		}
		if offset == 0 {
			continue
		}
		at, err := f.Seek(0, io.SeekCurrent)
		if err == nil {
			_, err = f.Seek(max(at, offset), io.SeekStart)
		}
		return i + 1, err
	}
	return len(files), nil
}

// offsetAt returns where in a file what was printed since a moment begins, at the beginning of a line.
func (r *reader) offsetAt(f *os.File, since time.Time) (int64, error) {
	info, err := f.Stat() // before the marks are read: what is printed meanwhile is new
	if err != nil {
		return 0, err
	}
	if info.ModTime().Before(since) {
		return info.Size(), nil
	}
	marks := r.marks(f)
	late := sort.Search(len(marks), func(i int) bool { return marks[i].at.After(since) }) // the first mark after the moment
	if late == 0 {                                                                        // there are none, or all is newer
		return 0, nil
	}
	offset := marks[late-1].offset
	if late < len(marks) && !since.Before(marks[late-1].at.Add(executor.MarkEvery)) {
		offset = marks[late].offset
	}
	return lineStart(f, min(offset, info.Size()))
}

// mark is a time and where in the file what was printed then begins.
type mark struct {
	at     time.Time
	offset int64
}

// maxMarks bounds what is read of the marks of one file, in bytes: those of a day and more.
const maxMarks = 4 << 20

// marks reads those of an open file, whose name may have moved on. One whose marks cannot be found has none.
func (r *reader) marks(f *os.File) []mark {
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	for range maxAttempts {
		number := -1
		list, err := r.list()
		if err != nil {
			return nil
		}
		for _, n := range list {
			if n.id == identify(info) {
				number = n.number
			}
		}
		if number < 0 {
			return nil
		}
		data := readHead(r.name(number)+".times", maxMarks)
		if now, err := os.Lstat(r.name(number)); err == nil && identify(now) == identify(info) {
			return parseMarks(data)
		}
	}
	return nil
}

func readHead(path string, most int64) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	data, _ := io.ReadAll(io.LimitReader(f, most)) // what is there of it is good
	return data
}

// parseMarks reads marks up to the first that cannot be one: after a crash the end may be anything, and a clock that was set back makes what
// follows useless to search in.
func parseMarks(data []byte) []mark {
	var all []mark
	for ; len(data) >= executor.MarkSize; data = data[executor.MarkSize:] {
		m := mark{time.Unix(0, int64(binary.BigEndian.Uint64(data))), int64(binary.BigEndian.Uint64(data[8:]))}
		if last := len(all) - 1; m.offset < 0 || last >= 0 && (m.offset < all[last].offset || m.at.Before(all[last].at)) {
			break
		}
		all = append(all, m)
	}
	return all
}

// lineStart returns where the line that an offset lies in begins; a line of more than a buffer's length is cut.
func lineStart(f *os.File, offset int64) (int64, error) {
	from := max(0, offset-bufferSize)
	part := make([]byte, offset-from)
	if _, err := f.ReadAt(part, from); err != nil {
		return 0, err
	}
	if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
		return from + int64(i) + 1, nil
	}
	if from == 0 {
		return 0, nil
	}
	return offset, nil
}
