package git

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// special adds to a work tree what is not a plain file, and commits it.
func special(t *testing.T, dir string) string {
	t.Helper()
	link := func(target, name string) {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	commit(t, dir, "apps/shop/web.hcl", "web")
	commit(t, dir, "apps-old", "sorts between apps and apps/ in Git")
	link("apps/shop", "current")
	link("shop/../shop/web.hcl", "apps/web.hcl")
	if err := os.WriteFile(filepath.Join(dir, "run.sh"), []byte("#!"), 0o755); err != nil {
		t.Fatal(err)
	}
	return commit(t, dir, "empty", "")
}

func TestTree(t *testing.T) {
	dir := newRepo(t)
	h := special(t, dir)
	for _, packed := range []bool{false, true} {
		if packed {
			git(t, dir, "gc", "-q")
		}
		tree, err := open(t, Config{URL: dir}).Tree(h)
		if err != nil {
			t.Fatal(err)
		}
		if err := fstest.TestFS(tree, "a.hcl", "apps/shop/web.hcl", "apps/web.hcl", "apps-old", "current", "run.sh", "empty"); err != nil {
			t.Error(err)
		}
		for name, want := range map[string]string{"current/web.hcl": "web", "apps/web.hcl": "web", "empty": ""} {
			if b, err := fs.ReadFile(tree, name); err != nil || string(b) != want {
				t.Errorf("%s is %q, %v", name, b, err)
			}
		}
		if target, err := fs.ReadLink(tree, "current"); err != nil || target != "apps/shop" {
			t.Errorf("link leads to %q, %v", target, err)
		}
		if i, err := fs.Stat(tree, "run.sh"); err != nil || i.Mode()&0o111 == 0 || i.Size() != 2 {
			t.Errorf("run.sh: %v, %v", i, err)
		}
		i, err := fs.Stat(tree, "apps/shop/web.hcl")
		if err != nil || i.Size() != 3 || string(i.Sys().(Blob)) != git(t, dir, "rev-parse", h+":apps/shop/web.hcl") {
			t.Errorf("web.hcl: %v, %v", i, err)
		}
		if i.ModTime().Format(time.RFC3339) != git(t, dir, "log", "-1", "--format=%cI", h) && !i.ModTime().UTC().Equal(i.ModTime()) {
			t.Errorf("time %v", i.ModTime())
		}
	}
}

func TestTreeRefusesToLeave(t *testing.T) {
	dir := newRepo(t)
	for name, target := range map[string]string{"up": "../x", "root": "/etc/passwd", "loop": "loop", "dangling": "nothing"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	git(t, dir, "update-index", "--add", "--cacheinfo", "160000,"+git(t, dir, "rev-parse", "HEAD")+",sub")
	git(t, dir, "add", "up", "root", "loop", "dangling")
	git(t, dir, "commit", "-q", "-m", "links")
	h := git(t, dir, "rev-parse", "HEAD")
	tree, err := open(t, Config{URL: dir}).Tree(h)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"up": "out of the repository", "root": "out of the repository", "loop": "too many links", "dangling": "not exist",
		"sub": "submodule", "sub/x": "submodule", "../x": "invalid",
	} {
		if b, err := fs.ReadFile(tree, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	entries, err := fs.ReadDir(tree, ".")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "sub" })
	if i < 0 || entries[i].Type() != fs.ModeIrregular {
		t.Errorf("submodule in %v", entries)
	}
}

func TestTreeDamaged(t *testing.T) {
	dir := newRepo(t)
	h := git(t, dir, "rev-parse", "HEAD")
	blob := git(t, dir, "rev-parse", "HEAD:a.hcl")
	path := filepath.Join(dir, ".git", "objects", blob[:2], blob[2:])
	other := git(t, dir, "rev-parse", "HEAD^{tree}")
	b, err := os.ReadFile(filepath.Join(dir, ".git", "objects", other[:2], other[2:]))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, b, 0o444)); err != nil {
		t.Fatal(err)
	}
	tree, err := open(t, Config{URL: dir}).Tree(h)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := fs.ReadFile(tree, "a.hcl"); err == nil {
		t.Errorf("read %q from a broken object", b)
	}
}

