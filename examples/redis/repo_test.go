package main

import (
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stowage/stowage/plugins"
	"github.com/stowage/stowage/plugins/host"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/hcl"
)

// The repository is made as README.md says, read by the language with the schema that the built driver gives, and
// expanded by that driver: what a master does with it.
func TestTheRepositoryRuns(t *testing.T) {
	folder := t.TempDir()
	if out, err := exec.Command("./build", folder).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	h, err := host.New(host.Options{
		Logger: slog.New(slog.DiscardHandler),
		Source: func(p spec.Plugin) (io.ReadCloser, error) { return os.Open(filepath.Join(folder, p.Command)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}()
	schemas := hcl.Options{Schemas: func(p spec.Plugin) (*spec.Schema, error) {
		s, err := h.Framework(p).Schema(t.Context())
		return &s, err
	}}
	cluster, complaints := hcl.Load(os.DirFS(folder), schemas)
	if len(complaints) > 0 || len(cluster.Frameworks) != 1 {
		t.Fatalf("%+v", complaints)
	}
	e := h.Expand(t.Context(), cluster.Plugins[0], plugins.About(cluster.Frameworks[0], nil, nil, nil))
	if e.Held != "" || names(e) != "cache/primary" || e.Apps[0].Pos.File != "cache.hcl" || e.Apps[0].Framework != "redis cache" {
		t.Errorf("%+v", e)
	}
	if s := h.List()[0]; s.Identity.Name != "redis" || s.SHA256 != cluster.Plugins[0].SHA256 || s.Override != "" {
		t.Errorf("%+v", s)
	}

	main, err := os.ReadFile(filepath.Join(folder, "cluster.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string][]string{
		"replicas = 2\n  memry = \"64MiB\"": {"memory"},
		"replicas = 101":                    {"at most 100"},
		"memory = \"1MiB\"":                 {"at least 8MiB"},
		"eviction = \"newest\"":             {"allkeys-lru"},
		"persist = \"perhaps\"":             {"persist"},
	} {
		files := fstest.MapFS{"cluster.hcl": {Data: main}, "cache.hcl": {Data: []byte("framework \"redis\" \"cache\" {\n  " + body + "\n}\n")}}
		_, complaints := hcl.Load(files, schemas)
		if len(complaints) != 1 || complaints[0].Pos.File != "cache.hcl" || complaints[0].Pos.Line != 2+strings.Count(body, "\n") {
			t.Errorf("%s: %+v", body, complaints)
			continue
		}
		for _, w := range want {
			if !strings.Contains(complaints[0].Detail, w) {
				t.Errorf("%q is missing in: %s", w, complaints[0].Detail)
			}
		}
	}
}
