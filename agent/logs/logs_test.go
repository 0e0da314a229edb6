package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// writer writes files as the executor does: rotated by renaming when full.
type writer struct {
	t          testing.TB
	base       string
	max, files int
	file       *os.File
	size       int
}

func newWriter(t testing.TB, dir, name string, max, files int) *writer {
	w := &writer{t: t, base: filepath.Join(dir, name), max: max, files: files}
	t.Cleanup(func() {
		if w.file != nil {
			w.file.Close()
		}
	})
	return w
}

func (w *writer) name(i int) string { return fmt.Sprintf("%s.%d", w.base, i) }

func (w *writer) print(text string) {
	w.t.Helper()
	if w.file != nil && w.size+len(text) > w.max {
		w.file.Close()
		w.file = nil
		if w.files == 1 {
			os.Remove(w.name(0))
		}
		for i := w.files - 1; i > 0; i-- {
			if err := os.Rename(w.name(i-1), w.name(i)); err != nil && !os.IsNotExist(err) {
				w.t.Error(err)
			}
		}
	}
	if w.file == nil {
		f, err := os.OpenFile(w.name(0), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			w.t.Error(err)
			return
		}
		w.file, w.size = f, 0
	}
	n, err := w.file.WriteString(text)
	if err != nil {
		w.t.Error(err)
	}
	w.size += n
}

// sink collects what is emitted.
type sink struct {
	mu   sync.Mutex
	text map[Stream]*bytes.Buffer
	all  []Stream
}

func newSink() *sink {
	return &sink{text: map[Stream]*bytes.Buffer{Stdout: {}, Stderr: {}}}
}

func (s *sink) emit(stream Stream, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text[stream].Write(data)
	s.all = append(s.all, stream)
	return nil
}

func (s *sink) get(stream Stream) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text[stream].String()
}

// until polls for a condition; what it waits for is sure to come, or the test has failed.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited too long for %s", what)
		}
	}
}

