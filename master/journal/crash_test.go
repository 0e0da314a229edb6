package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary is also the programs that the tests kill.
func TestMain(m *testing.M) {
	switch dir := os.Getenv("JOURNAL_TEST_DIR"); os.Getenv("JOURNAL_TEST_CHILD") {
	case "append":
		exit(appendForever(dir))
	case "limit":
		exit(appendToLimit(dir))
	}
	os.Exit(m.Run())
}

func exit(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func child(t *testing.T, what, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "JOURNAL_TEST_CHILD="+what, "JOURNAL_TEST_DIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	return cmd
}

// small makes segments and snapshots come every few appends, so that a kill meets all of them.
func small(dir string, m Machine) Config {
	return Config{Dir: dir, ID: "a", Machine: m, SegmentBytes: 8 << 10, SnapshotEntries: 30}
}

// appendForever appends numbered entries and says so after each, until it is killed. It begins by saying how many it found.
func appendForever(dir string) error {
	m := &list{}
	j, err := Open(small(dir, m))
	if err != nil {
		return err
	}
	return j.Lead(context.Background(), func(ctx context.Context) error {
		for i, e := range m.all() {
			if n, _, _ := strings.Cut(e, " "); n != strconv.Itoa(i) {
				return fmt.Errorf("entry %d is %q", i, e)
			}
		}
		n := len(m.all())
		fmt.Println("found", n)
		for ; ; n++ {
			if err := j.Append(ctx, fmt.Appendf(nil, "%d %s", n, strings.Repeat("z", n%700))); err != nil {
				return err
			}
			fmt.Println("acknowledged", n)
		}
	})
}

// Nothing acknowledged is lost, nothing is out of order, at whichever moment the process dies.
func TestKilled(t *testing.T) {
	rounds := 50
	if testing.Short() {
		rounds = 8
	}
	dir := t.TempDir()
	acknowledged := -1
	for round := range rounds {
		cmd := child(t, "append", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Killed between nothing and some rotations and snapshots after the first sign of life; some rounds before it.
		life := time.Duration(rand.Int64N(int64(60 * time.Millisecond)))
		kill := func() { cmd.Process.Kill() }
		var timer *time.Timer
		if round%5 == 4 {
			timer = time.AfterFunc(life/2, kill)
		}
		for s := bufio.NewScanner(out); s.Scan(); {
			word, rest, _ := strings.Cut(s.Text(), " ")
			n, _ := strconv.Atoi(rest)
			switch word {
			case "found":
				if n <= acknowledged {
					t.Errorf("round %d: %d entries found, %d was acknowledged", round, n, acknowledged)
				}
				if timer == nil {
					timer = time.AfterFunc(life, kill)
				}
			case "acknowledged":
				if n <= acknowledged {
					t.Errorf("round %d: entry %d acknowledged after %d", round, n, acknowledged)
				}
				acknowledged = n
			default:
				t.Errorf("round %d: %s", round, s.Text())
			}
		}
		if timer != nil {
			timer.Stop()
		}
		kill()
		cmd.Wait()
		if t.Failed() {
			break
		}
	}
	if acknowledged < rounds {
		t.Errorf("only %d entries were acknowledged in %d rounds", acknowledged+1, rounds)
	}
	t.Logf("%d entries in %d rounds", acknowledged+1, rounds)
}

// A kill between sealing a segment and writing that down leaves a log that the library alone would never append to again.
func TestSealedTail(t *testing.T) {
	dir := t.TempDir()
	m := &list{}
	c := Config{Dir: dir, ID: "a", Machine: m, SegmentBytes: 8 << 10}
	j := open(t, c)
	lead(t, j)
	before, err := os.ReadFile(dir + "/log/meta")
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		if err := j.Append(t.Context(), fmt.Appendf(nil, "%d %s", i, strings.Repeat("s", 500))); err != nil {
			t.Fatal(err)
		}
		now, err := os.ReadFile(dir + "/log/meta")
		if err != nil {
			t.Fatal(err)
		}
		if string(now) != string(before) {
			break
		}
		if i > 100 {
			t.Fatal("no segment was sealed")
		}
	}
	want := m.all()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	// The list of segments as it was, and without the segment that it does not know yet. Entries of the new segment, if
	// there are any, would be lost by this: there are none, the election's entry is in the first.
	if err := os.WriteFile(dir+"/log/meta", before, 0o600); err != nil {
		t.Fatal(err)
	}
	c.Machine = &list{}
	j = open(t, c)
	lead(t, j)
	got := c.Machine.(*list).all()
	if len(got) < len(want)-1 {
		t.Fatalf("%d entries, want %d", len(got), len(want))
	}
	if err := j.Append(t.Context(), []byte("more")); err != nil {
		t.Fatal(err)
	}
}

// appendToLimit meets a limit on file sizes in the middle of a segment, raises it, and goes on.
func appendToLimit(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	m := &list{}
	j, err := Open(Config{Dir: dir, ID: "a", Machine: m, SegmentBytes: 256 << 10})
	if err != nil {
		return err
	}
	defer j.Close()
	led := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer func() { cancel(); <-led }()
	go func() {
		led <- j.Lead(ctx, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	}()
	return meetLimit(ctx, j, m, func(limited bool) error {
		var l syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &l); err != nil {
			return err
		}
		if l.Cur = l.Max; limited {
			l.Cur = 100 << 10
		}
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &l)
	})
}

