package executor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func readAll(t *testing.T, dir, base string) (whole []byte, sizes []int) {
	t.Helper()
	for i := 20; i >= 0; i-- {
		data, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("%s.%d", base, i)))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		whole = append(whole, data...)
		sizes = append(sizes, len(data))
	}
	return whole, sizes
}

// Whatever the pieces it comes in, the end of the output is in the files, and never more than allowed.
func TestLogKeepsTheEnd(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 0))
		dir := t.TempDir()
		var dropped atomic.Int64
		max, files := int64(20+random.IntN(200)), 1+random.IntN(4)
		w := newLogWriter(Log{Dir: dir, Task: "t", MaxBytes: max, MaxFiles: files}, "stdout", &dropped)
		var all bytes.Buffer
		for range random.IntN(200) {
			piece := strings.Repeat("x", random.IntN(30))
			if random.IntN(3) > 0 {
				piece += "\n"
			}
			all.WriteString(piece)
			if n, err := w.Write([]byte(piece)); n != len(piece) || err != nil {
				t.Fatalf("write: %d, %v", n, err)
			}
		}
		got, sizes := readAll(t, dir, "t.stdout")
		if !bytes.HasSuffix(all.Bytes(), got) {
			t.Fatalf("seed %d: the log is not the end of the output", seed)
		}
		if len(sizes) > files || dropped.Load() != 0 {
			t.Fatalf("seed %d: %d files of %d, %d dropped", seed, len(sizes), files, dropped.Load())
		}
		for _, size := range sizes {
			if int64(size) > max {
				t.Fatalf("seed %d: a file of %d bytes, allowed %d", seed, size, max)
			}
		}
	}
}

// A file ends with a line however the output comes in pieces, as long as lines are short beside it.
func TestLogFilesEndWithALine(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		dir := t.TempDir()
		var dropped atomic.Int64
		w := newLogWriter(Log{Dir: dir, Task: "t", MaxBytes: 100_000, MaxFiles: 5}, "stdout", &dropped)
		var all []byte
		for len(all) < 700_000 {
			all = append(all, strings.Repeat("x", random.IntN(300))+"\n"...)
		}
		for rest := all; len(rest) > 0; {
			n := min(len(rest), 1+random.IntN(5000))
			_, _ = w.Write(rest[:n])
			rest = rest[n:]
		}
		got, sizes := readAll(t, dir, "t.stdout")
		if !bytes.HasSuffix(all, got) || len(sizes) != 5 || dropped.Load() != 0 {
			t.Fatalf("seed %d: files of %d, %d dropped; or the log is not the end of the output", seed, sizes, dropped.Load())
		}
		for i := range 5 {
			data, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("t.stdout.%d", i)))
			if err != nil || len(data) > 100_000 || !bytes.HasSuffix(data, []byte("\n")) {
				t.Fatalf("seed %d: file %d has %d bytes and ends with %q, %v", seed, i, len(data), data[max(0, len(data)-9):], err)
			}
		}
	}
}

// What waits in a FIFO gets into the files whole, cut at ends of lines, and as a rule without passing through this process.
func TestLogTakesFromFIFO(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reader, task, err := openFIFO(path)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	var dropped atomic.Int64
	w := newLogWriter(Log{Dir: dir, Task: "t", MaxBytes: 100_000, MaxFiles: 20}, "stdout", &dropped).(*logWriter)
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := w.take(fd); err != errByHand {
		t.Fatalf("nothing was printed: %v", err)
	}
	if _, err := os.Stat(w.name(0)); !os.IsNotExist(err) {
		t.Errorf("a file for nothing: %v", err)
	}
	if _, err := task.WriteString("first\n"); err != nil {
		t.Fatal(err)
	}
	n, err := w.take(fd)
	if n != 6 || err != nil {
		t.Fatalf("took %d bytes, %v", n, err)
	}
	ended := make(chan struct{})
	go func() { pump(reader, w); close(ended) }()
	var all bytes.Buffer
	all.WriteString("first\n")
	for i := range 60_000 {
		line := fmt.Sprintf("%d %s\n", i, "some words"[:i%11])
		all.WriteString(line)
		if _, err := task.WriteString(line); err != nil {
			t.Fatal(err)
		}
	}
	task.Close()
	<-ended
	w.Close()
	got, sizes := readAll(t, dir, "t.stdout")
	if !bytes.Equal(got, all.Bytes()) || dropped.Load() != 0 {
		t.Errorf("%d bytes of %d are in the files %v, %d dropped", len(got), all.Len(), sizes, dropped.Load())
	}
	for i := range sizes {
		data, err := os.ReadFile(w.name(i))
		if err != nil || len(data) > 100_000 || data[len(data)-1] != '\n' {
			t.Errorf("file %d: %d bytes, %v; want whole lines", i, len(data), err)
		}
	}
}

