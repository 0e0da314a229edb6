package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stowage/stowage/plugins"
	"github.com/stowage/stowage/plugins/sdk"
	"github.com/stowage/stowage/plugins/wire"
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// The test binary is also the plugin of each test: its first argument says how it behaves.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if behave, ok := behaviours[os.Args[1]]; ok {
			behave()
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

var behaviours = map[string]func(){
	"plugin-pack":  func() { sdk.ServePolicy("pack", "1.0", place.Binpack) },
	"plugin-fleet": func() { sdk.ServeFramework("fleet", "0.3", fleet{}) },
	"plugin-stray": func() {
		fmt.Println("Welcome to my plugin!")
		fmt.Fprintln(os.Stderr, "debug: reading configuration")
		sdk.ServePolicy("stray", "1.0", place.Binpack)
	},
	"plugin-poor": func() {
		fmt.Fprintln(os.Stderr, "cannot open /etc/poor.conf")
		os.Exit(3)
	},
	"plugin-mute":   forEver,
	"plugin-wander": func() { fmt.Println("1|1|unix|/nowhere/s|grpc|"); forEver() },
	"plugin-dial":   func() { fmt.Println("1|1|tcp|127.0.0.1:1|grpc|"); forEver() },
	"plugin-old":    func() { fmt.Println("1|7|unix|" + os.Getenv(wire.SocketDir) + "/s|grpc|"); forEver() },
	"plugin-parent": parent,
	"plugin-host":   hostAlone,
}

// fleet is a driver that does what its block asks for.
type fleet struct{}

func (fleet) Schema(context.Context) (spec.Schema, error) {
	return spec.Schema{Description: "A fleet.", Arguments: []spec.Argument{{Name: "mood", Type: spec.TypeString}}}, nil
}

func (fleet) Expand(ctx context.Context, q *plugins.Question) (*plugins.Answer, error) {
	app := &spec.App{Name: q.Block.Name + "/ship", Count: 1, Tasks: []spec.Task{{Name: "sail", Rootfs: spec.RootfsHost, Command: []string{"sail"}}}}
	answer := &plugins.Answer{Apps: []*spec.App{app}, Steps: []spec.Step{{Title: "sail", Detail: strconv.Itoa(len(q.Allocations))}}}
	switch q.Block.Config["mood"] {
	case "sulk":
		return nil, errors.New("the harbour is closed")
	case "crash":
		panic("a rock")
	case "hang":
		select {}
	case "blame":
		answer.Diagnostics = []spec.Diagnostic{sdk.Complain(q.Block, "mood", "Sad mood", "Write another.")}
	case "steal":
		app.Name = "other/ship"
	case "huge":
		app.Tasks[0].Env = map[string]string{"CARGO": strings.Repeat("x", 32<<20)}
	case "talk":
		fmt.Println("a word to standard output")
		slog.Warn("storm ahead", "knots", 40)
	}
	return answer, nil
}

func ask(mood string) *plugins.Question {
	return &plugins.Question{Block: spec.Framework{Driver: "fleet", Name: "north", Config: map[string]any{"mood": mood},
		Places: map[string]spec.Pos{"mood": {File: "fleet.hcl", Line: 7, Column: 3}}}}
}

// self is the plugin block for one of the behaviours.
func self(t *testing.T, kind spec.PluginKind, name string) spec.Plugin {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return spec.Plugin{Name: name, Kind: kind, Command: path, Args: []string{"plugin-" + name}, SHA256: sumOf(t, path)}
}

func sumOf(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func newHost(t *testing.T, o Options) *Host {
	t.Helper()
	if o.Folder == "" {
		dir, err := os.MkdirTemp("", "h")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		o.Folder = dir
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// await polls until the condition holds; the deadline is for a broken program, not for a slow machine.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

func alive(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	rest := string(b[strings.LastIndexByte(string(b), ')')+1:])
	return !strings.HasPrefix(strings.TrimSpace(rest), "Z")
}

func smallBatch() *place.Batch {
	return &place.Batch{
		App: "shop/web", Kind: spec.KindService, Priority: 50, Count: 3, Resources: []string{"cpu", "memory", "disk"},
		Need: []int64{1000, 1 << 30, 0}, Nodes: []spec.NodeID{"a", "b"}, Capacity: []int64{4000, 8 << 30, 0, 4000, 8 << 30, 0},
		Free: []int64{4000, 8 << 30, 0, 2000, 4 << 30, 0}, Room: []int32{10, 10}, Own: []int32{0, 0}, Load: []int32{0, 2},
	}
}

func TestAPolicyPlacesOverTheWire(t *testing.T) {
	h := newHost(t, Options{})
	got, err := h.Policy(self(t, spec.PluginPolicy, "pack")).Place(smallBatch())
	if err != nil {
		t.Fatal(err)
	}
	want, err := place.Binpack.Place(smallBatch())
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || len(got) != 3 {
		t.Errorf("over the wire %v, in process %v", got, want)
	}
	s := h.List()[0]
	if s.Phase != Running || s.Identity != (plugins.Identity{Kind: spec.PluginPolicy, Name: "pack", Version: "1.0"}) || !alive(s.Pid) {
		t.Errorf("state %+v", s)
	}
	if pgid, err := syscall.Getpgid(s.Pid); err != nil || pgid != s.Pid {
		t.Errorf("process group %d of process %d: %v", pgid, s.Pid, err)
	}
	if err := h.Close(); err != nil || alive(s.Pid) {
		t.Errorf("after Close alive: %v, error: %v", alive(s.Pid), err)
	}
}
