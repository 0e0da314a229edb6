package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stowage/stowage/master/api"
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
		s := &shell{json: true}
		s.Stdout = &out
		l := s.logLines(logSource{id: "web-0-1"}, "stdout", 0, new(sync.Mutex))
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

// The output of several allocations is shown line by line, each with where it comes from, and errors say whose they are.
func TestLogsOfSeveral(t *testing.T) {
	allocations := `[{"id": "shop.web-0-1", "app": "shop/web", "slot": 0, "state": "running"},
		{"id": "shop.web-10-2", "app": "shop/web", "slot": 10, "state": "running"}]`
	credentials := fakeMaster(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/logs") {
			_, _ = io.WriteString(w, allocations)
			return
		}
		if r.URL.Query().Get("since") != "10m" || r.URL.Query().Get("tail") != "-1" {
			t.Errorf("asked for %s", r.URL.RawQuery)
		}
		end := api.End{}
		if strings.Contains(r.URL.Path, "web-10-2") {
			end.Error = "no log"
		}
		for _, piece := range []string{"a line\nan", "other\n", "a half"} {
			_ = api.WriteFrame(w, api.FrameStdout, []byte(piece))
		}
		_ = api.WriteFrame(w, api.FrameStderr, []byte("complaint\n"))
		_ = api.WriteJSONFrame(w, api.FrameEnd, end)
	})
	code, out, complaint := run("--credentials", credentials, "logs", "shop/web", "--since", "10m")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(lines)
	if want := []string{"shop/web[0]  | a half", "shop/web[0]  | a line", "shop/web[0]  | another", "shop/web[10] | a half", "shop/web[10] | a line", "shop/web[10] | another"}; !slices.Equal(lines, want) {
		t.Errorf("%q", lines)
	}
	if code != 1 || !strings.Contains(complaint, "shop/web[0]  | complaint") || !strings.Contains(complaint, "shop/web[10]: no log") {
		t.Errorf("exit %d: %s", code, complaint)
	}
}
