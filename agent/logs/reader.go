package logs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// reader reads one stream of a task across its files.
type reader struct {
	stream  Stream
	dir     string
	base    string // name of the files without dot and number
	written time.Time

	file  *os.File   // where reading stands; nil before the first file exists
	later []*os.File // found at the beginning, to be read next, oldest first

	buffer []byte
	kept   int // bytes of the buffer that wait for the end of their line

	limited bool  // read no more than left bytes
	left    int64 // of what there was when the limit was set
}

// identity tells files apart whatever their names are. It holds as long as the file is open or has a name.
type identity struct{ device, inode uint64 }

func identify(info fs.FileInfo) identity {
	s := info.Sys().(*syscall.Stat_t)
	return identity{device: s.Dev, inode: s.Ino}
}

// numbered is a file as found in the folder.
type numbered struct {
	number int
	id     identity
}

// open opens a stream where its last lines begin.
func open(dir, task string, stream Stream, lines int, since time.Time) (*reader, error) {
	r := &reader{stream: stream, dir: dir, base: task + "." + string(stream), buffer: make([]byte, bufferSize)}
	if err := r.begin(lines, since); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func (r *reader) close() {
	if r.file != nil {
		r.file.Close()
	}
	for _, f := range r.later {
		f.Close()
	}
	r.file, r.later = nil, nil
}

func (r *reader) name(number int) string {
	return filepath.Join(r.dir, r.base+"."+strconv.Itoa(number))
}

// openNumber opens the file that has a number now.
func (r *reader) openNumber(number int) (*os.File, identity, error) {
	f, err := os.OpenFile(r.name(number), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, identity{}, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", f.Name())
	}
	if err != nil {
		f.Close()
		return nil, identity{}, err
	}
	return f, identify(info), nil
}

// list returns the files of the stream that there are, newest first.
func (r *reader) list() ([]numbered, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return nil, err
	}
	var found []numbered
	for _, e := range entries {
		rest, ok := strings.CutPrefix(e.Name(), r.base+".")
		number, err := strconv.Atoi(rest)
		if !ok || err != nil || number < 0 || strconv.Itoa(number) != rest {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // gone since, or renamed
		}
		found = append(found, numbered{number: number, id: identify(info)})
	}
	slices.SortFunc(found, func(a, b numbered) int { return a.number - b.number })
	return found, nil
}

// Limits of dealing with files that change their names all the time.
const (
	// maxAttempts is how often a listing is repeated when a rotation falls into it.
	maxAttempts = 50
	// maxFiles is how many files back a stream is read from its beginning.
	maxFiles = 256
)

// begin opens files from the newest back until they hold enough lines; all files if lines is negative. What was printed
// before since is left out.
func (r *reader) begin(lines int, since time.Time) error {
	files, err := r.openAll()
	if err != nil || len(files) == 0 {
		return err
	}
	if info, err := files[0].Stat(); err == nil {
		r.written = info.ModTime()
	}
	keep := len(files)
	if lines >= 0 {
		if keep, err = seekLines(files, lines); err != nil {
			keep = 0
		}
	}
	if err == nil && !since.IsZero() {
		if keep, err = r.seekTime(files[:keep], since); err != nil {
			keep = 0
		}
	}
	for _, f := range files[keep:] {
		f.Close()
	}
	if files = files[:keep]; keep > 0 {
		slices.Reverse(files)
		r.file, r.later = files[0], files[1:]
	}
	return err
}

// seekLines sets the files, newest first, to where their last lines begin, and returns how many are needed.
func seekLines(files []*os.File, lines int) (int, error) {
	newest := true
	for i, f := range files {
		offset, size, missing, err := lastLines(f, lines, newest)
		if err != nil {
			return 0, err
		}
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			return 0, err
		}
		if lines = missing; lines == 0 {
			return i + 1, nil
		}
		newest = newest && size == 0
	}
	return len(files), nil
}

// openAll opens the files that there are, newest first. Only a listing that is the same twice tells the order; each file must then be the
// one that was listed, as names move on.
func (r *reader) openAll() ([]*os.File, error) {
	for range maxAttempts {
		once, err := r.list()
		if err != nil {
			return nil, err
		}
		twice, err := r.list()
		if err != nil {
			return nil, err
		}
		if !slices.Equal(once, twice) {
			continue
		}
		files, err := r.openListed(once[:min(len(once), maxFiles)])
		if errors.Is(err, errMoving) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return files, err
	}
	return nil, errMoving
}

