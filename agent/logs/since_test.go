package logs

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stowage/stowage/agent/executor"
)

// began is when the output of these tests begins.
var began = time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC)

// printAt prints as the executor does, at a moment.
func (w *writer) printAt(at time.Time, last *time.Time, text string) {
	w.t.Helper()
	if w.file != nil && w.size+len(text) > w.max { // as print is about to do
		for i := w.files - 1; i > 0; i-- {
			_ = os.Rename(w.name(i-1)+".times", w.name(i)+".times")
		}
		*last = time.Time{}
	}
	at0 := w.size
	if last.IsZero() {
		at0 = 0
	}
	if at.Sub(*last) >= executor.MarkEvery {
		f, err := os.OpenFile(w.name(0)+".times", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			w.t.Fatal(err)
		}
		var b [executor.MarkSize]byte
		binary.BigEndian.PutUint64(b[:], uint64(at.UnixNano()))
		binary.BigEndian.PutUint64(b[8:], uint64(at0))
		if _, err := f.Write(b[:]); err != nil {
			w.t.Fatal(err)
		}
		f.Close()
		*last = at
	}
	w.print(text)
	if err := os.Chtimes(w.name(0), at, at); err != nil {
		w.t.Fatal(err)
	}
}

// Whatever is printed when, across rotations: what is asked for since a moment is all that was printed from then on, and of what was printed
// before nothing but what came in the second before.
func TestSinceIsExactToTheSecond(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 0))
		dir := t.TempDir()
		w := newWriter(t, dir, "t.stdout", 100+random.IntN(2000), 50)
		type line struct {
			at   time.Time
			text string
		}
		var lines []line
		var last time.Time
		now := began
		for i := range 100 {
			now = now.Add(time.Duration(random.Int64N(int64(3*time.Second))) / time.Duration(1+random.IntN(20)))
			l := line{now, fmt.Sprintf("%d %s\n", i, strings.Repeat("x", random.IntN(40)))}
			lines = append(lines, l)
			w.printAt(l.at, &last, l.text)
		}
		l, err := Open(dir, "t", Stdout)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			since := began.Add(time.Duration(random.Int64N(int64(now.Sub(began)) + int64(time.Second))))
			l.Since(since)
			s := newSink()
			if err := l.Tail(t.Context(), All, s.emit); err != nil {
				t.Fatal(err)
			}
			got := s.text[Stdout].String()
			var must, may string
			for _, one := range lines {
				if one.at.After(since.Add(-executor.MarkEvery)) {
					may += one.text
				}
				if !one.at.Before(since) {
					must += one.text
				}
			}
			if !strings.HasSuffix(got, must) || !strings.HasSuffix(may, got) {
				t.Fatalf("seed %d, since %s: got\n%s\nmust\n%s\nmay\n%s", seed, since.Sub(began), got, must, may)
			}
		}
	}
}

// Output without marks, or with marks that are damaged, is shown rather than left out.
func TestSinceWithoutMarks(t *testing.T) {
	dir := t.TempDir()
	w := newWriter(t, dir, "t.stdout", 1000, 3)
	w.print("one\ntwo\n")
	now := time.Now()
	for name, marks := range map[string][]byte{"none": nil, "damaged": bytes.Repeat([]byte{0xff}, 40), "half": make([]byte, 7)} {
		if err := os.WriteFile(w.name(0)+".times", marks, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			since time.Time
			want  string
		}{{now.Add(-time.Hour), "one\ntwo\n"}, {now.Add(time.Hour), ""}} {
			l, err := Open(dir, "t", Stdout)
			if err != nil {
				t.Fatal(err)
			}
			l.Since(c.since)
			s := newSink()
			if err := l.Tail(context.Background(), All, s.emit); err != nil || s.text[Stdout].String() != c.want {
				t.Errorf("%s: since %v: %q, %v", name, c.since.Sub(now), s.text[Stdout], err)
			}
		}
	}
}

// BenchmarkRead reads a log of many lines across its files; B/s is of output.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	w := newWriter(b, dir, "t.stdout", 10<<20, 3)
	text := strings.Repeat(strings.Repeat("x", 99)+"\n", 100)
	for range 2500 {
		w.print(text)
	}
	l, err := Open(dir, "t", Stdout)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(2500 * len(text)))
	for b.Loop() {
		lines := 0
		if err := l.Tail(b.Context(), All, func(_ Stream, p []byte) error { lines += bytes.Count(p, []byte{'\n'}); return nil }); err != nil || lines != 250_000 {
			b.Fatal(lines, err)
		}
	}
	b.ReportMetric(250_000*float64(b.N)/b.Elapsed().Seconds(), "lines/s")
}
