package hcl_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/hcl"
)

// laughs makes locals that multiply.
func laughs(line string) string {
	var b strings.Builder
	b.WriteString("cluster \"c\" {}\nlocals {\n  l0 = \"ha\"\n  o0 = [\"ha\"]\n  n0 = 1e300\n")
	for i := 1; i < 64; i++ {
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(line, "NEW", fmt.Sprint(i)), "OLD", fmt.Sprint(i-1)) + "\n")
	}
	return b.String() + "}\n"
}

func inLocals(lines string) string { return "cluster \"c\" {}\nlocals {\n" + lines + "\n}\n" }

// hostile are files that want to do harm, and the summary of what is told about them ("" where it is harmless).
var hostile = []struct{ name, text, summary string }{
	{"brackets", inLocals("a = " + strings.Repeat("[", 160_000)), "Nested too deeply"},
	{"parentheses", inLocals("a = " + strings.Repeat("(", 160_000)), "Nested too deeply"},
	{"braces", strings.Repeat("a {\n", 90_000), "Nested too deeply"},
	{"templates", inLocals("a = " + strings.Repeat(`"${`, 100_000)), "Nested too deeply"},
	{"calls", inLocals("a = " + strings.Repeat("abs(", 100_000)), "Nested too deeply"},
	{"directives", inLocals(`a = "` + strings.Repeat("%{if true}", 60_000) + `"`), "Expression too long"},
	{"for", inLocals("a = " + strings.Repeat("[for x in ", 45_000)), "Nested too deeply"},
	{"mixed closers", inLocals("a = " + strings.Repeat("(]", 140_000)), "Nested too deeply"},
	{"not", inLocals("a = " + strings.Repeat("!", 290_000)), "Expression too long"},
	{"minus over lines", inLocals("a = (" + strings.Repeat("-\n", 140_000)), "Expression too long"},
	{"minus in a for", inLocals("a = {for k, v in " + strings.Repeat("-\n", 140_000)), "Expression too long"},
	{"sum", inLocals("a = 1" + strings.Repeat("+1", 140_000)), "Expression too long"},
	{"questions", inLocals("a = " + strings.Repeat("true?1:", 70_000) + "1"), "Expression too long"},
	{"index", inLocals("a = b" + strings.Repeat("[b]", 70_000)), "Expression too long"},
	{"attributes", inLocals("a = b" + strings.Repeat(".b", 140_000)), "Expression too long"},
	{"splats", inLocals("a = b" + strings.Repeat("[*]", 70_000)), "Expression too long"},
	{"signs", inLocals("a = " + strings.Repeat("(", 1_000_000)), "File too large"},
	{"too large", strings.Repeat("# padding\n", 110_000), "File too large"},
	{"too many tokens", inLocals("a = [" + strings.Repeat("1,", 400_000) + "]"), "File too large"},
	{"long list", inLocals("a = [" + strings.Repeat("1,", 95_000) + "]"), ""},
	{"zero byte", "cluster \"c\" {}\n\x00", "Not a text file"},
	{"latin-1", "# caf\xe9\n", "Not a text file"},
	{"byte order mark", "\xef\xbb\xbfcluster \"c\" {}\n", "Byte order mark"},
	{"elf", "\x7fELF\x02\x01\x01", "Invalid character"},
	{"huge number", inLocals("a = 1e999999999\nb = \"${a}\""), "Number out of range"},
	{"long number", inLocals("a = " + strings.Repeat("9", 900_000)), "Number out of range"},
	{"growing number", laughs("nNEW = local.nOLD * local.nOLD"), "Number out of range"},
	{"power", inLocals("a = \"${pow(10, 1000000000)}\""), "Number out of range"},
	{"laughing text", laughs(`lNEW = "${local.lOLD}${local.lOLD}${local.lOLD}${local.lOLD}${local.lOLD}${local.lOLD}${local.lOLD}${local.lOLD}"`), "Expansion too large"},
	{"laughing lists", laughs(`oNEW = [local.oOLD, local.oOLD, local.oOLD, local.oOLD]`), "Expansion too large"},
	{"laughing objects", laughs(`oNEW = { a = local.oOLD, b = local.oOLD }`), "Expansion too large"},
	{"laughing concat", laughs(`oNEW = concat(local.oOLD, local.oOLD, local.oOLD)`), "Expansion too large"},
	{"laughing join", laughs(`lNEW = join(local.lOLD, ["a", "b", "c", "d", "e"])`), ""},
	{"loops", inLocals("r = range(1000)\na = [for x in local.r: [for y in local.r: [for z in local.r: 1]]]"), "Expansion too large"},
	{"loops that keep nothing", inLocals("r = range(1000)\na = [for x in local.r: [for y in local.r: [for z in local.r: 1 if false]]]"), "Expansion too large"},
	{"loops of text", inLocals("r = range(1000)\nt = format(\"%999s\", \"x\")\na = join(\"\", [for x in local.r: join(\"\", [for y in local.r: local.t])])"), ""},
	{"product", inLocals("r = range(1000)\na = setproduct(local.r, local.r, local.r)"), "Error in function call"},
	{"format", inLocals("a = format(\"%1000000000d\", 1)"), "Error in function call"},
	{"indent", inLocals("a = indent(1000000000, \"\\n\\n\")"), "Error in function call"},
	{"deep json", inLocals("a = jsondecode(\"" + strings.Repeat("[", 300_000) + "\")"), "Error in function call"},
	{"json number", inLocals("a = \"${jsondecode(\"1e999999999\")}\""), "Error in function call"},
	{"replace", inLocals("r = join(\"\", [for x in range(1000): \"aaaaaaaaaa\"])\na = replace(local.r, \"\", local.r)"), "Error in function call"},
	{"distinct", inLocals("a = length(distinct([" + strings.Repeat("1,", 95_000) + "]))"), ""},
	{"apps", "cluster \"c\" {}\nlocals { r = [for x in range(1000): tostring(x)] }\napp \"a\" {\n  for_each = toset([for p in setproduct(local.r, local.r): \"${p[0]}-${p[1]}\"])\n  task \"t\" {\n    rootfs  = \"host\"\n    command = [\"true\"]\n  }\n}\n", "Error in function call"},
	{"many apps", "cluster \"c\" {}\nlocals { r = [for x in range(250): tostring(x)] }\napp \"a\" {\n  for_each = toset([for p in setproduct(local.r, local.r): \"${p[0]}-${p[1]}\"])\n  task \"t\" {\n    rootfs  = \"host\"\n    command = [\"true\"]\n  }\n}\n", "Too many apps"},
	{"allocations", "cluster \"c\" {}\napp \"a\" {\n  for_each = toset([\"a\", \"b\", \"c\"])\n  count    = 1000000\n  task \"t\" {\n    rootfs  = \"host\"\n    command = [\"true\"]\n  }\n}\n", "Too many allocations"},
	{"constraints", "cluster \"c\" {}\napp \"a\" {\n  dynamic \"constraint\" {\n    for_each = setproduct(range(300), range(300))\n    content {\n      attribute = \"a\"\n      operator  = \"set\"\n    }\n  }\n  task \"t\" {\n    rootfs  = \"host\"\n    command = [\"true\"]\n  }\n}\n", ""},
	{"many errors", strings.Repeat("x {}\n", 50_000), "Too many errors"},
	{"one long line", "cluster \"c\" {}\napp \"" + strings.Repeat("x", 900_000) + "\" {}\n", "Invalid name"},
	{"many names", "cluster \"c\" {}\nlocals {\n" + numbered(30_000, "a%d = local.a%[2]d\n") + "}\n", ""},
	{"long chain", "cluster \"c\" {}\nlocals {\n" + numbered(19_000, "a%d = local.a%[2]d\n") + "a19000 = 1\n}\n", ""},
	{"swallowed", inLocals("r = range(1000)\na = can([for x in local.r: [for y in local.r: [for z in local.r: 1]]])"), "Expansion too large"},
	{"long heredoc", inLocals("a = <<EOT\n" + strings.Repeat("x\n", 100_000) + "EOT"), "Text too long"},
	{"heredoc without end", inLocals("a = <<EOT\n" + strings.Repeat("x\n", 10_000)), "Unterminated template string"},
}

