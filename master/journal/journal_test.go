package journal

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// list is a machine that remembers its entries in order.
type list struct {
	mu      sync.Mutex
	entries []string
	refuse  string
	newer   string
}

func (l *list) Apply(e []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.newer != "" && string(e) == l.newer:
		return fmt.Errorf("what is %q: %w", e, ErrNewer)
	case l.refuse != "" && string(e) == l.refuse:
		return errors.New("refused")
	}
	l.entries = append(l.entries, string(e))
	return nil
}

func (l *list) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries)
}

type listSnapshot []string

func (s listSnapshot) WriteTo(w io.Writer) (int64, error) {
	var n int64
	for _, e := range s {
		b := binary.AppendUvarint(nil, uint64(len(e)))
		m, err := w.Write(append(b, e...))
		n += int64(m)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (l *list) Snapshot() (io.WriterTo, error) { return listSnapshot(l.all()), nil }

func (l *list) Restore(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	var entries []string
	for len(b) > 0 {
		n, w := binary.Uvarint(b)
		if w <= 0 || int(n) > len(b)-w {
			return errors.New("snapshot cut short")
		}
		entries = append(entries, string(b[w:w+int(n)]))
		b = b[w+int(n):]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = entries
	return nil
}

// open opens a journal for a test and closes it at its end.
func open(t testing.TB, c Config) *Journal {
	t.Helper()
	j, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return j
}

// lead makes j lead until the test ends, and returns once it does.
func lead(t testing.TB, j *Journal) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	started := make(chan struct{})
	done := make(chan error, 1)
	var once sync.Once
	go func() {
		done <- j.Lead(ctx, func(ctx context.Context) error {
			once.Do(func() { close(started) })
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-started:
	case err := <-done:
		done <- err
		t.Fatalf("lead: %v", err)
	case <-time.After(10 * time.Second):
		t.Fatal("no leadership within 10 s")
	}
}

func within(t testing.TB, d time.Duration, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(d); ; time.Sleep(time.Millisecond) {
		if f() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}

func TestAppendReopen(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for round := range 4 {
		m := &list{}
		j, err := Open(Config{Dir: dir, ID: "a", Machine: m})
		if err != nil {
			t.Fatal(err)
		}
		lead(t, j)
		if got := m.all(); !slices.Equal(got, want) {
			t.Fatalf("round %d: leader starts with %d entries, want %d", round, len(got), len(want))
		}
		for i := range 20 {
			a, b := fmt.Sprintf("%d.%d", round, i), strings.Repeat("x", i*100)
			if err := j.Append(context.Background(), []byte(a), []byte(b)); err != nil {
				t.Fatal(err)
			}
			want = append(want, a, b)
		}
		if got := m.all(); !slices.Equal(got, want) {
			t.Fatalf("round %d: machine has %q", round, got)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSnapshotsReplaceTheLog(t *testing.T) {
	dir := t.TempDir()
	m := &list{}
	c := Config{Dir: dir, ID: "a", Machine: m, SnapshotEntries: 50, SegmentBytes: 16 << 10}
	j := open(t, c)
	lead(t, j)
	var want []string
	for i := range 600 {
		e := fmt.Sprintf("%d:%s", i, strings.Repeat("y", 500))
		if err := j.Append(context.Background(), []byte(e)); err != nil {
			t.Fatal(err)
		}
		want = append(want, e)
	}
	within(t, 10*time.Second, "old segments and snapshots are removed", func() bool {
		snaps, _ := os.ReadDir(filepath.Join(dir, "snapshots"))
		segs, _ := filepath.Glob(filepath.Join(dir, "log", "*.wal"))
		return len(snaps) == keptSnapshots && len(segs) < 20
	})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	m2 := &list{}
	c.Machine = m2
	j2, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	if len(m2.all()) == 0 {
		t.Fatal("nothing restored from a snapshot")
	}
	lead(t, j2)
	if !slices.Equal(m2.all(), want) {
		t.Fatalf("%d entries after reopening, want %d", len(m2.all()), len(want))
	}
	if err := j2.Close(); err != nil {
		t.Fatal(err)
	}
	t.Run("newest damaged", func(t *testing.T) { damagedSnapshot(t, c, want) })
}

// damagedSnapshot flips a bit of the newest snapshot: the one before it and the log take over. With both gone, Open refuses.
func damagedSnapshot(t *testing.T, c Config, want []string) {
	c.SnapshotEntries = 1 << 30 // no new one while this looks at the old
	files, err := filepath.Glob(filepath.Join(c.Dir, "snapshots", "*", "state.bin"))
	if err != nil || len(files) != 2 {
		t.Fatalf("%v, %v", files, err)
	}
	slices.SortFunc(files, func(a, b string) int {
		ai, _ := os.Stat(a)
		bi, _ := os.Stat(b)
		return ai.ModTime().Compare(bi.ModTime())
	})
	for i, left := range []bool{true, false} {
		f := files[1-i]
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
		m := &list{}
		c.Machine = m
		j, err := Open(c)
		if !left {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("opened without any whole snapshot: %v, %v", j, err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		lead(t, j)
		if !slices.Equal(m.all(), want) {
			t.Fatalf("%d entries, want %d", len(m.all()), len(want))
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRefusals(t *testing.T) {
	dir := t.TempDir()
	m := &list{refuse: "no", newer: "future"}
	c := Config{Dir: dir, ID: "a", Machine: m}
	j := open(t, c)
	lead(t, j)
	ctx := context.Background()

	err := j.Append(ctx, []byte("yes"), []byte("no"), []byte("yes"))
	if FateOf(err) != Written || len(m.all()) != 2 {
		t.Errorf("machine's refusal: %v, %q", err, m.all())
	}
	err = j.Append(ctx, make([]byte, MaxAppend))
	if !errors.Is(err, ErrTooLarge) || FateOf(err) != NotWritten {
		t.Errorf("too large: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := j.Append(ended, []byte("late")); !errors.Is(err, context.Canceled) || FateOf(err) != NotWritten {
		t.Errorf("context ended before: %v", err)
	}
	if _, err := Open(c); !errors.Is(err, ErrLocked) {
		t.Errorf("second open: %v", err)
	}
	if err := j.Lead(ctx, nil); err == nil || errors.Is(err, ErrClosed) {
		t.Errorf("second lead: %v", err)
	}
	if err := j.Append(ctx, []byte("future")); !errors.Is(err, ErrNewer) {
		t.Errorf("entry of a newer version: %v", err)
	}
	if err := j.Append(ctx, []byte("yes")); !errors.Is(err, ErrNewer) || FateOf(err) != NotWritten {
		t.Errorf("append after a newer entry: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := j.Append(ctx, []byte("yes")); !errors.Is(err, ErrClosed) || FateOf(err) != NotWritten {
		t.Errorf("append after close: %v", err)
	}
	c.ID = "b"
	if _, err := Open(c); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("other member's directory: %v", err)
	}
	c.ID = "a"
	if err := os.WriteFile(filepath.Join(dir, "format"), []byte(`{"format":2,"member":"a"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(c); !errors.Is(err, ErrNewer) {
		t.Errorf("newer layout: %v", err)
	}
}

func TestLeadEndsWhenMachineHalts(t *testing.T) {
	j := open(t, Config{Dir: t.TempDir(), ID: "a", Machine: &list{newer: "future"}})
	err := j.Lead(t.Context(), func(ctx context.Context) error {
		if err := j.Append(ctx, []byte("future")); !errors.Is(err, ErrNewer) {
			t.Errorf("append: %v", err)
		}
		<-ctx.Done()
		return nil
	})
	if !errors.Is(err, ErrNewer) {
		t.Fatalf("lead ended with %v", err)
	}
}

func TestLeadReturns(t *testing.T) {
	j := open(t, Config{Dir: t.TempDir(), ID: "a", Machine: &list{}})
	mine := errors.New("mine")
	if err := j.Lead(t.Context(), func(context.Context) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("error of the function: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err := j.Lead(ctx, func(ctx context.Context) error { cancel(); <-ctx.Done(); return ctx.Err() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("end of the context: %v", err)
	}
	done := make(chan error, 1)
	in := make(chan struct{})
	go func() {
		done <- j.Lead(t.Context(), func(ctx context.Context) error { close(in); <-ctx.Done(); return nil })
	}()
	<-in
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("close while leading: %v", err)
	}
}

func TestEnvelope(t *testing.T) {
	in := [][]byte{{}, []byte("a"), bytes.Repeat([]byte("b"), 1000)}
	record, err := seal(in)
	if err != nil {
		t.Fatal(err)
	}
	collect := func(record []byte) (out [][]byte, err error) {
		err = unseal(record, func(e []byte) error { out = append(out, e); return nil })
		return out, err
	}
	if out, err := collect(record); err != nil || !slices.EqualFunc(in, out, bytes.Equal) {
		t.Fatalf("%q, %v", out, err)
	}
	for n := range record[:len(record)-1] {
		if out, err := collect(record[:n]); err == nil && len(out) == len(in) {
			t.Errorf("cut to %d bytes: not noticed", n)
		}
	}
	record[0]++
	if _, err := collect(record); !errors.Is(err, ErrNewer) {
		t.Errorf("newer envelope: %v", err)
	}
}

func TestVoteSurvivesTornWrite(t *testing.T) {
	dir := t.TempDir()
	v, err := openVote(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := uint64(1); i <= 3; i++ {
		if err := v.SetUint64([]byte("term"), i); err != nil {
			t.Fatal(err)
		}
	}
	v.close()
	path := filepath.Join(dir, "vote")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	newest := int(v.counter%2) * voteSlot
	for n, want := range []uint64{2, 0} {
		b[newest+voteHeader+2] ^= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		v, err := openVote(dir)
		if want == 0 {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("both copies torn: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := v.GetUint64([]byte("term")); err != nil || got != want {
			t.Fatalf("torn %d: term %d, %v", n+1, got, err)
		}
		v.close()
		newest = voteSlot - newest
	}
}

func BenchmarkAppend(b *testing.B) {
	entry := make([]byte, 512)
	for _, writers := range []int{1, 128} {
		b.Run(fmt.Sprintf("512B/writers=%d", writers), func(b *testing.B) {
			j := open(b, Config{Dir: b.TempDir(), ID: "a", Machine: sinkhole{}})
			lead(b, j)
			b.SetParallelism(max(1, writers/2))
			b.ResetTimer()
			if writers == 1 {
				for b.Loop() {
					if err := j.Append(b.Context(), entry); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := j.Append(context.Background(), entry); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// BenchmarkOpen is the time from Open to the first line of Lead's function, for a member alone.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		j, err := Open(Config{Dir: dir, ID: "a", Machine: sinkhole{}})
		if err != nil {
			b.Fatal(err)
		}
		err = j.Lead(b.Context(), func(context.Context) error { return nil })
		if err := errors.Join(err, j.Close()); err != nil {
			b.Fatal(err)
		}
	}
}

// sinkhole is a machine without a state.
type sinkhole struct{}

func (sinkhole) Apply([]byte) error             { return nil }
func (sinkhole) Snapshot() (io.WriterTo, error) { return listSnapshot(nil), nil }
func (sinkhole) Restore(io.Reader) error        { return nil }
