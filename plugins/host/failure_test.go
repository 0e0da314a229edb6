package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stowage/stowage/spec"
)

func TestAFailedStartIsExplained(t *testing.T) {
	cases := []struct {
		plugin string
		want   []string
	}{
		{"stray", []string{`printed "Welcome to my plugin!" where the hand-shake belongs`, "standard error only", "debug: reading configuration"}},
		{"poor", []string{"ended before it greeted the host", "exit status 3", "cannot open /etc/poor.conf"}},
		{"mute", []string{"did not greet the host within 300ms"}},
		{"wander", []string{"has to be a Unix socket in its folder"}},
		{"dial", []string{"has to be a Unix socket in its folder"}},
		{"old", []string{"incompatible API version", "Plugin version: 7"}},
		{"fleet", []string{`a plugin of kind "framework", its plugin block says "policy"`}},
	}
	for _, c := range cases {
		t.Run(c.plugin, func(t *testing.T) {
			o := Options{MinBackoff: time.Hour, MaxBackoff: time.Hour}
			if c.plugin == "mute" {
				o.StartTimeout = 300 * time.Millisecond
			}
			h := newHost(t, o)
			_, err := h.Policy(self(t, spec.PluginPolicy, c.plugin)).Place(smallBatch())
			if err == nil {
				t.Fatal("it placed")
			}
			for _, want := range append(c.want, `policy plugin "`+c.plugin+`"`, "the plugin is down") {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is missing in: %v", want, err)
				}
			}
			if s := h.List()[0]; s.Phase != Waiting || s.Pid != 0 || s.LastError == "" || s.Next == 0 {
				t.Errorf("state %+v", s)
			}
		})
	}
}

func TestOnlyTheCheckedFileRuns(t *testing.T) {
	p := self(t, spec.PluginPolicy, "pack")
	wrong := p
	wrong.SHA256 = strings.Repeat("0", 64)
	bare := p
	bare.SHA256 = ""
	absent := p
	absent.Command = "/nonexistent/plugin"
	for want, p := range map[string]spec.Plugin{"says 0000": wrong, "has no sha256": bare, "no such file": absent} {
		h := newHost(t, Options{MinBackoff: time.Hour})
		if _, err := h.Policy(p).Place(smallBatch()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in: %v", want, err)
		}
	}
}

// swapped gives the right file and replaces it on disk as soon as it has been read.
type swapped struct {
	io.ReadCloser
	path string
	t    *testing.T
}

func (s swapped) Close() error {
	if err := os.WriteFile(s.path, []byte("#!/bin/sh\necho evil\n"), 0o755); err != nil {
		s.t.Error(err)
	}
	return s.ReadCloser.Close()
}

func TestAFileReplacedAfterTheCheckDoesNotRun(t *testing.T) {
	p := self(t, spec.PluginPolicy, "pack")
	program, err := os.ReadFile(p.Command)
	if err != nil {
		t.Fatal(err)
	}
	p.Command = filepath.Join(t.TempDir(), "plugin")
	if err := os.WriteFile(p.Command, program, 0o755); err != nil {
		t.Fatal(err)
	}
	h := newHost(t, Options{Source: func(p spec.Plugin) (io.ReadCloser, error) {
		f, err := os.Open(p.Command)
		return swapped{f, p.Command, t}, err
	}})
	if _, err := h.Policy(p).Place(smallBatch()); err != nil {
		t.Fatal(err)
	}
	// Nor can the memory that runs be written to.
	mem, err := load("x", bytes.NewReader(program), p.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	defer mem.close()
	if f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", mem.file.Fd()), os.O_WRONLY, 0); err == nil {
		if _, err := f.Write([]byte("x")); err == nil {
			t.Error("the sealed program could be changed")
		}
		f.Close()
	}
}

