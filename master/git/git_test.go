package git

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen; it decides only how late a failure is seen.
const patience = 2 * time.Minute

// git runs the git program in dir and returns what it printed.
func git(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// newRepo makes a repository with one commit on main.
func newRepo(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	git(t, dir, "init", "-q", "-b", "main")
	commit(t, dir, "a.hcl", "one")
	return dir
}

// commit writes a file, commits it, and returns the commit's hash.
func commit(t testing.TB, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	git(t, dir, "add", "-A")
	git(t, dir, "commit", "-q", "--allow-empty", "-m", "set "+name+" to "+content)
	return git(t, dir, "rev-parse", "HEAD")
}

func open(t testing.TB, c Config) *Repo {
	t.Helper()
	r, err := Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// follow follows a repository until the test ends.
func follow(t testing.TB, r *Repo) <-chan Head {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	heads := make(chan Head, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Follow(ctx, func(h Head) error { heads <- h; return nil })
	}()
	t.Cleanup(func() { cancel(); <-done })
	return heads
}

// expect waits for a head without an error at a commit.
func expect(t testing.TB, heads <-chan Head, hash string) Head {
	t.Helper()
	return await(t, heads, "commit "+hash, func(h Head) bool { return h.Err == nil && h.Commit.Hash == hash })
}

// expectKind waits for a head with an error of a kind.
func expectKind(t testing.TB, heads <-chan Head, kind Kind) Head {
	t.Helper()
	return await(t, heads, "error "+string(kind), func(h Head) bool { return KindOf(h.Err) == kind })
}

func await(t testing.TB, heads <-chan Head, what string, ok func(Head) bool) Head {
	t.Helper()
	timeout := time.After(patience)
	var last Head
	for {
		select {
		case h := <-heads:
			if last = h; ok(h) {
				return h
			}
		case <-timeout:
			t.Fatalf("no %s; the last was %+v", what, last)
		}
	}
}

func readTree(t testing.TB, r *Repo, hash, name string) string {
	t.Helper()
	tree, err := r.Tree(hash)
	if err != nil {
		t.Fatal(err)
	}
	b, err := fs.ReadFile(tree, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFollowLocal(t *testing.T) {
	layouts := map[string]func(t *testing.T) (url, work string){
		"work tree": func(t *testing.T) (string, string) { d := newRepo(t); return d, d },
		"file url":  func(t *testing.T) (string, string) { d := newRepo(t); return "file://" + d, d },
		"git dir":   func(t *testing.T) (string, string) { d := newRepo(t); return filepath.Join(d, ".git"), d },
		"linked work tree": func(t *testing.T) (string, string) {
			d := newRepo(t)
			linked := filepath.Join(t.TempDir(), "linked")
			git(t, d, "worktree", "add", "-q", "-b", "other", linked)
			return linked, d
		},
	}
	for name, layout := range layouts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, work := layout(t)
			r := open(t, Config{URL: url, Branch: "main", Poll: time.Hour}) // watching alone must do
			heads := follow(t, r)
			expect(t, heads, git(t, work, "rev-parse", "main"))
			for i := range 3 {
				h := commit(t, work, "a.hcl", fmt.Sprint("content ", i))
				head := expect(t, heads, h)
				if c := head.Commit; c.Short != h[:8] || c.Subject != fmt.Sprintf("set a.hcl to content %d", i) || c.Author != "Ada <ada@example.org>" || len(c.Parents) != 1 || head.Contact.IsZero() {
					t.Errorf("told %+v", head)
				}
				if got := readTree(t, r, h, "a.hcl"); got != fmt.Sprint("content ", i) {
					t.Errorf("a.hcl is %q", got)
				}
			}
			git(t, work, "pack-refs", "--all")
			git(t, work, "gc", "-q")
			expect(t, heads, commit(t, work, "b.hcl", "after gc"))
			git(t, work, "reset", "-q", "--hard", "HEAD~2")
			expect(t, heads, git(t, work, "rev-parse", "HEAD"))
		})
	}
}

func TestFollowBareWithPushes(t *testing.T) {
	work := newRepo(t)
	bare := filepath.Join(t.TempDir(), "bare.git")
	git(t, work, "clone", "-q", "--bare", work, bare)
	git(t, work, "remote", "add", "origin", bare)
	r := open(t, Config{URL: bare, Branch: "team/shop/live", Poll: time.Hour})
	heads := follow(t, r)
	head := expectKind(t, heads, NoBranch)
	if !strings.Contains(head.Err.Error(), "main") {
		t.Errorf("the error does not name the branches there are: %v", head.Err)
	}
	git(t, work, "push", "-q", "origin", "HEAD:team/shop/live")
	expect(t, heads, git(t, work, "rev-parse", "HEAD"))
	h := commit(t, work, "a.hcl", "two")
	git(t, work, "push", "-q", "origin", "HEAD:team/shop/live")
	expect(t, heads, h)

	git(t, work, "push", "-q", "origin", ":team/shop/live")
	head = expectKind(t, heads, NoBranch)
	if head.Commit.Hash != h {
		t.Errorf("the last good commit is gone: %+v", head)
	}
	git(t, work, "push", "-q", "origin", "HEAD~1:refs/heads/team/shop/live")
	expect(t, heads, git(t, work, "rev-parse", "HEAD~1"))
}

func TestFollowWhatIsNotThereYet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "repo")
	r := open(t, Config{URL: dir})
	heads := follow(t, r)
	expectKind(t, heads, Missing)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	git(t, dir, "init", "-q", "-b", "trunk")
	expectKind(t, heads, Empty)
	expect(t, heads, commit(t, dir, "a.hcl", "one"))
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	expectKind(t, heads, Missing)
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	expect(t, heads, git(t, dir, "rev-parse", "HEAD"))
	expect(t, heads, commit(t, dir, "a.hcl", "two"))
}

