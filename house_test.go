// Package stowage has no code of its own: here stand the rules of the house, as tests over the whole tree.
package stowage

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/tools/go/packages"
)

const module = "github.com/stowage/stowage"

// layers, lowest first: a package imports only its own layer and those below.
var layers = []struct {
	level int
	under []string
}{
	{0, []string{"spec"}},
	{1, []string{"reconcile"}},
	{2, []string{"plugins"}},
	{3, []string{"agent", "master"}},
	{4, []string{"cmd", "examples", "docs"}},
}

// onlyImporter says which folder alone may import a dependency: the package that wraps it.
var onlyImporter = map[string][]string{
	"github.com/hashicorp/hcl/v2":            {"spec/hcl"},
	"github.com/zclconf/go-cty":              {"spec/hcl"},
	"github.com/go-git/go-git/v5":            {"master/git", "agent/artifact/git"},
	"github.com/fsnotify/fsnotify":           {"master/git"},
	"github.com/hashicorp/go-plugin":         {"plugins"},
	"github.com/opencontainers/runc":         {"agent/runc"},
	"github.com/opencontainers/cgroups":      {"agent/runc"},
	"github.com/hashicorp/raft":              {"master/journal"},
	"github.com/hashicorp/raft-wal":          {"master/journal"},
	"github.com/spf13/cobra":                 {"cmd/stowage"},
	"github.com/google/go-containerregistry": {"agent/image", "agent/registry"},
	"github.com/docker/cli":                  {"agent/registry"},
	module + "/agent/runc":                   {"agent/runc", "cmd/stowage-executor"},
}

// pure lists the folders that decide and do nothing else.
var pure = []string{"spec", "reconcile"}

var loadOnce = sync.OnceValues(func() ([]*packages.Package, error) {
	return packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedSyntax | packages.NeedTypes |
			packages.NeedTypesInfo | packages.NeedDeps,
	}, "./...")
})

