package probe

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stowage/stowage/spec"
)

// book collects results.
type book struct {
	mu      sync.Mutex
	results []Result
}

func (b *book) add(r Result) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.results = append(b.results, r)
}

// take returns what came since the last take, as "ID+" or "ID-3" with the output.
func (b *book) take() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []string
	for _, r := range b.results {
		sign := fmt.Sprint("-", r.Row)
		if r.Passing {
			sign = "+"
		}
		out = append(out, strings.TrimSpace(r.ID+sign+" "+r.Output))
	}
	b.results = nil
	return out
}

func (b *book) want(t *testing.T, want ...string) {
	t.Helper()
	if got := b.take(); !reflect.DeepEqual(got, want) {
		t.Errorf("%v: told %q, want %q", time.Now().Format("05.000"), got, want)
	}
}

// run runs a Prober in a bubble of fake time until the test function ends.
func run(t *testing.T, f func(t *testing.T, p *Prober, b *book)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		p := New(b.add)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		f(t, p, b)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

// task is what an exec check asks in tests.
type task struct {
	code, runs atomic.Int32
	output     string
	times      []time.Time
	mu         sync.Mutex
}

func (k *task) exec(context.Context, []string) (int, string, error) {
	k.runs.Add(1)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.times = append(k.times, time.Now())
	return int(k.code.Load()), k.output, nil
}

func execCheck(id string, k *task) Check {
	return Check{
		ID: id, Exec: k.exec,
		Check: spec.Check{Name: id, Type: spec.CheckExec, Command: []string{"true"}, Interval: 5 * spec.Second, Timeout: spec.Second, Failures: 3},
	}
}

func add(t *testing.T, p *Prober, c Check) {
	t.Helper()
	if err := p.Add(c); err != nil {
		t.Fatal(err)
	}
}

func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestThresholds(t *testing.T) {
	run(t, func(t *testing.T, p *Prober, b *book) {
		k := &task{}
		c := execCheck("a", k)
		c.Successes = 2
		add(t, p, c)
		after(150 * time.Millisecond) // first run, at most 100 ms later
		b.want(t, "a-0 answers well, and has to 2 times in a row")
		after(10 * time.Second)
		b.want(t, "a+")
		k.code.Store(1)
		after(10 * time.Second) // two bad runs: not yet failing
		b.want(t)
		k.code.Store(0)
		after(5 * time.Second) // the row is broken
		k.code.Store(1)
		after(10 * time.Second)
		b.want(t)
		after(5 * time.Second)
		b.want(t, "a-3 exit code 1")
		after(time.Minute)
		b.want(t, "a-6 exit code 1", "a-12 exit code 1")
		k.code.Store(7)
		after(5 * time.Second)
		b.want(t, "a-12 exit code 7")
		k.code.Store(0)
		after(5 * time.Second)
		b.want(t, "a-0 answers well, and has to 2 times in a row")
		k.code.Store(7)
		after(5 * time.Second) // the row is broken, and another one begins
		b.want(t, "a-1 exit code 7")
		k.code.Store(0)
		after(5 * time.Second)
		b.want(t, "a-0 answers well, and has to 2 times in a row")
		after(5 * time.Second)
		b.want(t, "a+")
	})
}

func TestEagerUntilItPasses(t *testing.T) {
	run(t, func(t *testing.T, p *Prober, b *book) {
		k := &task{output: "not yet\nmore"}
		k.code.Store(1)
		add(t, p, execCheck("a", k))
		after(25 * time.Second)
		b.want(t, "a-1 exit code 1: not yet", "a-2 exit code 1: not yet", "a-3 exit code 1: not yet") // one for each interval, told when it doubles or is enough
		var gaps []time.Duration
		for i := 1; i < len(k.times); i++ {
			gaps = append(gaps, k.times[i].Sub(k.times[i-1]))
		}
		ms := time.Millisecond
		want := []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 5000 * ms, 5000 * ms, 5000 * ms}
		if !reflect.DeepEqual(gaps, want) {
			t.Errorf("pauses %v, want %v", gaps, want)
		}
	})
}

func TestTakenOverCheckStaysPassing(t *testing.T) {
	run(t, func(t *testing.T, p *Prober, b *book) {
		k := &task{}
		k.code.Store(1)
		c := execCheck("a", k)
		c.Passing = true
		add(t, p, c)
		after(9 * time.Second) // two bad runs
		b.want(t, "a+")
		after(5 * time.Second)
		b.want(t, "a-3 exit code 1")
	})
}

