package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stowage/stowage/spec"
)

// TestWebstack runs examples/webstack: servers as Debian ships them, unchanged, and one from an image. While they are asked without a pause, the web
// servers are updated one by one, and no request fails.
func TestWebstack(t *testing.T) {
	needRoot(t)
	for _, name := range []string{"nginx", "redis-server", "umoci", "/usr/bin/python3"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("STOWAGE_REQUIRE_ROOT") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	c := newCluster(t, 2)
	if out, err := exec.Command("../../../examples/webstack/build", c.repo).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	c.commit()
	all := c.healthy(6)
	for slot, want := range map[string]string{"stack/web[0]": "release 1 from slot 0\n", "stack/api[0]": "release 1 of the api\n"} {
		got, err := ask(t.Context(), &http.Client{}, c.serving(all[slot]))
		if err != nil || got != want {
			t.Errorf("%s answers %q, %v; want %q", slot, got, err, want)
		}
	}
	if got, err := ask(t.Context(), &http.Client{}, c.serving(all["stack/clock[0]"])); err != nil || !strings.HasSuffix(got, "Z\n") {
		t.Errorf("the clock tells %q, %v", got, err)
	}
	load := c.load("stack/web", 4)
	load.await("a hundred answers of the first release", func() bool { return load.answers("release 1") >= 100 })
	c.commit("cluster.hcl", strings.Replace(c.read("cluster.hcl"), `default     = "1"`, `default     = "2"`, 1))
	c.eventually("both web servers are of the second release", func() error {
		now, err := c.allocations()
		if err != nil {
			return err
		}
		for _, slot := range []string{"stack/web[0]", "stack/web[1]", "stack/api[0]"} {
			if a := now[slot]; a.ID == all[slot].ID || !a.Healthy {
				return fmt.Errorf("%s is %s, %s", slot, a.ID, a.State)
			}
		}
		if now["stack/db[0]"].ID != all["stack/db[0]"].ID || now["stack/clock[0]"].ID != all["stack/clock[0]"].ID {
			t.Fatal("the database or the clock was replaced, and nothing of them has changed")
		}
		return nil
	})
	load.await("a hundred answers of the second release alone", func() bool {
		return load.answers("release 2") >= 100
	})
	load.stop()
	t.Logf("%s", load.report())
	if len(load.failed) > 0 || load.ok["release 1"] == 0 || load.ok["release 2"] == 0 {
		t.Errorf("requests failed during a rolling update: %s", load.report())
	}
	for _, a := range all {
		if e := a.Tasks[0].Exit; e != nil {
			t.Errorf("%s ended once: %v", a.Slot, e)
		}
	}
}

func (c *cluster) read(name string) string {
	data, err := os.ReadFile(c.repo + "/" + name)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(data)
}

// serving is the URL of an allocation.
func (c *cluster) serving(a spec.AllocationView) string {
	for _, p := range a.Ports {
		return fmt.Sprintf("http://127.0.0.1:%d/", p.Number)
	}
	return ""
}

// ask makes one request.
func ask(ctx context.Context, client *http.Client, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d", answer.StatusCode)
	}
	return string(body), err
}

// fresh is how long what the API said is taken as true: half of the delay with which the web servers of the example stop. It is the caller's part of
// the bargain, and on a machine that stands still nobody is asked meanwhile.
const fresh = 5 * time.Second

// load asks the healthy allocations of an app, as a proxy would that follows the API.
type load struct {
	c    *cluster
	end  context.CancelFunc
	work sync.WaitGroup

	mu     sync.Mutex
	urls   []string
	asked  time.Time      // when the look began that found them
	ok     map[string]int // by the first two words of the answer
	failed map[string]int // by reason
	looks  int
}

// load starts as many workers. One more asks for the healthy allocations, again and again.
func (c *cluster) load(app spec.AppName, workers int) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{c: c, end: cancel, ok: map[string]int{}, failed: map[string]int{}}
	c.t.Cleanup(l.stop)
	l.work.Go(func() {
		for ctx.Err() == nil {
			l.look(app)
		}
	})
	for range workers {
		l.work.Go(func() {
			// A connection for each request: the hardest case, as each has to find somebody who listens.
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for i := 0; ctx.Err() == nil; i++ {
				l.request(ctx, client, i)
			}
		})
	}
	return l
}

func (l *load) stop() {
	l.end()
	l.work.Wait()
}

// look learns where to ask. What is not healthy, or leaves, is not asked.
func (l *load) look(app spec.AppName) {
	began := time.Now()
	all, err := l.c.healthyNow()
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.looks++
	l.urls, l.asked = nil, began
	for _, a := range all {
		if a.App == app {
			l.urls = append(l.urls, l.c.serving(a))
		}
	}
}

// healthyNow returns those that are healthy; a slot may have two of them, while one takes over from the other.
func (c *cluster) healthyNow() ([]spec.AllocationView, error) {
	var list, healthy []spec.AllocationView
	if err := c.tryJSON(&list, "ps", "--json"); err != nil {
		return nil, err
	}
	for _, a := range list {
		if a.Healthy {
			healthy = append(healthy, a)
		}
	}
	return healthy, nil
}

func (l *load) request(ctx context.Context, client *http.Client, i int) {
	l.mu.Lock()
	var url string
	if len(l.urls) > 0 {
		url = l.urls[i%len(l.urls)]
	}
	looks, old := l.looks, time.Since(l.asked) > fresh
	l.mu.Unlock()
	if old {
		time.Sleep(10 * time.Millisecond)
		return
	}
	if url == "" {
		l.count(l.failed, "nobody is told as healthy")
		time.Sleep(10 * time.Millisecond)
		return
	}
	body, err := ask(ctx, client, url)
	switch {
	case ctx.Err() != nil:
	case err == nil:
		l.count(l.ok, strings.Join(strings.Fields(body)[:2], " "))
	default:
		reason := err.Error()
		var network *net.OpError
		if errors.As(err, &network) {
			reason = network.Op + ": " + network.Err.Error()
		}
		l.mu.Lock()
		late := l.looks - looks
		l.mu.Unlock()
		l.count(l.failed, fmt.Sprintf("%s (told as healthy %d looks ago)", reason, late))
	}
}

func (l *load) count(what map[string]int, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	what[key]++
}

func (l *load) answers(prefix string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ok[prefix]
}

func (l *load) await(what string, ok func() bool) {
	l.c.t.Helper()
	l.c.eventually(what, func() error {
		if !ok() {
			return errors.New(l.report())
		}
		return nil
	})
}

func (l *load) report() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("answered %v, failed %v, %d looks at the API", l.ok, l.failed, l.looks)
}