func load(t *testing.T) []*packages.Package {
	t.Helper()
	pkgs, err := loadOnce()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pkgs {
		for _, e := range p.Errors {
			t.Errorf("%s: %v", p.PkgPath, e)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	return pkgs
}

func within(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

func layerOf(path string) (int, string) {
	rel := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
	for _, l := range layers {
		for _, f := range l.under {
			if within(rel, f) {
				return l.level, rel
			}
		}
	}
	return -1, rel
}

func TestImportsPointDownwards(t *testing.T) {
	for _, p := range load(t) {
		level, rel := layerOf(p.PkgPath)
		if level < 0 {
			if rel != "" {
				t.Errorf("%s lies in no layer: move it into one of the top-level folders", rel)
			}
			continue
		}
		for imported := range p.Imports {
			if strings.HasPrefix(imported, module+"/") {
				l, r := layerOf(imported)
				if l > level {
					t.Errorf("%s (layer %d) imports %s (layer %d): imports point downwards", rel, level, r, l)
				}
				if within(rel, "agent") && within(r, "master") || within(rel, "master") && within(r, "agent") {
					t.Errorf("%s imports %s: agent and master know each other only by spec/wire", rel, r)
				}
			}
			if rel == "spec" && strings.Contains(strings.Split(imported, "/")[0], ".") {
				t.Errorf("spec imports %s: the nouns need the standard library only", imported)
			}
			for dependency, folders := range onlyImporter {
				if within(imported, dependency) && !slices.ContainsFunc(folders, func(f string) bool { return within(rel, f) }) {
					t.Errorf("%s imports %s: only %s may", rel, imported, strings.Join(folders, " and "))
				}
			}
		}
	}
}

// forbidden in the pure packages, with what to do instead.
var forbidden = map[string]string{
	"sync": "one caller owns each core", "sync/atomic": "one caller owns each core", "context": "nothing here waits",
	"math/rand": "use the input's seed", "math/rand/v2": "use the input's seed", "crypto/rand": "use the input's seed",
	"log": "the report is the log", "log/slog": "the report is the log", "os": "values come in, values go out",
	"net": "values come in, values go out", "net/http": "values come in, values go out", "os/exec": "values come in, values go out",
	"path/filepath": "slash-separated paths only (package path)", "runtime": "results may not depend on the machine",
}

func isPure(rel string) bool {
	if within(rel, "spec/hcl") || within(rel, "spec/wire") {
		return false
	}
	return slices.ContainsFunc(pure, func(f string) bool { return within(rel, f) })
}

func TestTheCoreIsPure(t *testing.T) {
	for _, p := range load(t) {
		_, rel := layerOf(p.PkgPath)
		if !isPure(rel) {
			continue
		}
		for imported := range p.Imports {
			if why, bad := forbidden[imported]; bad {
				t.Errorf("%s imports %s: %s", rel, imported, why)
			}
		}
		for _, file := range p.Syntax {
			explained := explainedLines(p, file)
			ast.Inspect(file, func(n ast.Node) bool {
				if n == nil {
					return false
				}
				at := p.Fset.Position(n.Pos())
				switch n := n.(type) {
				case *ast.RangeStmt:
					if _, isMap := p.TypesInfo.TypeOf(n.X).Underlying().(*types.Map); isMap && !explained[at.Line] {
						t.Errorf("%s: a map has no order: range over slices.Sorted(maps.Keys(…)), or say in a comment \"any order: why\"", at)
					}
				case *ast.SelectorExpr:
					if f, ok := p.TypesInfo.Uses[n.Sel].(*types.Func); ok && f.Pkg() != nil && f.Pkg().Path() == "time" &&
						slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "NewTimer", "NewTicker", "AfterFunc", "Tick"}, f.Name()) &&
						f.Signature().Recv() == nil {
						t.Errorf("%s: time.%s: time is part of the input", at, f.Name())
					}
				}
				return true
			})
		}
	}
}

// The language has no goroutines either: the race detector has nothing to look for below the daemons, and the slow lane
// that runs it leaves these folders out.
func TestTheCoreHasNoGoroutines(t *testing.T) {
	for _, p := range load(t) {
		_, rel := layerOf(p.PkgPath)
		if within(rel, "spec/wire") || !slices.ContainsFunc(pure, func(f string) bool { return within(rel, f) }) {
			continue
		}
		for imported := range p.Imports {
			if imported == "sync" || imported == "sync/atomic" {
				t.Errorf("%s imports %s: %s", rel, imported, forbidden[imported])
			}
		}
		for _, file := range p.Syntax {
			ast.Inspect(file, func(n ast.Node) bool {
				switch n.(type) {
				case *ast.GoStmt, *ast.SelectStmt, *ast.SendStmt, *ast.ChanType:
					t.Errorf("%s: no goroutines and channels in the core", p.Fset.Position(n.Pos()))
				}
				return true
			})
		}
	}
}

// explainedLines returns the lines whose comment, on them or just above, says that any order will do.
func explainedLines(p *packages.Package, file *ast.File) map[int]bool {
	lines := map[int]bool{}
	for _, group := range file.Comments {
		if strings.Contains(strings.ToLower(group.Text()), "any order") {
			lines[p.Fset.Position(group.Pos()).Line] = true
			lines[p.Fset.Position(group.End()).Line+1] = true
		}
	}
	return lines
}

func TestEverythingExportedIsDocumented(t *testing.T) {
	for _, p := range load(t) {
		documented := false
		for _, file := range p.Syntax {
			documented = documented || file.Doc != nil
			if ast.IsGenerated(file) || p.Name == "main" {
				continue
			}
			for _, d := range file.Decls {
				for _, name := range undocumented(d) {
					t.Errorf("%s: %s has no comment", p.Fset.Position(d.Pos()), name)
				}
			}
		}
		if !documented && len(p.Syntax) > 0 {
			t.Errorf("%s has no package comment", p.PkgPath)
		}
	}
}

func undocumented(d ast.Decl) (names []string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) && !conventional[d.Name.Name] {
			names = append(names, d.Name.Name)
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
					names = append(names, s.Name.Name)
				}
			case *ast.ValueSpec:
				for _, n := range s.Names {
					if n.IsExported() && s.Doc == nil && s.Comment == nil && d.Doc == nil {
						names = append(names, n.Name)
					}
				}
			}
		}
	}
	return names
}