func TestResolve(t *testing.T) {
	dir := newRepo(t)
	one := git(t, dir, "rev-parse", "HEAD")
	git(t, dir, "tag", "light")
	git(t, dir, "tag", "-a", "-m", "a tag", "v1")
	git(t, dir, "branch", "team/x")
	two := commit(t, dir, "a.hcl", "two")
	r := open(t, Config{URL: dir})
	for _, packed := range []bool{false, true} {
		if packed {
			git(t, dir, "gc", "-q")
		}
		for ref, want := range map[string]string{
			"main": two, "HEAD": two, two: two, two[:7]: two, strings.ToUpper(two[:9]): two, "refs/heads/main": two,
			"light": one, "v1": one, "team/x": one, one[:12]: one,
		} {
			if c, err := r.Resolve(t.Context(), ref); err != nil || c.Hash != want {
				t.Errorf("%s is %s, %v", ref, c.Hash, err)
			}
		}
		for _, ref := range []string{"nothing", "", "../x", two[:3], "0000000", strings.Repeat("0", 40), git(t, dir, "rev-parse", "HEAD^{tree}"), "a b"} {
			if c, err := r.Resolve(t.Context(), ref); KindOf(err) != NoRevision {
				t.Errorf("%q is %v, %v", ref, c, err)
			}
		}
	}
}

// The git program is the second implementation.
func TestHistory(t *testing.T) {
	dir := newRepo(t)
	git(t, dir, "checkout", "-q", "-b", "side")
	for i := range 5 {
		commit(t, dir, fmt.Sprintf("side%d", i), "x")
	}
	git(t, dir, "checkout", "-q", "main")
	for i := range 3 {
		commit(t, dir, fmt.Sprintf("main%d", i), "x")
	}
	git(t, dir, "merge", "-q", "--no-edit", "side~2")
	commit(t, dir, "last", "x")
	r := open(t, Config{URL: dir})
	all := strings.Fields(git(t, dir, "rev-list", "--all"))
	for _, from := range all {
		for _, to := range all {
			ahead, behind, err := r.Distance(from, to)
			want := strings.Fields(git(t, dir, "rev-list", "--left-right", "--count", from+"..."+to))
			if err != nil || strconv.Itoa(behind) != want[0] || strconv.Itoa(ahead) != want[1] {
				t.Errorf("from %s to %s: %d ahead, %d behind, %v; git says %v", from, to, ahead, behind, err, want)
			}
		}
	}
	head := git(t, dir, "rev-parse", "main")
	log, err := r.Log(head, 100)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range log {
		got = append(got, c.Hash)
	}
	want := strings.Fields(git(t, dir, "rev-list", "main"))
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("log %v, git says %v", got, want)
	}
	if log, err = r.Log(head, 2); err != nil || len(log) != 2 || log[0].Hash != head {
		t.Errorf("two of the log: %v, %v", log, err)
	}
	if _, _, err := r.Distance(head, strings.Repeat("1", 40)); KindOf(err) != Damaged {
		t.Errorf("distance to nowhere: %v", err)
	}
}

func BenchmarkReadTree(b *testing.B) {
	dir := newRepo(b)
	for i := range 1000 {
		name := filepath.Join(dir, "apps", fmt.Sprint(i%10), fmt.Sprintf("%d.hcl", i))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(strings.Repeat(name, 10)), 0o644)); err != nil {
			b.Fatal(err)
		}
	}
	h := commit(b, dir, "last", "x")
	git(b, dir, "gc", "-q")
	r := open(b, Config{URL: dir})
	for b.Loop() {
		tree, err := r.Tree(h)
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		err = fs.WalkDir(tree, ".", func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() {
				n++
				_, err = fs.ReadFile(tree, path)
			}
			return err
		})
		if err != nil || n != 1002 {
			b.Fatal(n, err)
		}
	}
}