func TestFollowUnsupported(t *testing.T) {
	for key, value := range map[string]string{"extensions.refstorage": "reftable", "extensions.objectformat": "sha256"} {
		dir := newRepo(t)
		heads := follow(t, open(t, Config{URL: dir}))
		expect(t, heads, git(t, dir, "rev-parse", "HEAD"))
		git(t, dir, "config", key, value)
		fresh := follow(t, open(t, Config{URL: dir}))
		if h := expectKind(t, fresh, Unsupported); !strings.Contains(h.Err.Error(), value) && !strings.Contains(h.Err.Error(), "git init") {
			t.Errorf("%v", h.Err)
		}
		git(t, dir, "config", "--file", ".git/config", "--unset", key)
		expect(t, fresh, git(t, dir, "rev-parse", "HEAD"))
	}
}

// A copy that writes the branch before the objects: first there is nothing wrong yet, then there is, then it gets well.
func TestFollowObjectsComeLate(t *testing.T) {
	dir := newRepo(t)
	heads := follow(t, open(t, Config{URL: dir, Branch: "main"}))
	expect(t, heads, git(t, dir, "rev-parse", "HEAD"))
	git(t, dir, "checkout", "-q", "-b", "side")
	h := commit(t, dir, "a.hcl", "late")
	object := filepath.Join(dir, ".git", "objects", h[:2], h[2:])
	if err := os.Rename(object, object+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".git", "refs", "heads", "main"), []byte(h+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	expectKind(t, heads, Damaged)
	if err := os.Rename(object+".away", object); err != nil {
		t.Fatal(err)
	}
	expect(t, heads, h)
}

func TestFollowEndsWithItsFunction(t *testing.T) {
	r := open(t, Config{URL: newRepo(t)})
	mine := fmt.Errorf("mine")
	if err := r.Follow(t.Context(), func(Head) error { return mine }); err != mine {
		t.Errorf("got %v", err)
	}
}

func TestAddresses(t *testing.T) {
	for url, want := range map[string]string{
		"https://user:secret@example.org/x.git": "https://example.org/x.git",
		"ssh://git:secret@example.org/x.git":    "ssh://git@example.org/x.git",
		"git@example.org:x.git":                 "git@example.org:x.git",
	} {
		r := &Repo{config: Config{URL: url}}
		if err := r.address(); err != nil || !r.remote || r.where != want {
			t.Errorf("%s: %v, remote %v, shown as %s", url, err, r.remote, r.where)
		}
	}
	for url, kind := range map[string]Kind{"git://example.org/x": Unsupported, "https://example.org/x": Failed} {
		if _, err := Open(t.Context(), Config{URL: url}); KindOf(err) != kind {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func BenchmarkFollowLocal(b *testing.B) {
	dir := newRepo(b)
	r := open(b, Config{URL: dir, Branch: "main"})
	heads := follow(b, r)
	a := git(b, dir, "rev-parse", "HEAD")
	c := commit(b, dir, "a.hcl", "two")
	expect(b, heads, c)
	ref := filepath.Join(dir, ".git", "refs", "heads", "main")
	next := [2]string{a, c}
	b.ResetTimer()
	for i := range b.N { // as git does it: lock file, rename
		if err := os.WriteFile(ref+".lock", []byte(next[i%2]+"\n"), 0o644); err != nil {
			b.Fatal(err)
		}
		if err := os.Rename(ref+".lock", ref); err != nil {
			b.Fatal(err)
		}
		expect(b, heads, next[i%2])
	}
}