// meetLimit appends until limit(true) bites, checks that it is told as ErrFull, and that after limit(false) appends go on
// and every acknowledged entry is there, in order.
func meetLimit(ctx context.Context, j *Journal, m *list, limit func(bool) error) error {
	var acknowledged []string
	try := func(i int) error {
		e := fmt.Sprintf("%d %s", i, strings.Repeat("l", 4000))
		err := j.Append(ctx, []byte(e))
		if err == nil {
			acknowledged = append(acknowledged, e)
		}
		return err
	}
	// until appends until done says so; there is no leader for a moment after a failed write.
	until := func(what string, done func(error) bool) error {
		var err error
		for end, i := time.Now().Add(20*time.Second), len(acknowledged)*1000; time.Now().Before(end); i++ {
			if err = try(i); done(err) {
				return nil
			}
			if errors.Is(err, ErrNotLeader) {
				time.Sleep(time.Millisecond)
			}
		}
		return fmt.Errorf("%s: the last append ended with %v", what, err)
	}
	if err := until("first append", func(err error) bool { return err == nil }); err != nil {
		return err
	}
	if err := limit(true); err != nil {
		return err
	}
	if err := until("at the limit", func(err error) bool { return errors.Is(err, ErrFull) }); err != nil {
		return err
	}
	if err := limit(false); err != nil {
		return err
	}
	for range 3 {
		if err := until("with room again", func(err error) bool { return err == nil }); err != nil {
			return err
		}
	}
	return inOrder(m.all(), acknowledged)
}

// inOrder checks that all of want are in got, in that order. Others may be in between: those of an unknown fate.
func inOrder(got, want []string) error {
	i := 0
	for _, g := range got {
		if i < len(want) && g == want[i] {
			i++
		}
	}
	if i < len(want) {
		return fmt.Errorf("acknowledged entry %d of %d is missing", i, len(want))
	}
	return nil
}

func TestFileSizeLimit(t *testing.T) {
	out, err := child(t, "limit", t.TempDir()).Output()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// fullDisk mounts a file system of that many bytes, and returns how to fill it and to empty it again.
func fullDisk(t *testing.T, size int) (dir string, limit func(bool) error) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting a small file system needs root")
	}
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	filler := dir + "/filler"
	return dir, func(full bool) error {
		if !full {
			return os.Remove(filler)
		}
		f, err := os.Create(filler)
		if err != nil {
			return err
		}
		defer f.Close()
		for b := make([]byte, 4096); err == nil; {
			_, err = f.Write(b)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return err
		}
		return nil
	}
}

func TestFullDisk(t *testing.T) {
	for name, free := range map[string]int64{"noticed before": 1 << 20, "met": -1} {
		t.Run(name, func(t *testing.T) {
			dir, limit := fullDisk(t, 8<<20)
			m := &list{}
			c := Config{Dir: dir + "/journal", ID: "a", Machine: m, SegmentBytes: 64 << 10, SnapshotEntries: 40, MinFree: free}
			j, err := Open(c)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { j.Close() })
			lead(t, j)
			if err := meetLimit(t.Context(), j, m, limit); err != nil {
				t.Fatal(err)
			}
			if free > 0 {
				if err := limit(true); err != nil {
					t.Fatal(err)
				}
				err := j.Append(t.Context(), []byte("x"))
				if !errors.Is(err, ErrFull) || FateOf(err) != NotWritten {
					t.Errorf("append: %v", err)
				}
				if led, _ := j.leading.get(); !led {
					t.Error("the leadership was lost for a disk that was only nearly full")
				}
				if err := limit(false); err != nil {
					t.Fatal(err)
				}
			}
			want := m.all()
			if err := j.Close(); err != nil {
				t.Fatal(err)
			}
			c.Machine = &list{}
			j = open(t, c)
			lead(t, j)
			if err := inOrder(c.Machine.(*list).all(), want); err != nil {
				t.Errorf("opened again: %v", err)
			}
		})
	}
}

// A snapshot that finds no room is told, leaves nothing behind, and succeeds once there is room.
func TestSnapshotOnFullDisk(t *testing.T) {
	dir, limit := fullDisk(t, 8<<20)
	m := &list{}
	j := open(t, Config{Dir: dir + "/journal", ID: "a", Machine: m, SegmentBytes: 1 << 20, MinFree: -1})
	lead(t, j)
	for i := range 10 {
		if err := j.Append(t.Context(), fmt.Appendf(nil, "%d %s", i, strings.Repeat("s", 50_000))); err != nil {
			t.Fatal(err)
		}
	}
	if err := limit(true); err != nil {
		t.Fatal(err)
	}
	if err := j.Snapshot(); !errors.Is(err, ErrFull) {
		t.Errorf("snapshot: %v", err)
	}
	if left, err := os.ReadDir(dir + "/journal/snapshots"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if err := limit(false); err != nil {
		t.Fatal(err)
	}
	if err := j.Snapshot(); err != nil {
		t.Errorf("snapshot with room again: %v", err)
	}
	if n, err := os.ReadDir(dir + "/journal/snapshots"); err != nil || len(n) != 1 {
		t.Errorf("snapshots: %v, %v", n, err)
	}
}

// A full disk at Open is told as such, and is no damage.
func TestOpenOnFullDisk(t *testing.T) {
	dir, limit := fullDisk(t, 2<<20)
	c := Config{Dir: dir + "/journal", ID: "a", Machine: &list{}, SegmentBytes: 64 << 10, MinFree: -1}
	if err := limit(true); err != nil {
		t.Fatal(err)
	}
	if j, err := Open(c); !errors.Is(err, ErrFull) {
		t.Fatalf("opened %v, %v", j, err)
	}
	if err := limit(false); err != nil {
		t.Fatal(err)
	}
	j := open(t, c)
	lead(t, j)
	if err := j.Append(t.Context(), []byte("x")); err != nil {
		t.Fatal(err)
	}
}