// conventional methods say all by their name: they implement an interface of the standard library.
var conventional = map[string]bool{"String": true, "Error": true, "Unwrap": true, "Len": true, "Less": true, "Swap": true, "Push": true, "Pop": true,
	"Read": true, "Write": true, "Close": true, "MarshalJSON": true, "UnmarshalJSON": true, "MarshalText": true, "UnmarshalText": true}

func receiver(d *ast.FuncDecl) string {
	e := d.Recv.List[0].Type
	for {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// tracked returns the files that Git tracks, or every file of the tree where this is no checkout.
func tracked(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Skipf("this is no Git checkout: %v", err)
	}
	files := slices.DeleteFunc(strings.Split(strings.TrimRight(string(out), "\x00"), "\x00"), func(f string) bool {
		info, err := os.Lstat(f)
		return err != nil || !info.Mode().IsRegular()
	})
	return files
}

func TestGoFilesAreFormatted(t *testing.T) {
	for _, f := range tracked(t) {
		if filepath.Ext(f) != ".go" {
			continue
		}
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if want, err := format.Source(src); err != nil || !bytes.Equal(src, want) {
			t.Errorf("%s is not formatted: run gofmt -w %s (%v)", f, f, err)
		}
	}
}

func TestVet(t *testing.T) {
	if out, err := exec.Command("go", "vet", "./...").CombinedOutput(); err != nil {
		t.Errorf("go vet: %v\n%s", err, out)
	}
}

// unfinished matches words that a finished tree does not contain. The brackets keep this line from matching itself.
var unfinished = regexp.MustCompile(`\b(T[O]DO|F[I]XME|X[X]X)\b|not (yet )?im[p]lemented`)

func TestNothingIsMarkedUnfinished(t *testing.T) {
	for _, f := range tracked(t) {
		if ext := filepath.Ext(f); ext != ".go" && ext != ".md" && ext != ".hcl" || strings.HasSuffix(f, ".pb.go") {
			continue
		}
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(src), "\n") {
			if unfinished.MatchString(line) {
				t.Errorf("%s:%d: %s", f, i+1, strings.TrimSpace(line))
			}
		}
	}
}

func TestEveryDependencyHasItsDecision(t *testing.T) {
	src, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := modfile.Parse("go.mod", src, nil)
	if err != nil {
		t.Fatal(err)
	}
	record, err := os.ReadFile("docs/decisions/0001-dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range mod.Require {
		if !r.Indirect && !bytes.Contains(record, []byte("`"+r.Mod.Path+"`")) {
			t.Errorf("%s has no line in docs/decisions/0001-dependencies.md", r.Mod.Path)
		}
	}
	for _, line := range strings.Split(string(record), "\n") {
		name, ok := strings.CutPrefix(line, "| `")
		name, _, _ = strings.Cut(name, "`")
		if ok && !slices.ContainsFunc(mod.Require, func(r *modfile.Require) bool { return !r.Indirect && r.Mod.Path == name }) {
			t.Errorf("docs/decisions/0001-dependencies.md has a line for %s, which is no direct dependency", name)
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)

func TestLinksInTheDocumentationLeadSomewhere(t *testing.T) {
	for _, f := range tracked(t) {
		if filepath.Ext(f) != ".md" {
			continue
		}
		src, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(src), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(f), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", f, m[1])
			}
		}
	}
}