func TestTimeoutAndNoOverlap(t *testing.T) {
	run(t, func(t *testing.T, p *Prober, b *book) {
		var at, most, runs atomic.Int32
		c := Check{ID: "a", Check: spec.Check{Type: spec.CheckExec, Command: []string{"x"}, Interval: spec.Second, Timeout: 3 * spec.Second, Failures: 1}}
		c.Exec = func(ctx context.Context, _ []string) (int, string, error) {
			runs.Add(1)
			most.Store(max(most.Load(), at.Add(1)))
			defer at.Add(-1)
			<-ctx.Done()
			return 0, "", ctx.Err()
		}
		add(t, p, c)
		after(31 * time.Second)
		b.want(t, "a-1 no answer within 3s", "a-2 no answer within 3s", "a-4 no answer within 3s", "a-8 no answer within 3s")
		if most.Load() != 1 || runs.Load() != 11 {
			t.Errorf("%d runs, %d at once; want 11 one after the other", runs.Load(), most.Load())
		}
	})
}

func TestRemove(t *testing.T) {
	run(t, func(t *testing.T, p *Prober, b *book) {
		k := &task{}
		add(t, p, execCheck("idle", k))
		cancelled := make(chan error, 1)
		c := execCheck("busy", nil)
		c.Timeout = spec.Minute
		c.Exec = func(ctx context.Context, _ []string) (int, string, error) {
			<-ctx.Done()
			cancelled <- ctx.Err()
			return 0, "", ctx.Err()
		}
		add(t, p, c)
		after(time.Second)
		b.want(t, "idle+")
		p.Remove("idle")
		p.Remove("busy")
		p.Remove("never there")
		runs := k.runs.Load()
		after(time.Minute)
		b.want(t)
		if err := <-cancelled; !errors.Is(err, context.Canceled) || k.runs.Load() != runs {
			t.Errorf("busy ended with %v; idle ran %d more times", err, k.runs.Load()-runs)
		}
		add(t, p, execCheck("idle", k)) // the name is free again
		after(time.Second)
		b.want(t, "idle+")
	})
}

func TestHangingCommandsHoldUpOnlyCommands(t *testing.T) {
	run(t, func(t *testing.T, p *Prober, b *book) {
		var at, most atomic.Int32
		hang := func(ctx context.Context, _ []string) (int, string, error) {
			most.Store(max(most.Load(), at.Add(1)))
			defer at.Add(-1)
			<-ctx.Done()
			return 0, "", ctx.Err()
		}
		for i := range 4 * maxExec {
			c := execCheck(fmt.Sprint("hang", i), nil)
			c.Exec = hang
			add(t, p, c)
		}
		k := &task{}
		add(t, p, execCheck("well", k))
		after(30 * time.Second)
		if most.Load() != maxExec {
			t.Errorf("%d commands at once, want %d", most.Load(), maxExec)
		}
		if k.runs.Load() < 2 {
			t.Errorf("the well one ran %d times in 30 s: it should get its turn", k.runs.Load())
		}
		b.take()
	})
}

// A thousand checks each run once per interval, and their first runs are spread.
func TestAThousandChecksKeepTheirPace(t *testing.T) {
	run(t, func(t *testing.T, p *Prober, b *book) {
		k := &task{}
		for i := range 1000 {
			add(t, p, execCheck(fmt.Sprint(i), k))
		}
		after(200 * time.Millisecond)
		if n := len(b.take()); n != 1000 {
			t.Errorf("%d told of themselves, want 1000", n)
		}
		after(50 * time.Second)
		b.want(t)
		if n := k.runs.Load(); n != 11_000 {
			t.Errorf("%d runs, want 11,000", n)
		}
		distinct := map[time.Time]bool{}
		for _, at := range k.times[:1000] {
			distinct[at] = true
		}
		if len(distinct) < 900 {
			t.Errorf("the first runs fall on %d moments only", len(distinct))
		}
	})
}

func TestAddRefuses(t *testing.T) {
	p := New(func(Result) {})
	good := execCheck("a", &task{})
	add(t, p, good)
	for want, change := range map[string]func(*Check){
		"there is one":         func(c *Check) { c.ID = "a" },
		"interval is less":     func(c *Check) { c.Interval = spec.Millisecond },
		"must not be negative": func(c *Check) { c.Timeout = -1 },
		"no command":           func(c *Check) { c.Exec = nil },
		"no address":           func(c *Check) { c.Type = spec.CheckTCP },
		"begin with a slash":   func(c *Check) { c.Type, c.Path, c.Address = spec.CheckHTTP, "x", "h:1" },
		`"icmp" is not known`:  func(c *Check) { c.Type = "icmp" },
	} {
		c := good
		c.ID = "b"
		change(&c)
		if err := p.Add(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}

func TestFirstLine(t *testing.T) {
	for text, want := range map[string]string{
		"\n a \nb": "a", "": "", "x\xff": "x?", strings.Repeat("é", 200): strings.Repeat("é", 100),
	} {
		if got := firstLine(text); got != want {
			t.Errorf("%q gives %q, want %q", text, got, want)
		}
	}
}
