package host

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// The limits on what a plugin prints.
const (
	// MaxLine is how much of a line is kept, in bytes.
	MaxLine = 4 << 10
	// LastWords is how many lines are kept for the reason of a failure.
	LastWords = 20
	// MaxLinesPerSecond of one plugin reach the log; the others are counted.
	MaxLinesPerSecond = 200
)

// words takes in what a plugin prints: it passes it on to the host's log and remembers the last lines.
type words struct {
	log *slog.Logger

	mu      sync.Mutex
	last    []string
	verdict string // the line in which a runtime told why it gave up
	second  int64
	lines   int
	dropped int
}

// read takes lines until the stream ends.
func (w *words) read(r io.Reader, level slog.Level) {
	b := bufio.NewReaderSize(r, MaxLine)
	for {
		line, err := b.ReadSlice('\n')
		if text := strings.TrimSpace(string(bytes.ToValidUTF8(line, []byte("?")))); text != "" {
			w.add(text, level)
		}
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of an overlong line
			_, err = b.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

func (w *words) add(line string, level slog.Level) {
	level, text, attrs := parseLine(line, level)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.verdict == "" && (strings.HasPrefix(text, "panic: ") || strings.HasPrefix(text, "fatal error: ")) {
		w.verdict = text
	}
	if len(w.last) == LastWords {
		w.last = append(w.last[:0], w.last[1:]...)
	}
	w.last = append(w.last, describe(text, attrs))
	if now := time.Now().Unix(); now != w.second {
		if w.dropped > 0 {
			w.log.Warn("plugin printed too much", "dropped", w.dropped)
		}
		w.second, w.lines, w.dropped = now, 0, 0
	}
	if w.lines++; w.lines > MaxLinesPerSecond {
		w.dropped++
		return
	}
	w.log.LogAttrs(context.Background(), level, text, attrs...)
}

// all returns the last lines, oldest first.
func (w *words) all() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.last)
}

// summary says in a part of a sentence what was printed last, or "".
func (w *words) summary() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.verdict != "":
		return fmt.Sprintf("it said %q", w.verdict)
	case len(w.last) > 0:
		return fmt.Sprintf("its last words were %q", strings.Join(w.last[max(0, len(w.last)-3):], " / "))
	}
	return ""
}

// parseLine reads a line of JSON as package slog (and most others) writes it, and takes any other line as it is.
func parseLine(line string, level slog.Level) (slog.Level, string, []slog.Attr) {
	var fields map[string]any
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &fields) != nil {
		return level, line, nil
	}
	text, ok := fields["msg"].(string)
	if !ok {
		return level, line, nil
	}
	if name, ok := fields["level"].(string); ok {
		var l slog.Level
		if l.UnmarshalText([]byte(name)) == nil {
			level = l
		}
	}
	var attrs []slog.Attr
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if key != "msg" && key != "level" && key != "time" {
			attrs = append(attrs, slog.Any(key, fields[key]))
		}
	}
	return level, text, attrs
}

func describe(text string, attrs []slog.Attr) string {
	for _, a := range attrs {
		text += " " + a.String()
	}
	return text
}
