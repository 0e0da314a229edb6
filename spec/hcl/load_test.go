package hcl_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/hcl"
)

// load loads a folder and fails the test on any diagnostic.
func load(t testing.TB, dir string) *spec.Cluster {
	t.Helper()
	c, diags := hcl.Load(os.DirFS(dir), hcl.Options{})
	if len(diags) > 0 {
		var b bytes.Buffer
		hcl.Render(&b, diags, false)
		t.Fatalf("unexpected diagnostics:\n%s", b.String())
	}
	return c
}

func TestQuickstart(t *testing.T) {
	c := load(t, "../../examples/quickstart")
	got, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/quickstart.json", append(got, '\n'))
}

// TestReference keeps docs/reference/language.md current.
func TestReference(t *testing.T) {
	golden(t, "../../docs/reference/language.md", []byte(hcl.Doc()))
}

// TestFormatQuickstart keeps the example in the layout that the formatter gives.
// TestAmountsThatNobodyAsksFor wants a warning of what is limited or kept in vain, and none of what is used, or may be by
// apps that stand in no file.
func TestAmountsThatNobodyAsksFor(t *testing.T) {
	const amounts = `cluster "test" {}
role "eng" {
  quota {
    cpus = 4
    ram  = 1
    gpu  = 2
    slots = 3
  }
}
reservation "spare" {
  role  = "eng"
  token = 1
}
app "web" {
  task "t" {
    rootfs    = "host"
    command   = ["true"]
    resources = { tokens = 1 }
    device "gpu" {}
  }
}
`
	for more, want := range map[string]string{
		"": `cpus: Did you mean "cpu"?, ram: Did you mean "memory"?, slots, token: Did you mean "tokens"?`,
		"node_class \"big\" {\n  cpu = 8\n  memory = \"8GiB\"\n  resources = { slots = 4 }\n}\n":                                                                                             `cpus: Did you mean "cpu"?, ram: Did you mean "memory"?, token: Did you mean "tokens"?`,
		"plugin \"ring\" {\n  kind = \"framework\"\n  command = \"ring\"\n  sha256 = \"0000000000000000000000000000000000000000000000000000000000000000\"\n}\nframework \"ring\" \"a\" {}\n": "",
	} {
		c, ds := hcl.Load(fstest.MapFS{"a.hcl": {Data: []byte(amounts + more)}}, hcl.Options{Schemas: func(spec.Plugin) (*spec.Schema, error) { return &spec.Schema{}, nil }})
		if c == nil {
			t.Fatal(ds)
		}
		var found []string
		for _, d := range ds {
			text := strings.Fields(d.Snippet)[0]
			if _, hint, ok := strings.Cut(d.Detail, "without effect. "); ok {
				text += ": " + hint
			}
			if d.Severity == spec.SeverityWarning && d.Summary == "Resource that nobody asks for" {
				found = append(found, text)
			}
		}
		if got := strings.Join(found, ", "); got != want {
			t.Errorf("with %q: warned of %s, want %s", more, got, want)
		}
	}
}

func TestFormatQuickstart(t *testing.T) {
	files, err := filepath.Glob("../../examples/quickstart/*.hcl")
	more, err2 := filepath.Glob("../../examples/quickstart/*/*.hcl")
	if err != nil || err2 != nil || len(files) == 0 || len(more) == 0 {
		t.Fatal("no files", err, err2)
	}
	for _, f := range append(files, more...) {
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		got, diags := hcl.Format(f, src)
		if len(diags) > 0 || !bytes.Equal(got, src) {
			t.Errorf("%s is not formatted: %v\n%s", f, diags, got)
		}
	}
}

// TestFormat shows what the formatter does, and that it refuses what it cannot read.
func TestFormat(t *testing.T) {
	got, diags := hcl.Format("a.hcl", []byte("app  \"x\"{\ncount=1\n  priority   = 2 # c\n}\n\n\n"))
	want := "app \"x\" {\n  count    = 1\n  priority = 2 # c\n}\n"
	if len(diags) > 0 || string(got) != want {
		t.Errorf("got %q, %v", got, diags)
	}
	got, diags = hcl.Format("a.hcl", []byte("app \"x\" {\n"))
	if got != nil || len(diags) != 1 || diags[0].Pos.File != "a.hcl" || diags[0].Snippet == "" {
		t.Errorf("got %q, %v", got, diags)
	}
}