func numbered(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i, i+1)
	}
	return b.String()
}

// TestHostile loads each file and measures what it takes. The memory is what the load allocated between two looks at
// the heap, so it is a bound from below; what holds is checked by the limits, this shows that they are tight.
func TestHostile(t *testing.T) {
	for _, h := range hostile {
		t.Run(h.name, func(t *testing.T) {
			peak := watchHeap(t)
			begin := time.Now()
			_, diags := hcl.Load(fstest.MapFS{"a.hcl": {Data: []byte(h.text)}}, hcl.Options{Schemas: schemas})
			took := time.Since(begin)
			most := peak()
			t.Logf("%v, %d MiB, %d complaints", took.Round(time.Millisecond), most>>20, len(diags))
			if most > 256<<20 {
				t.Errorf("took %d MiB", most>>20)
			}
			found := h.summary == "" && len(diags) == 0
			for _, d := range diags {
				checkDiagnostic(t, d)
				found = found || d.Summary == h.summary
			}
			if !found && h.summary != "" {
				t.Errorf("no complaint %q among %d: %.300v", h.summary, len(diags), diags)
			}
		})
	}
}

// watchHeap samples the heap until the returned function is called, which returns the largest growth seen.
func watchHeap(t *testing.T) func() uint64 {
	t.Helper()
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	stop, done := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			if grown := m.HeapInuse - min(m.HeapInuse, before.HeapInuse) + m.StackInuse; grown > most {
				most = grown
			}
			select {
			case <-stop:
				done <- most
				return
			case <-tick.C:
			}
		}
	}()
	return func() uint64 {
		close(stop)
		return <-done
	}
}