func (r *reader) openListed(list []numbered) (files []*os.File, err error) {
	for _, n := range list {
		f, id, err := r.openNumber(n.number)
		if err == nil {
			files = append(files, f)
			if id != n.id {
				err = errMoving
			}
		}
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, err
		}
	}
	return files, nil
}

// limit makes the stream end where it ends now.
func (r *reader) limit() error {
	r.limited, r.left = true, 0
	for _, f := range append([]*os.File{r.file}, r.later...) {
		if f == nil {
			continue
		}
		info, err := f.Stat()
		if err != nil {
			return err
		}
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		r.left += info.Size() - at
	}
	return nil
}

// lastLines returns where the last n lines of a file begin, its size, and how many lines it lacks. A line begins after each line end, but
// for the very last of the stream (newest).
func lastLines(f *os.File, n int, newest bool) (offset, size int64, missing int, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, 0, 0, err
	}
	end := info.Size()
	if n == 0 {
		return end, end, 0, nil
	}
	block := make([]byte, bufferSize)
	for to := end; to > 0; {
		from := max(0, to-int64(len(block)))
		part := block[:to-from]
		if _, err := f.ReadAt(part, from); err != nil {
			return 0, 0, 0, err
		}
		for {
			i := bytes.LastIndexByte(part, '\n')
			if i < 0 {
				break
			}
			part = part[:i]
			at := from + int64(i) + 1
			if at == end && newest {
				continue
			}
			if n--; n == 0 {
				return at, end, 0, nil
			}
		}
		to = from
	}
	return 0, end, n, nil
}

// read returns the next bytes of the stream, or 0 if there are none now.
func (r *reader) read(p []byte) (int, error) {
	if !r.limited {
		return r.readOn(p)
	}
	p = p[:min(int64(len(p)), r.left)]
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.readOn(p)
	r.left -= int64(n)
	return n, err
}

func (r *reader) readOn(p []byte) (int, error) {
	for {
		if r.file == nil {
			if ok, err := r.next(); !ok {
				return 0, err
			}
		}
		n, err := r.readFile(p)
		if n > 0 || err != nil {
			return n, err
		}
		if len(r.later) == 0 {
			if rotated, err := r.rotated(); err != nil || !rotated {
				return 0, err
			}
			// Nothing is added to a file that is not the newest any more, but something may have been before that.
			if n, err := r.readFile(p); n > 0 || err != nil {
				return n, err
			}
		}
		if ok, err := r.next(); !ok {
			return 0, err
		}
	}
}

// readFile reads from the current file; its end is no error.
func (r *reader) readFile(p []byte) (int, error) {
	n, err := r.file.Read(p)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// rotated reports whether there is a newer file than the one being read.
func (r *reader) rotated() (bool, error) {
	newest, err := os.Lstat(r.name(0))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // being rotated just now
	}
	if err != nil {
		return false, err
	}
	own, err := r.file.Stat()
	if err != nil {
		return false, err
	}
	return identify(newest) != identify(own), nil
}

// next goes on to the file after the one being read, and reports false if it cannot be told yet which that is.
func (r *reader) next() (bool, error) {
	if len(r.later) > 0 {
		r.file.Close()
		r.file, r.later = r.later[0], r.later[1:]
		return true, nil
	}
	for range maxAttempts {
		f, err := r.successor()
		if errors.Is(err, errMoving) || errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || f == nil {
			return false, err
		}
		if r.file != nil {
			r.file.Close()
		}
		r.file = f
		return true, nil
	}
	return false, nil
}

// successor opens the file after the one being read; the oldest if that is gone, or was never there. The folder is listed before
// and after: only when nothing changed in between do the numbers tell the order.
func (r *reader) successor() (*os.File, error) {
	before, err := r.list()
	if err != nil || len(before) == 0 {
		return nil, err
	}
	candidate := len(before) - 1
	if r.file != nil {
		info, err := r.file.Stat()
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(before, func(n numbered) bool { return n.id == identify(info) }); i >= 0 {
			candidate = i - 1
		}
	}
	if candidate < 0 {
		return nil, nil
	}
	f, id, err := r.openNumber(before[candidate].number)
	if err != nil {
		return nil, err
	}
	after, err := r.list()
	if err == nil && (id != before[candidate].id || !slices.Equal(before, after)) {
		err = errMoving
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
