package cli

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/client"
	"github.com/stowage/stowage/spec"
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

// Whoever follows a slot is shown what takes it next, once that runs; nothing follows in a slot that is not wanted any more.
func TestFollowersOfASlotGoOn(t *testing.T) {
	for count, want := range map[string]spec.AllocationID{"1": "web-0-7", "0": ""} {
		credentials := fakeMaster(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/apps/web") {
				_, _ = io.WriteString(w, `{"name": "web", "kind": "service", "count": `+count+`}`)
				return
			}
			w.Header().Set("Content-Type", "text/event-stream")
			for _, change := range []string{
				`{"allocations": [{"id": "web-0-3", "app": "web", "slot": 0, "generation": 3, "state": "failed"}, {"id": "web-0-7", "app": "web", "slot": 0, "generation": 7, "state": "preparing"}]}`,
				`{"allocations": [{"id": "web-1-8", "app": "web", "slot": 1, "generation": 8, "state": "running"}]}`,
				`{"allocations": [{"id": "web-0-7", "app": "web", "slot": 0, "generation": 7, "state": "running"}]}`,
			} {
				_, _ = io.WriteString(w, "data: "+change+"\n\n")
			}
		})
		c, err := client.Load(credentials)
		if err != nil {
			t.Fatal(err)
		}
		if next, err := successor(t.Context(), c, spec.Slot{App: "web"}, "web-0-3"); err != nil || next != want {
			t.Errorf("with count %s comes %q: %v", count, next, err)
		}
	}
}

func TestExitCodesOfWhatCannotBeRun(t *testing.T) {
	for text, want := range map[string]int{executor.NotFound + ": it is not there": 127, executor.NotExecutable + ": permission denied": 126, "the node is away": 0} {
		if got := unrunnable(errors.New("run x in web-0-1: " + text)); got != want {
			t.Errorf("%s: %d", text, got)
		}
	}
}