func TestAnOverrideRunsAndShows(t *testing.T) {
	p := self(t, spec.PluginPolicy, "pack")
	file := p.Command
	p.Command, p.SHA256 = "plugins/pack", strings.Repeat("0", 64)
	h := newHost(t, Options{Overrides: map[string]string{"pack": file}})
	if _, err := h.Policy(p).Place(smallBatch()); err != nil {
		t.Fatal(err)
	}
	if s := h.List()[0]; s.Override != file || s.SHA256 != sumOf(t, file) {
		t.Errorf("state %+v", s)
	}
	if v := h.Version(p); !strings.Contains(v, "override "+file) || !strings.Contains(v, "not checked") {
		t.Errorf("version %q", v)
	}
}

func TestAPluginThatEndsComesBack(t *testing.T) {
	h := newHost(t, Options{MinBackoff: 10 * time.Millisecond, MaxBackoff: 40 * time.Millisecond})
	p := self(t, spec.PluginPolicy, "pack")
	for round := 1; round <= 3; round++ {
		await(t, "it places", func() bool { _, err := h.Policy(p).Place(smallBatch()); return err == nil })
		pid := h.List()[0].Pid
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		await(t, "another process runs", func() bool { s := h.List()[0]; return s.Phase == Running && s.Pid != pid })
		if s := h.List()[0]; s.Restarts != round || !strings.Contains(s.LastError, "killed by SIGKILL") {
			t.Errorf("round %d: state %+v", round, s)
		}
	}
}

