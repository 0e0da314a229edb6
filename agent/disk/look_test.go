package disk

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// empty makes files that hold nothing.
func empty(t *testing.T, dir string, files int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range files {
		if err := unix.Mknod(filepath.Join(dir, fmt.Sprint("f", i)), unix.S_IFREG|0o600, 0); err != nil {
			t.Fatal(err)
		}
	}
}

// A disk has as many files as a file system of its size would have, and one that is used up by files is used up.
func TestFilesAreHeld(t *testing.T) {
	dir := t.TempDir()
	l := measured(dir)
	many, few := filepath.Join(dir, "many"), filepath.Join(dir, "few")
	empty(t, many, minFiles)
	empty(t, few, minFiles-10)
	for _, path := range []string{many, few} {
		if err := l.Set(path, 2<<20, true); err != nil {
			t.Fatal(err)
		}
	}
	over := look(t, l, time.Now(), 0)
	if len(over) != 1 || over[0].Folder != many || over[0].Limit.Files != minFiles || over[0].Used.Files != minFiles+1 {
		t.Fatalf("over: %+v", over)
	}
	if !l.Full(many) || l.Full(few) {
		t.Errorf("full: %v and %v", l.Full(many), l.Full(few))
	}
	// Another file may have been made there when as many were in the file system as it has left.
	if got := paths(l.due(time.Now().Add(time.Second), Amount{Files: 8})); got != fmt.Sprint([]string{many}) {
		t.Errorf("8 files more: %s", got)
	}
	if got := paths(l.due(time.Now().Add(time.Second), Amount{Files: 10})); got != fmt.Sprint([]string{few, many}) {
		t.Errorf("10 files more: %s", got)
	}
	l.Emptied(many)
	if l.Full(many) {
		t.Error("full after it was emptied")
	}
	limit, err := l.limit(1 << 40)
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	share := int64(float64(1<<40) / float64(int64(s.Blocks)*s.Bsize) * float64(s.Files))
	if err != nil || limit.Files > 1<<40/fileBytes || s.Files > 0 && limit.Files > share*11/10 {
		t.Errorf("%d files in a TiB, of a file system where that would be %d: %v", limit.Files, share, err)
	}
}

// A folder with many names is looked at beside the others: they are not kept waiting, neither by its walk nor by the pause after it.
func TestAHeavyFolderKeepsNobodyWaiting(t *testing.T) {
	dir := t.TempDir()
	heavy, light := filepath.Join(dir, "heavy"), filepath.Join(dir, "light")
	const most = 600 // more than a walk looks up at once
	empty(t, heavy, most+1)
	empty(t, light, 3)
	l := measured(dir)
	l.light = most
	for path, limit := range map[string]int64{heavy: 1 << 40, light: 1 << 20} {
		if err := l.Set(path, limit, true); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	if over := look(t, l, now, 0); len(over) != 0 {
		t.Fatalf("over: %+v", over)
	}
	if f := l.folders[heavy]; !f.heavy || l.folders[light].heavy {
		t.Fatal("the heavy folder is taken for a light one, or the light one for a heavy one")
	}
	if got := paths(l.due(now.Add(time.Hour), Amount{})); got != fmt.Sprint([]string{light}) {
		t.Errorf("the light lane has %s", got)
	}
	due := l.dueHeavy(now.Add(time.Minute), Amount{})
	if paths(due) != fmt.Sprint([]string{heavy}) || len(l.dueHeavy(now.Add(time.Hour), Amount{})) != 0 {
		t.Fatalf("the heavy lane has %s, and the same again while it is walked through", paths(due))
	}
	// While another has the turn it waits, and the light lane goes on.
	l.turn <- struct{}{}
	done := make(chan struct{})
	go func() {
		l.lookHeavy(t.Context(), due[0], now, Amount{}, func(o Over) { t.Errorf("over: %+v", o) })
		close(done)
	}()
	write(t, filepath.Join(light, "large"), 2<<20)
	if over := look(t, l, now.Add(time.Minute), 0); len(over) != 1 || over[0].Folder != light {
		t.Errorf("over meanwhile: %+v", over)
	}
	<-l.turn
	<-done
	f := l.folders[heavy]
	if f.walking || !f.heavy || f.used.Files != most+2 || f.cost <= 0 {
		t.Errorf("after the walk: %+v", f)
	}
	// A long look costs its own folder a long wait, and no other.
	l.mu.Lock()
	f.cost, l.folders[light].cost = 10*time.Second, time.Millisecond
	l.mu.Unlock()
	if got := l.dueHeavy(f.ended.Add(203*time.Second), Amount{}); len(got) != 0 {
		t.Errorf("looked at again too soon: %s", paths(got))
	}
	if got := paths(l.due(f.ended.Add(time.Second), Amount{})); got != fmt.Sprint([]string{light}) {
		t.Errorf("the light lane waits too: %s", got)
	}
	if got := l.dueHeavy(f.ended.Add(205*time.Second), Amount{}); len(got) != 1 {
		t.Errorf("not looked at again: %s", paths(got))
	}
}

// What a look finds that was begun before a folder was emptied does not count, and one that is cut short says nothing.
func TestALookOfEarlierDoesNotCount(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "one")
	write(t, filepath.Join(path, "large"), 2<<20)
	l := measured(dir)
	if err := l.Set(path, 1<<20, true); err != nil {
		t.Fatal(err)
	}
	old := l.folders[path]
	l.Emptied(path)
	if over, is := l.looked(old, time.Now(), 0, Amount{}, Amount{Bytes: 2 << 20}, nil); is || l.Full(path) {
		t.Errorf("over: %+v", over)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if over, is := l.looked(l.folders[path], time.Now(), 0, Amount{}, Amount{Bytes: 2 << 20}, fmt.Errorf("measure: %w", ctx.Err())); is || l.Full(path) {
		t.Errorf("over: %+v", over)
	}
}

// All walks together keep to their share, and who takes little has what he needs.
func TestAllowance(t *testing.T) {
	const ms = time.Millisecond
	for _, test := range []struct {
		costs []time.Duration
		want  time.Duration
	}{
		{nil, lookEvery}, {[]time.Duration{ms, 2 * ms}, lookEvery}, {[]time.Duration{100 * ms}, 50 * ms}, {[]time.Duration{10 * time.Second, 100 * time.Second}, 25 * ms},
		{[]time.Duration{10 * time.Second, 5 * ms, 5 * ms}, 40 * ms}, {[]time.Duration{30 * ms, 10 * ms, 30 * ms}, 20 * ms},
	} {
		each := allowance(test.costs)
		if each != test.want {
			t.Errorf("%v: %v each, want %v", test.costs, each, test.want)
		}
		var sum float64
		for _, cost := range test.costs {
			sum += float64(cost) / float64(max(lookEvery, pause(cost, each)))
		}
		if sum > 1.0/share+1e-9 {
			t.Errorf("%v: together %f of a processor", test.costs, sum)
		}
	}
}