func openLog(t testing.TB, dir string, streams ...Stream) *Log {
	t.Helper()
	l, err := Open(dir, "web", streams...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func tail(t *testing.T, dir string, n int) string {
	t.Helper()
	s := newSink()
	if err := openLog(t, dir, Stdout).Tail(t.Context(), n, s.emit); err != nil {
		t.Fatal(err)
	}
	return s.get(Stdout)
}

func TestTail(t *testing.T) {
	for name, c := range map[string]struct {
		files []string // newest first
		want  map[int]string
	}{
		"one file":             {[]string{"a\nb\nc\n"}, map[int]string{0: "", 1: "c\n", 2: "b\nc\n", 3: "a\nb\nc\n", 9: "a\nb\nc\n", All: "a\nb\nc\n"}},
		"no end of line":       {[]string{"a\nb"}, map[int]string{0: "", 1: "b", 2: "a\nb", 3: "a\nb"}},
		"several files":        {[]string{"e\n", "c\nd\n", "a\nb\n"}, map[int]string{1: "e\n", 2: "d\ne\n", 3: "c\nd\ne\n", 4: "b\nc\nd\ne\n", All: "a\nb\nc\nd\ne\n"}},
		"a line over files":    {[]string{"st\nlast\n", "rest ", "first\nthe "}, map[int]string{1: "last\n", 2: "the rest st\nlast\n", 3: "first\nthe rest st\nlast\n"}},
		"the newest is empty":  {[]string{"", "a\nb\n"}, map[int]string{1: "b\n", 2: "a\nb\n"}},
		"empty lines":          {[]string{"\n\n\n"}, map[int]string{1: "\n", 2: "\n\n", 4: "\n\n\n"}},
		"nothing printed":      {nil, map[int]string{0: "", 5: "", All: ""}},
		"lines beyond a block": {[]string{strings.Repeat("x", 3*bufferSize) + "\n" + strings.Repeat("y", 2*bufferSize) + "\n"}, map[int]string{1: strings.Repeat("y", 2*bufferSize) + "\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for i, text := range c.files {
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("web.stdout.", i)), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, other := range []string{"web.stdout.x", "web.stdout.01", "web.stdout", "web2.stdout.0"} {
				if err := os.WriteFile(filepath.Join(dir, other), []byte("not this\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for n, want := range c.want {
				if got := tail(t, dir, n); got != want {
					t.Errorf("last %d: %.60q, want %.60q", n, got, want)
				}
			}
		})
	}
}

func TestTailOfBothEndsWithTheLatest(t *testing.T) {
	dir := t.TempDir()
	newWriter(t, dir, "web.stdout", 100, 2).print("out\n")
	newWriter(t, dir, "web.stderr", 100, 2).print("err\n")
	if err := os.Chtimes(filepath.Join(dir, "web.stderr.0"), time.Time{}, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	s := newSink()
	if err := openLog(t, dir).Tail(t.Context(), 5, s.emit); err != nil {
		t.Fatal(err)
	}
	if want := []Stream{Stderr, Stdout}; !reflect.DeepEqual(s.all, want) {
		t.Errorf("order %v, want %v", s.all, want)
	}
}

// TestFollowAcrossRotations writes much faster than files last, but never so much that the reader could miss a file: the writer
// waits for it.
func TestFollowAcrossRotations(t *testing.T) {
	const lines = 4_000
	for _, files := range []int{2, 5} {
		t.Run(fmt.Sprint(files, " files"), func(t *testing.T) {
			dir := t.TempDir()
			w := newWriter(t, dir, "web.stdout", 4000, files)
			s := newSink()
			ended, done := make(chan struct{}), make(chan error, 1)
			go func() { done <- openLog(t, dir).Follow(t.Context(), All, ended, s.emit) }()
			var want strings.Builder
			for i := range lines {
				line := fmt.Sprintf("line %d\n", i)
				want.WriteString(line)
				w.print(line)
				if ahead := 3000 * (files - 1); i%50 == 0 {
					until(t, "the reader", func() bool { return want.Len()-len(s.get(Stdout)) < ahead })
				}
			}
			close(ended)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if got := s.get(Stdout); got != want.String() {
				t.Errorf("read %d bytes, want %d: something is lost or doubled", len(got), want.Len())
			}
		})
	}
}

// TestFollowSlowReader lets the writer run away: whole stretches may be missing, but what comes is in order and not doubled.
func TestFollowSlowReader(t *testing.T) {
	dir := t.TempDir()
	w := newWriter(t, dir, "web.stdout", 2000, 3)
	s := newSink()
	ended, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- openLog(t, dir).Follow(t.Context(), All, ended, s.emit) }()
	for i := range 50_000 {
		w.print(fmt.Sprintf("%08d\n", i))
	}
	close(ended)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	last := ""
	for line := range strings.Lines(s.get(Stdout)) {
		if len(line) != 9 || line <= last {
			t.Fatalf("%q after %q", line, last)
		}
		last = line
	}
	if last != "00049999\n" {
		t.Errorf("the last line is %q", last)
	}
}

func TestFollowTailsFirstAndMergesLines(t *testing.T) {
	dir := t.TempDir()
	out, errs := newWriter(t, dir, "web.stdout", 1000, 1), newWriter(t, dir, "web.stderr", 1000, 1)
	out.print("old 1\nold 2\n")
	s := newSink()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- openLog(t, dir).Follow(ctx, 1, nil, s.emit) }()
	until(t, "the tail", func() bool { return s.get(Stdout) == "old 2\n" })
	errs.print("oops\n") // its file did not exist before
	until(t, "stderr", func() bool { return s.get(Stderr) == "oops\n" })
	out.print("name? ") // a prompt
	until(t, "a line without end", func() bool { return s.get(Stdout) == "old 2\nname? " })
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestFollowWithOneFile(t *testing.T) {
	dir := t.TempDir()
	w := newWriter(t, dir, "web.stdout", 20, 1)
	s := newSink()
	ended, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- openLog(t, dir, Stdout).Follow(t.Context(), All, ended, s.emit) }()
	want := ""
	for i := range 20 {
		line := fmt.Sprintf("line %d........\n", i)
		want += line
		w.print(line)
		until(t, "a line", func() bool { return s.get(Stdout) == want })
	}
	close(ended)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestALongLineDoesNotFillMemory(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "web.stdout.0")
	const size = 256 << 20
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil { // one line, without its end, and without blocks on the disk
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	total := 0
	err := openLog(t, dir, Stdout).Tail(t.Context(), 10, func(_ Stream, data []byte) error {
		if len(data) > bufferSize {
			return fmt.Errorf("%d bytes at once", len(data))
		}
		total += len(data)
		return nil
	})
	if err != nil || total != size {
		t.Errorf("read %d bytes, %v", total, err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 4<<20 {
		t.Errorf("reading it allocated %d bytes", used)
	}
}

func TestTailOfARunningTaskEnds(t *testing.T) {
	dir := t.TempDir()
	w := newWriter(t, dir, "web.stdout", 1<<20, 2)
	w.print("x\n")
	n := 0
	err := openLog(t, dir, Stdout).Tail(t.Context(), All, func(_ Stream, data []byte) error {
		n += len(data)
		w.print(strings.Repeat("y", len(data)) + "\n") // the task prints on while its log is read
		return nil
	})
	if err != nil || n != 2 {
		t.Errorf("read %d bytes, %v; want the 2 that there were", n, err)
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	for _, task := range []string{"", "../x", "a/b", "a\x00"} {
		if _, err := Open(dir, task); err == nil {
			t.Errorf("the task %q was accepted", task)
		}
	}
	if _, err := Open(dir, "a", "stdin"); err == nil {
		t.Error("stdin was accepted")
	}
	if _, err := Open(filepath.Join(dir, "no"), "a"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there gives %v", err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "web.stdout.0")); err != nil {
		t.Fatal(err)
	}
	if err := openLog(t, dir).Tail(t.Context(), All, newSink().emit); err == nil {
		t.Error("a symbolic link was followed")
	}
	if err := os.Remove(filepath.Join(dir, "web.stdout.0")); err != nil {
		t.Fatal(err)
	}
	newWriter(t, dir, "web.stdout", 10, 1).print("x\n")
	stop := errors.New("stop")
	if err := openLog(t, dir).Tail(t.Context(), All, func(Stream, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of the receiver becomes %v", err)
	}
}

// BenchmarkTail reads 64 MiB of short lines.
func BenchmarkTail(b *testing.B) {
	dir := b.TempDir()
	text := strings.Repeat("a line of an ordinary length, as servers print them\n", 64<<20/52)
	if err := os.WriteFile(filepath.Join(dir, "web.stdout.0"), []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(text)))
	l := openLog(b, dir, Stdout)
	for b.Loop() {
		if err := l.Tail(b.Context(), All, func(Stream, []byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}