func TestBackOffDoublesAndIsTold(t *testing.T) {
	var log bytes.Buffer
	h := newHost(t, Options{MinBackoff: 2 * time.Millisecond, MaxBackoff: 8 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	h.Use(self(t, spec.PluginPolicy, "poor"))
	await(t, "four restarts", func() bool { return h.List()[0].Restarts >= 4 })
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, want := range []string{`"again in"=2ms`, `"again in"=4ms`, `"again in"=8ms`, `"again in"=8ms`} {
		i := strings.Index(log.String()[at:], want)
		if i < 0 {
			t.Fatalf("%s is missing, or not in order, in:\n%s", want, log.String())
		}
		at += i + 1
	}
	if !strings.Contains(log.String(), "cannot open /etc/poor.conf") {
		t.Errorf("the log does not show what the plugin printed:\n%s", log.String())
	}
}

func TestTroubleWithADriverHoldsItsAppsOnly(t *testing.T) {
	h := newHost(t, Options{MinBackoff: 5 * time.Millisecond, CallTimeout: time.Minute})
	p := self(t, spec.PluginFramework, "fleet")
	ctx := context.Background()
	first := h.Expand(ctx, p, ask("calm"))
	if first.Held != "" || len(first.Apps) != 1 || first.Apps[0].Name != "north/ship" || first.Apps[0].Framework != "fleet north" ||
		first.Apps[0].Tasks[0].Memory != spec.DefaultMemory {
		t.Fatalf("first answer %+v", first)
	}
	cases := []struct {
		mood string
		want []string
	}{
		{"sulk", []string{`framework driver "fleet": the harbour is closed`}},
		{"blame", []string{"fleet.hcl:7: Sad mood: Write another."}},
		{"steal", []string{`framework driver "fleet"`, `its name has to begin with "north/"`, "refused"}},
		{"huge", []string{"too large"}},
		{"crash", []string{"it ended while answering Expand", "panic: a rock", "exit status 2"}},
	}
	for _, c := range cases {
		t.Run(c.mood, func(t *testing.T) {
			await(t, "it runs", func() bool { return h.Expand(ctx, p, ask("calm")).Held == "" })
			held := h.Expand(ctx, p, ask(c.mood))
			for _, want := range c.want {
				if !strings.Contains(held.Held, want) {
					t.Errorf("%q is missing in: %s", want, held.Held)
				}
			}
			if len(held.Apps) != 0 || held.Driver != "fleet" || held.Name != "north" {
				t.Errorf("the expansion is %+v", held)
			}
			// Another plugin of the same host does not notice.
			if _, err := h.Policy(self(t, spec.PluginPolicy, "pack")).Place(smallBatch()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAHungPluginIsKilledAndStartedAgain(t *testing.T) {
	h := newHost(t, Options{MinBackoff: 5 * time.Millisecond, CallTimeout: 500 * time.Millisecond})
	p := self(t, spec.PluginFramework, "fleet")
	calm := func() bool { return h.Expand(context.Background(), p, ask("calm")).Held == "" }
	await(t, "it runs", calm)
	pid := h.List()[0].Pid
	if held := h.Expand(context.Background(), p, ask("hang")).Held; !strings.Contains(held, "it did not answer Expand within 500ms") {
		t.Errorf("held because %q", held)
	}
	await(t, "it runs again", calm)
	if s := h.List()[0]; s.Pid == pid || alive(pid) || !strings.Contains(s.LastError, "did not answer") {
		t.Errorf("state %+v", s)
	}
}

func TestACallersEndIsNoFaultOfThePlugin(t *testing.T) {
	h := newHost(t, Options{CallTimeout: time.Hour})
	p := self(t, spec.PluginFramework, "fleet")
	f := h.Framework(p)
	if _, err := f.Schema(context.Background()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := f.Expand(ctx, ask("hang")); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := f.Expand(context.Background(), ask("calm")); err != nil || h.List()[0].Restarts != 0 {
		t.Errorf("error %v, state %+v", err, h.List()[0])
	}
}

func TestASchemaIsKnownWhileItsDriverIsDown(t *testing.T) {
	h := newHost(t, Options{MinBackoff: time.Hour, MaxBackoff: time.Hour})
	p := self(t, spec.PluginFramework, "fleet")
	want, err := h.Framework(p).Schema(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(h.List()[0].Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await(t, "it is down", func() bool { return h.List()[0].Phase == Waiting })
	first, second := h.Expand(t.Context(), p, ask("calm")).Held, h.Expand(t.Context(), p, ask("calm")).Held
	if first == "" || first != second || !strings.Contains(first, "killed by SIGKILL") {
		t.Errorf("held because %q, then because %q", first, second)
	}
	if got, err := h.Framework(p).Schema(t.Context()); err != nil || got.Description != want.Description {
		t.Errorf("%+v, %v", got, err)
	}
	other := p
	other.SHA256 = strings.Repeat("0", 64)
	if _, err := h.Framework(other).Schema(t.Context()); err == nil {
		t.Error("another program has the same schema")
	}
}

func TestWhatAPluginPrintsIsLogged(t *testing.T) {
	var log bytes.Buffer
	h := newHost(t, Options{Logger: slog.New(slog.NewJSONHandler(&log, nil))})
	if e := h.Expand(context.Background(), self(t, spec.PluginFramework, "fleet"), ask("talk")); e.Held != "" {
		t.Fatal(e.Held)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"level":"WARN","msg":"storm ahead","plugin":"fleet","knots":40`, `"msg":"a word to standard output"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is missing in:\n%s", want, log.String())
		}
	}
}

func TestRetainStopsWhatIsNoLongerWanted(t *testing.T) {
	h := newHost(t, Options{})
	pack, fleet := self(t, spec.PluginPolicy, "pack"), self(t, spec.PluginFramework, "fleet")
	h.Retain([]spec.Plugin{pack, fleet})
	await(t, "both run", func() bool {
		l := h.List()
		return len(l) == 2 && l[0].Phase == Running && l[1].Phase == Running
	})
	before := h.List()
	h.Retain([]spec.Plugin{pack})
	after := h.List()
	if len(after) != 1 || after[0].Name != "pack" || after[0].Pid != before[1].Pid || alive(before[0].Pid) {
		t.Errorf("before %+v, after %+v", before, after)
	}
	select {
	case <-h.Changed():
	default:
		t.Error("nobody was told of the changes")
	}
}
