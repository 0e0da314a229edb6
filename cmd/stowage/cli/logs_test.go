package cli

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestLogLinesAsJSON(t *testing.T) {
	for _, c := range []struct {
		name   string
		pieces []string
		want   []logLine
	}{
		{"lines", []string{"one\ntwo\n"}, []logLine{{Line: "one"}, {Line: "two"}}},
		{"a line in pieces", []string{"o", "n", "e\nt", "wo"}, []logLine{{Line: "one"}, {Line: "two"}}},
		{"empty lines", []string{"\n\nx\n"}, []logLine{{}, {}, {Line: "x"}}},
		{"no text", []string{"a\xffb\n"}, []logLine{{Line: "a\uFFFDb"}}},
		{"a line that fits just so", []string{strings.Repeat("x", maxLogLine), "\n"}, []logLine{{Line: strings.Repeat("x", maxLogLine)}}},
		{"a line without end", []string{strings.Repeat("x", maxLogLine+3)}, []logLine{{Line: strings.Repeat("x", maxLogLine), Part: true}, {Line: "xxx"}}},
	} {
		var out strings.Builder
		s := &shell{}
		s.Stdout = &out
		l := s.logLines("web-0-1", "stdout")
		for _, p := range c.pieces {
			if n, err := l.Write([]byte(p)); n != len(p) || err != nil {
				t.Fatalf("%s: wrote %d: %v", c.name, n, err)
			}
		}
		if err := l.flush(); err != nil {
			t.Fatal(err)
		}
		d := json.NewDecoder(strings.NewReader(out.String()))
		for _, want := range c.want {
			want.Allocation, want.Stream = "web-0-1", "stdout"
			var got logLine
			if err := d.Decode(&got); err != nil || got != want {
				t.Errorf("%s: %+v, not %+v (%v)", c.name, got, want, err)
			}
		}
		if d.More() {
			t.Errorf("%s: more than that: %s", c.name, out.String())
		}
	}
}