// many writes a repository of n apps, a hundred in each file.
func many(n int) fstest.MapFS {
	m := fstest.MapFS{"cluster.hcl": {Data: []byte("cluster \"big\" {}\nrole \"eng\" {}\nvariable \"n\" { default = 3 }\nlocals { tag = \"v1\" }\n")}}
	for i := 0; i < n; i += 100 {
		var b bytes.Buffer
		for j := i; j < min(n, i+100); j++ {
			fmt.Fprintf(&b, `
app "team-%d/app-%d" {
  count = var.n
  role  = "eng"

  constraint {
    attribute = "kernel.version"
    operator  = ">="
    value     = "5.10"
  }

  network {
    port "http" {}
  }

  task "server" {
    rootfs  = "host"
    command = ["server", "--port", port.http, "--tag", local.tag]
    env     = { NAME = "app-%d", TAG = "${local.tag}-x" }
    cpu     = 0.5
    memory  = "256MiB"

    check "ready" {
      type = "http"
      port = "http"
      gate = true
    }
  }
}
`, j/100, j, j)
		}
		m[fmt.Sprintf("apps/%05d.hcl", i)] = &fstest.MapFile{Data: b.Bytes()}
	}
	return m
}

// TestBig loads 10,000 apps.
func TestBig(t *testing.T) {
	c, diags := hcl.Load(many(10_000), hcl.Options{})
	if len(diags) > 0 {
		t.Fatalf("%.500v", diags)
	}
	if len(c.Apps) != 10_000 {
		t.Fatalf("%d apps", len(c.Apps))
	}
	if !slices.IsSortedFunc(c.Apps, func(a, b *spec.App) int { return strings.Compare(string(a.Name), string(b.Name)) }) {
		t.Error("the apps are not sorted by name")
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{1, 1000, 10_000} {
		b.Run(fmt.Sprintf("apps=%d", n), func(b *testing.B) {
			fsys := many(n)
			b.ReportAllocs()
			for b.Loop() {
				if _, diags := hcl.Load(fsys, hcl.Options{}); len(diags) > 0 {
					b.Fatal(diags)
				}
			}
		})
	}
}

// TestCache loads again after a change and gets what a load without a cache gets.
func TestCache(t *testing.T) {
	fsys, cache := many(300), hcl.NewCache()
	for round, change := range []func(){
		func() {},
		func() {},
		func() {
			f := fsys["apps/00100.hcl"]
			f.Data = bytes.Replace(f.Data, []byte("count = var.n"), []byte("count = 7"), 1)
		},
		func() { delete(fsys, "apps/00000.hcl") },
		func() { fsys["apps/00200.hcl"].Data = append(fsys["apps/00200.hcl"].Data, "app {"...) },
		func() { fsys["apps/00200.hcl"] = &fstest.MapFile{Data: []byte("# nothing\n")} },
	} {
		change()
		got, gotDiags := hcl.Load(fsys, hcl.Options{Cache: cache})
		want, wantDiags := hcl.Load(fsys, hcl.Options{})
		a, _ := json.Marshal([]any{got, gotDiags})
		b, _ := json.Marshal([]any{want, wantDiags})
		if !bytes.Equal(a, b) {
			t.Errorf("round %d: with the cache\n%.300s\nwithout\n%.300s", round, a, b)
		}
	}
}

// BenchmarkReload changes one line among many apps.
func BenchmarkReload(b *testing.B) {
	for _, n := range []int{1000, 10_000} {
		b.Run(fmt.Sprintf("apps=%d", n), func(b *testing.B) {
			fsys, cache := many(n), hcl.NewCache()
			hcl.Load(fsys, hcl.Options{Cache: cache})
			data := fsys["apps/00000.hcl"].Data
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				fsys["apps/00000.hcl"].Data = bytes.Replace(data, []byte("count = var.n"), fmt.Appendf(nil, "count = %d", i), 1)
				if _, diags := hcl.Load(fsys, hcl.Options{Cache: cache}); len(diags) > 0 {
					b.Fatal(diags)
				}
			}
		})
	}
}
