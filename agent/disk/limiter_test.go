package disk

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func write(t *testing.T, path string, size int) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
}

// measure looks at a folder whatever it holds.
func measure(folder string) (int64, error) {
	w := walk{limit: math.MaxInt64, pause: func() error { return nil }}
	used, err := w.measure(folder)
	return used.Bytes, err
}

func measured(dir string) *Limiter {
	return &Limiter{root: dir, log: slog.New(slog.DiscardHandler), light: lightNames, folders: map[string]*folder{}, turn: make(chan struct{}, 1)}
}

// look is one look of the light lane, which took no time, however slow the machine is.
func look(t *testing.T, l *Limiter, now time.Time, inUse int64) (all []Over) {
	t.Helper()
	l.lookLight(t.Context(), now, Amount{Bytes: inUse}, func(o Over) { all = append(all, o) })
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.folders {
		f.cost = 0
	}
	return all
}

func paths(folders []*folder) string {
	all := []string{}
	for _, f := range folders {
		all = append(all, f.path)
	}
	slices.Sort(all)
	return fmt.Sprint(all)
}

func TestMeasure(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write(t, filepath.Join(outside, "large"), 8<<20)
	base, err := measure(dir)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "a/b/file"), 1<<20)
	for _, err := range []error{
		os.Link(filepath.Join(dir, "a/b/file"), filepath.Join(dir, "again")),
		os.Symlink(outside, filepath.Join(dir, "out")), os.Symlink(dir, filepath.Join(dir, "circle")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	if err := sparse.Truncate(1 << 30); err != nil {
		t.Fatal(err)
	}
	sparse.Close()
	got, err := measure(dir)
	if err != nil || got-base < 1<<20 || got-base > 1<<20+64<<10 {
		t.Errorf("%d bytes beyond the %d of an empty folder, %v: want one MiB and some folders", got-base, base, err)
	}
	if _, err := measure(filepath.Join(dir, "out")); err == nil {
		t.Error("a link is measured as the folder that it leads to")
	}
}

// Nobody hides what he writes where a walk does not go.
func TestDeepFoldersCountAsTooMuch(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range maxDepth + 2 {
		if err := unix.Mkdirat(fd, "d", 0o755); err != nil {
			t.Fatal(err)
		}
		inner, err := unix.Openat(fd, "d", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		unix.Close(fd)
		if err != nil {
			t.Fatal(err)
		}
		fd = inner
	}
	unix.Close(fd)
	l := measured(dir)
	if err := l.Set(dir, 1<<40, true); err != nil {
		t.Fatal(err)
	}
	if over := look(t, l, time.Now(), 0); len(over) != 1 {
		t.Errorf("over: %v", over)
	}
}

// A folder is measured when it may have grown beyond its limit, when it has not been for long, and not otherwise.
func TestLooksOnlyWhenThereIsAReason(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	write(t, filepath.Join(one, "x"), 100<<10)
	write(t, filepath.Join(two, "x"), 100<<10)
	l := measured(dir)
	for path, limit := range map[string]int64{one: 1 << 20, two: 10 << 20, filepath.Join(dir, "none"): 1 << 20} {
		if err := l.Set(path, limit, true); err != nil {
			t.Fatal(err)
		}
	}
	now, base := time.Now(), int64(1<<30)
	due := func(after time.Duration, grown int64) string {
		return paths(l.due(now.Add(after), Amount{Bytes: base + grown}))
	}
	if over := look(t, l, now, base); len(over) != 0 {
		t.Fatalf("at the beginning: %v", over)
	}
	// The folder that is not there is looked for each time: it may come.
	none := filepath.Join(dir, "none")
	for name, test := range map[string]struct {
		after time.Duration
		grown int64
		want  []string
	}{
		"nothing": {time.Second, 0, []string{none}}, "little": {time.Second, 500 << 10, []string{none}}, "as much as one may": {time.Second, 930 << 10, []string{none, one}},
		"much": {time.Second, 11 << 20, []string{none, one, two}}, "shrunk": {time.Second, -1 << 20, []string{none}}, "a minute": {time.Minute, 0, []string{none, one, two}},
	} {
		if got := due(test.after, test.grown); got != fmt.Sprint(test.want) {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
	write(t, filepath.Join(one, "y"), 1<<20)
	over := look(t, l, now.Add(time.Second), base+1<<20)
	if len(over) != 1 || over[0].Folder != one || over[0].Limit.Bytes != 1<<20 || over[0].Used.Bytes < 1<<20+100<<10 {
		t.Fatalf("over: %v", over)
	}
	// Too much is too much with each look, until it is gone.
	if over := look(t, l, now.Add(2*time.Second), base+1<<20); len(over) != 1 {
		t.Errorf("again: %v", over)
	}
	if err := os.Remove(filepath.Join(one, "y")); err != nil {
		t.Fatal(err)
	}
	if over := look(t, l, now.Add(3*time.Second), base); len(over) != 0 {
		t.Errorf("after it was removed: %v", over)
	}
	l.Forget(one)
	if got := due(time.Hour, 1<<40); got != fmt.Sprint([]string{none, two}) {
		t.Errorf("after it was forgotten: %s", got)
	}
}

// The kernel keeps the limit where the file system lets it: on an ext4 of its own.
func TestProjectQuota(t *testing.T) {
	mounted := quotaFileSystem(t)
	if err := os.Mkdir(filepath.Join(mounted, "allocations"), 0o755); err != nil {
		t.Fatal(err)
	}
	l := Open(filepath.Join(mounted, "allocations"), slog.New(slog.DiscardHandler))
	if !l.Kernel() {
		t.Fatal("project quotas are not found")
	}
	one, two := filepath.Join(mounted, "allocations/a/one"), filepath.Join(mounted, "allocations/a/two")
	write(t, filepath.Join(one, "root/before"), 100<<10)
	write(t, filepath.Join(two, "root/before"), 100<<10)
	for path, limit := range map[string]int64{one: 1 << 20, two: 4 << 20} {
		if err := l.Set(path, limit, true); err != nil {
			t.Fatal(err)
		}
	}
	fill := asTask
	if err := fill(filepath.Join(one, "root/small"), 500<<10); err != nil {
		t.Errorf("within the limit: %v", err)
	}
	if err := fill(filepath.Join(one, "root/large"), 1<<20); !isQuota(err) {
		t.Errorf("beyond the limit: %v", err)
	}
	if err := fill(filepath.Join(two, "root/large"), 2<<20); err != nil {
		t.Errorf("the other folder: %v", err)
	}
	// The files are held too, those that hold nothing.
	var err error
	made := 0
	for ; made < 2*minFiles && err == nil; made++ {
		err = fill(filepath.Join(two, "root", fmt.Sprint("empty", made)), 0)
	}
	if !isQuota(err) || made > minFiles || made < minFiles-20 {
		t.Errorf("%d empty files in a disk that may have %d: %v", made, minFiles, err)
	}
	if !l.Full(one) || !l.Full(two) {
		t.Errorf("full: %v of bytes, %v of files", l.Full(one), l.Full(two))
	}
	// What was there before counts, and moving in place works.
	if err := os.Mkdir(filepath.Join(one, "root.work"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(one, "root/small"), filepath.Join(one, "root.work/small")); err != nil {
		t.Errorf("move within a project: %v", err)
	}
	// The next agent finds the projects, raises a limit, and gives nobody's number away.
	again := Open(filepath.Join(mounted, "allocations"), slog.New(slog.DiscardHandler))
	if err := again.Set(one, 8<<20, true); err != nil {
		t.Fatal(err)
	}
	if err := fill(filepath.Join(one, "root/large"), 2<<20); err != nil {
		t.Errorf("after the limit was raised: %v", err)
	}
	if again.Full(one) {
		t.Error("full though there is room again")
	}
	three := filepath.Join(mounted, "allocations/b/three")
	write(t, filepath.Join(three, "x"), 1)
	if err := again.Set(three, 1<<20, true); err != nil {
		t.Fatal(err)
	}
	if a, b, c := projectOf(one), projectOf(two), projectOf(three); a == b || b == c || a == c || min(a, b, c) < firstProject {
		t.Errorf("projects %d, %d, %d", a, b, c)
	}
	// Who can leave a project is measured there too.
	loose := filepath.Join(mounted, "allocations/b/loose")
	write(t, filepath.Join(loose, "x"), 1)
	if err := again.Set(loose, 1<<20, false); err != nil {
		t.Fatal(err)
	}
	if err := fill(filepath.Join(loose, "y"), 2<<20); err != nil {
		t.Errorf("one that is measured: %v", err)
	}
	if over := look(t, again, time.Now(), 0); len(over) != 1 || over[0].Folder != loose {
		t.Errorf("measured beside the quotas: %v", over)
	}
	was := projectOf(one)
	removed := again.Forget(one)
	between := filepath.Join(mounted, "allocations/b/between")
	write(t, filepath.Join(between, "x"), 1)
	if err := again.Set(between, 1<<20, true); err != nil || projectOf(between) == was {
		t.Errorf("a project whose files are there is given to another folder: %v", err)
	}
	if err := os.RemoveAll(one); err != nil {
		t.Fatal(err)
	}
	removed()
	four := filepath.Join(mounted, "allocations/b/four")
	write(t, filepath.Join(four, "x"), 1)
	if err := again.Set(four, 2<<20, true); err != nil {
		t.Fatal(err)
	}
	if got := projectOf(four); got != was {
		t.Errorf("the number of a folder that is gone is not given again: %d, want %d", got, was)
	}
	if err := fill(filepath.Join(four, "y"), 3<<20); !isQuota(err) {
		t.Errorf("the new folder of an old number: %v", err)
	}
}