// TestLinks follows links within the repository and refuses those that leave it.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write("secret.hcl", `role "stolen" {}`)
	write("secrets/more.hcl", `role "stolen-too" {}`)
	write("repo/live/c.hcl", "cluster \"c\" {}\nlocals {\n  inside  = file(\"../shared/text\")\n  absent  = file(\"none\")\n  outside = file(\"../../secret.hcl\")\n  linked  = file(\"../stolen\")\n}\n")
	write("repo/shared/text", "text")
	write("repo/shared/role.hcl", `role "shared" {}`)
	write("repo/other/role.hcl", `role "other" {}`)
	link("../shared", "repo/live/shared")
	link("../other/role.hcl", "repo/live/role.hcl")
	link("shared/role.hcl", "repo/live/again.hcl")
	link(".", "repo/live/loop")
	link("round", "repo/live/round")
	link("../../secret.hcl", "repo/live/out.hcl")
	link("../../secrets", "repo/live/outfolder")
	link(filepath.Join(dir, "secret.hcl"), "repo/live/absolute.hcl")
	link("nowhere.hcl", "repo/live/broken.hcl")
	link("../secret.hcl", "repo/stolen")

	root, err := os.OpenRoot(filepath.Join(dir, "repo"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for name, fsys := range map[string]fs.FS{"os.DirFS": os.DirFS(filepath.Join(dir, "repo")), "os.Root": root.FS()} {
		_, diags := hcl.Load(fsys, hcl.Options{Path: "live"})
		got := strings.Join(summaries(diags), "\n")
		want := strings.Join([]string{
			"absolute.hcl: Link leaves the repository",
			"broken.hcl: Broken link",
			"c.hcl:4: Error in function call",
			"c.hcl:5: Error in function call",
			"c.hcl:6: Error in function call",
			"out.hcl: Link leaves the repository",
			"outfolder: Link leaves the repository",
			"round: Broken link",
		}, "\n")
		if got != want {
			t.Errorf("%s\n got:\n%s\nwant:\n%s", name, got, want)
		}
		for _, d := range diags {
			if strings.Contains(d.Detail, "stolen-too") || strings.Contains(d.Snippet, "stolen-too") {
				t.Errorf("%s tells what it must not know: %v", name, d)
			}
		}
	}

	for _, name := range []string{"absolute.hcl", "broken.hcl", "out.hcl", "outfolder", "round"} {
		if err := os.Remove(filepath.Join(dir, "repo/live", name)); err != nil {
			t.Fatal(err)
		}
	}
	write("repo/live/c.hcl", "cluster \"c\" {}\n")
	c, diags := hcl.Load(os.DirFS(filepath.Join(dir, "repo")), hcl.Options{Path: "live"})
	if len(diags) > 0 || c == nil {
		t.Fatalf("links inside are followed: %v", diags)
	}
	if len(c.Roles) != 2 || c.Roles[0].Name != "other" || c.Roles[1].Name != "shared" {
		t.Errorf("roles behind links: %v", c.Roles)
	}
}

// TestFolder covers folders that are none.
func TestFolder(t *testing.T) {
	for _, path := range []string{"nope", "../x", "a.hcl", "/etc"} {
		_, diags := hcl.Load(fstest.MapFS{"a.hcl": {Data: []byte("x")}}, hcl.Options{Path: path})
		if len(diags) != 1 || diags[0].Severity != spec.SeverityError || diags[0].Summary != "Folder not readable" {
			t.Errorf("path %q: %v", path, diags)
		}
	}
}

// TestManyLargeFiles fills a commit up to the limits with the densest text there is.
func TestManyLargeFiles(t *testing.T) {
	m := fstest.MapFS{}
	for i := range 12 {
		text := fmt.Sprintf("locals {\n  a%d = [%s]\n}\n", i, strings.Repeat("1,", 45_000))
		m[fmt.Sprintf("f%02d.hcl", i)] = &fstest.MapFile{Data: []byte(text)}
	}
	peak := watchHeap(t)
	begin := time.Now()
	_, diags := hcl.Load(m, hcl.Options{})
	took, most := time.Since(begin), peak()
	t.Logf("%v, %d MiB", took.Round(time.Millisecond), most>>20)
	if len(diags) == 0 || diags[0].Summary != "Too much text" {
		t.Errorf("%.300v", diags)
	}
	if most > 256<<20 {
		t.Errorf("took %d MiB", most>>20)
	}
}