func TestLogContinuesAfterRestart(t *testing.T) {
	dir := t.TempDir()
	var dropped atomic.Int64
	for i := range 3 {
		w := newLogWriter(Log{Dir: dir, Task: "t", MaxBytes: 8, MaxFiles: 9}, "stdout", &dropped)
		fmt.Fprintf(w, "%d\n", i)
		if err := w.(*logWriter).Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got, sizes := readAll(t, dir, "t.stdout"); string(got) != "0\n1\n2\n" || len(sizes) != 1 {
		t.Errorf("%q in %v", got, sizes)
	}
}

func TestLogCountsWhatItCannotWrite(t *testing.T) {
	var dropped atomic.Int64
	w := newLogWriter(Log{Dir: filepath.Join(t.TempDir(), "missing"), Task: "t"}, "stdout", &dropped)
	if n, err := w.Write([]byte("12345")); n != 5 || err != nil || dropped.Load() != 5 {
		t.Errorf("%d, %v, dropped %d", n, err, dropped.Load())
	}
}

func TestParseStat(t *testing.T) {
	line := "42 (a) b (c)) Z 1 42 42 0 -1 4228364 158 0 0 0 0 0 0 0 20 0 1 0 123456 0 0 18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 1792"
	got, err := parseStat([]byte(line))
	if err != nil || got.state != 'Z' || got.start != 123456 || !got.exitKnown || got.exit != 1792 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "1 (x", "1 (x) S 1", "1 (x) S 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 x 1"} {
		if got, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func TestExitInWords(t *testing.T) {
	for want, exit := range map[string]Exit{
		"killed for memory at 64 MiB": {Code: 137, Signal: 9, OOM: true, MemoryLimit: 64 << 20},
		"killed for memory":           {Code: 137, OOM: true},
		"killed by signal 15":         {Code: 143, Signal: 15},
		"exited with code 2":          {Code: 2},
	} {
		if got := exit.String(); got != want {
			t.Errorf("%+v: %q, want %q", exit, got, want)
		}
	}
}

// Marks say where a moment is, go with their file, and are few however much is printed.
func TestLogIsMarked(t *testing.T) {
	dir := t.TempDir()
	var dropped atomic.Int64
	w := newLogWriter(Log{Dir: dir, Task: "t", MaxBytes: 100, MaxFiles: 2}, "stdout", &dropped).(*logWriter)
	now := time.Unix(1000, 0)
	w.now = func() time.Time { return now }
	marks := func(i int) (all [][2]int64) {
		data, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("t.stdout.%d.times", i)))
		if err != nil {
			return nil
		}
		for ; len(data) >= MarkSize; data = data[MarkSize:] {
			all = append(all, [2]int64{int64(binary.BigEndian.Uint64(data)) / 1e9, int64(binary.BigEndian.Uint64(data[8:]))})
		}
		return all
	}
	line := []byte("0123456789012345678\n")
	for range 3 { // at 1000, 1000.5 and 1001
		_, _ = w.Write(line)
		now = now.Add(500 * time.Millisecond)
	}
	if got := marks(0); !reflect.DeepEqual(got, [][2]int64{{1000, 0}, {1001, 40}}) {
		t.Errorf("marks %v", got)
	}
	for range 3 {
		_, _ = w.Write(line)
	}
	if first, second := marks(1), marks(0); !reflect.DeepEqual(first, [][2]int64{{1000, 0}, {1001, 40}}) || !reflect.DeepEqual(second, [][2]int64{{1001, 0}}) {
		t.Errorf("after a rotation %v and %v", first, second)
	}
	for range 10 {
		_, _ = w.Write(line)
	}
	if first, second := marks(1), marks(0); len(first) != 1 || len(second) != 1 {
		t.Errorf("after two more %v and %v", first, second)
	}
	w.Close()
}
