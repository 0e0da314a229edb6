package master_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/client"
	"github.com/stowage/stowage/master/identity"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/wire"
)

func TestTheStoryGoesOnWhereItBrokeOff(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header), "web.hcl": webApp})
	joinAgent(t, c, "n1").run(t)
	c.running(t, "shop/web", 3)
	var all []api.Event
	eventually(t, "the end of the rollout", func() error {
		all = nil
		err := c.client.Events(t.Context(), client.EventFilter{Tail: 1000}, func(e api.Event) error { all = append(all, e); return nil })
		if err == nil && (len(all) < 4 || all[len(all)-1].What != "rollout done") {
			err = fmt.Errorf("the story is %+v", all)
		}
		return err
	})
	rest := c.sse(t, "/v1/events?follow=false", all[1].ID)
	if n := strings.Count(rest, "data: "); n != len(all)-2 || strings.Contains(rest, "event: gap") {
		t.Errorf("after the second of %d come %d:\n%s", len(all), n, rest)
	}
	if lost := c.sse(t, "/v1/events?follow=false", "other-7"); !strings.Contains(lost, "event: gap") || strings.Count(lost, "id: ") != len(all) {
		t.Errorf("after an unknown one:\n%s", lost)
	}
	var about []api.Event
	if err := c.client.Events(t.Context(), client.EventFilter{Tail: 1000, Subject: "shop/web"}, func(e api.Event) error { about = append(about, e); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, e := range about {
		if !strings.HasPrefix(e.Subject, "shop/web") {
			t.Errorf("asked about shop/web, told about %s", e.Subject)
		}
	}
	// And it goes on.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	heard := make(chan error, 1)
	go func() {
		heard <- c.client.Events(ctx, client.EventFilter{Follow: true}, func(e api.Event) error {
			if e.Subject == "n1" && strings.Contains(e.What, "drain") {
				return errDone
			}
			return nil
		})
	}()
	eventually(t, "drain heard", func() error {
		if _, err := c.client.Drain(ctx, "n1", api.DrainRequest{Reason: "test"}); err != nil {
			return err
		}
		select {
		case err := <-heard:
			if !errors.Is(err, errDone) {
				t.Fatal(err)
			}
			return nil
		default:
			return errors.New("not heard")
		}
	})
}

// sse reads a stream that ends, as text.
func (c *cluster) sse(t testing.TB, path, after string) string {
	t.Helper()
	cred, err := identity.ReadCredentials(c.ready.Credentials)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", c.ready.API+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+cred.Token)
	r.Header.Set("Last-Event-ID", after)
	h, done := trusting(cred.CA)
	defer done()
	resp, err := h.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestLogsAndExec(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header), "web.hcl": webApp})
	joinAgent(t, c, "n1").run(t)
	list := c.running(t, "shop/web", 3)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errs bytes.Buffer
	if err := c.client.Logs(ctx, list[0].ID, client.LogFilter{Tail: 10}, &out, &errs); err != nil || out.String() != "one\ntwo\n" || errs.String() != "three\n" {
		t.Errorf("logs: %q, %q, %v", out.String(), errs.String(), err)
	}
	if err := c.client.Logs(ctx, "no.such-0-1", client.LogFilter{}, &out, &errs); statusOf(err) != http.StatusNotFound {
		t.Errorf("logs of nothing: %v", err)
	}
	out.Reset()
	errs.Reset()
	input := strings.Repeat("0123456789abcdef", 64<<10) // four times the window
	code, err := c.client.Exec(ctx, list[0].ID, client.ExecRequest{Command: []string{"cat", "-"}}, client.Streams{Stdin: strings.NewReader(input), Stdout: &out, Stderr: &errs})
	if err != nil || code != 7 || out.String() != "cat -\n"+input {
		t.Errorf("exec: %d, %v, %d bytes of %d", code, err, out.Len(), len(input)+6)
	}
	sizes := make(chan api.Size, 1)
	sizes <- api.Size{Rows: 40, Columns: 100}
	short, stop := context.WithCancel(ctx)
	seen := writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), "40x100") {
			stop()
		}
		return len(p), nil
	})
	if _, err := c.client.Exec(short, list[0].ID, client.ExecRequest{Command: []string{"sh"}, Terminal: true, Rows: 24, Columns: 80, Term: "-xterm"},
		client.Streams{Stdout: &out, Stderr: seen, Resize: sizes}); !errors.Is(err, context.Canceled) || ctx.Err() != nil {
		t.Errorf("a terminal: %v", err)
	}
	if !strings.Contains(out.String(), "sh-xterm\n") {
		t.Errorf("the kind of terminal does not arrive: %q", out.String())
	}
	if _, err := c.client.Exec(ctx, list[0].ID, client.ExecRequest{Command: []string{"sh"}, Terminal: true, Term: "a\nb"}, client.Streams{}); statusOf(err) != http.StatusBadRequest {
		t.Errorf("a kind of terminal that is none: %v", err)
	}
	if _, err := c.client.Exec(ctx, list[0].ID, client.ExecRequest{}, client.Streams{Stdout: &out, Stderr: &errs}); statusOf(err) != http.StatusBadRequest {
		t.Errorf("no command: %v", err)
	}
}

// Ctrl-C without a terminal reaches a command that does not read its input, however much of that there is.
func TestASignalPassesByTheInput(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header), "web.hcl": webApp})
	joinAgent(t, c, "n1").run(t)
	list := c.running(t, "shop/web", 3)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	signals := make(chan string, 1)
	given := 0
	input := readerFunc(func(p []byte) (int, error) {
		before := given
		if given += len(p); before <= wire.Window && given > wire.Window { // more than the node takes
			signals <- "SIGINT"
		}
		return len(p), nil
	})
	var out, errs bytes.Buffer
	code, err := c.client.Exec(ctx, list[0].ID, client.ExecRequest{Command: []string{"stuck"}}, client.Streams{Stdin: input, Stdout: &out, Stderr: &errs, Signals: signals})
	if err != nil || code != 130 || out.String() != "stuck\nSIGINT" {
		t.Errorf("%d, %v, %q", code, err, out.String())
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestWishes(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header), "web.hcl": webApp})
	agents := map[spec.NodeID]*fakeAgent{}
	for _, n := range []string{"n1", "n2"} {
		a := joinAgent(t, c, n)
		agents[spec.NodeID(n)] = a
		a.run(t)
	}
	first := c.running(t, "shop/web", 3)
	ctx := t.Context()

	// Everything moves away from a drained node, and may come back.
	from := first[0].Node
	if _, err := c.client.Drain(ctx, from, api.DrainRequest{Reason: "kernel"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "drained", func() error {
		n, err := c.client.Node(ctx, from)
		if err == nil && (n.State != spec.NodeDrained || n.Allocations != 0 || n.Drain == nil) {
			err = errors.New(string(n.State))
		}
		return err
	})
	moved := c.running(t, "shop/web", 3)
	if _, err := c.client.Undrain(ctx, from); err != nil {
		t.Fatal(err)
	}
	if again, err := c.client.Undrain(ctx, from); err != nil || !again.NoOp {
		t.Errorf("undrain twice: %+v, %v", again, err)
	}
	if _, err := c.client.Drain(ctx, "nobody", api.DrainRequest{}); statusOf(err) != http.StatusNotFound {
		t.Errorf("drain of an unknown node: %v", err)
	}

	// A restart replaces every allocation.
	if _, err := c.client.Restart(ctx, api.AppRequest{App: "shop/web"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "restarted", func() error {
		for _, a := range c.running(t, "shop/web", 3) {
			for _, old := range moved {
				if a.ID == old.ID {
					return errors.New(string(a.ID) + " is still there")
				}
			}
		}
		return nil
	})

	// A rollback follows the older commit, until resumed.
	gitIn(t, c.repo, "tag", "before")
	five := c.commit(t, "five", map[string]string{"web.hcl": replace(webApp, "count = 3", "count = 5")})
	c.running(t, "shop/web", 5)
	if _, err := c.client.Rollback(ctx, "before"); err != nil {
		t.Fatal(err)
	}
	c.running(t, "shop/web", 3)
	st := c.status(t, "rolled back", func(s *api.Status) bool { return s.Follows.Left == five })
	if st.Follows.By == "" {
		t.Errorf("rolled back by nobody: %+v", st.Follows)
	}
	if _, err := c.client.Resume(ctx); err != nil {
		t.Fatal(err)
	}
	c.running(t, "shop/web", 5)

	history, err := c.client.History(ctx)
	if err != nil || len(history) < 3 || history[0].Commit != five || !history[0].Kept {
		t.Errorf("%+v, %v", history, err)
	}
	if p, err := c.client.Plan(ctx, history[0].Plan); err != nil || p.ID != history[0].Plan {
		t.Errorf("the plan: %v", err)
	}
	if d, err := c.client.Diff(ctx, history[1].Plan, history[0].Plan); err != nil || len(d.Only)+len(d.New)+len(d.Changed) == 0 {
		t.Errorf("the difference: %+v, %v", d, err)
	}
}

func TestWhatCanBeSeen(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header), "web.hcl": webApp,
		"big.hcl": replace(replace(webApp, "shop/web", "big"), `"16MiB"`, `"100TiB"`)})
	joinAgent(t, c, "n1").run(t)
	list := c.running(t, "shop/web", 3)
	ctx := t.Context()
	apps, err := c.client.Apps(ctx)
	if err != nil || len(apps) != 2 || apps[1].Healthy != 3 || apps[1].Live != 3 || apps[0].Blocked == nil {
		t.Errorf("apps: %+v, %v", apps, err)
	}
	if a, err := c.client.App(ctx, "shop/web"); err != nil || a.Spec == nil || a.Version != list[0].Version {
		t.Errorf("app: %+v, %v", a, err)
	}
	if _, err := c.client.App(ctx, "shop"); statusOf(err) != http.StatusNotFound {
		t.Errorf("no app: %v", err)
	}
	if b, err := c.client.Blocked(ctx); err != nil || len(b) != 1 || b[0].App != "big" || len(b[0].Blocked.Reasons) == 0 {
		t.Errorf("blocked: %+v, %v", b, err)
	}
	if r, err := c.client.Roles(ctx); err != nil || len(r) != 1 || r[0].Allocations != 3 || r[0].Used.CPU != 300 {
		t.Errorf("roles: %+v, %v", r, err)
	}
	if n, err := c.client.Nodes(ctx); err != nil || len(n) != 1 || n[0].Allocations != 3 || n[0].Used.Memory != 48*spec.MiB {
		t.Errorf("nodes: %+v, %v", n, err)
	}
	for _, of := range []string{string(list[1].ID), "shop/web[1]"} {
		e, err := c.client.Explain(ctx, of)
		if err != nil || e.Allocation == nil || e.Allocation.ID != list[1].ID || e.Spec == nil || len(e.Story) == 0 {
			t.Errorf("explain %s: %+v, %v", of, e, err)
		}
	}
	for _, of := range []string{"big", "big[0]"} {
		if e, err := c.client.Explain(ctx, of); err != nil || e.Blocked == nil {
			t.Errorf("explain %s: %+v, %v", of, e, err)
		}
	}
	if _, err := c.client.Explain(ctx, "n1"); err != nil {
		t.Error(err)
	}
	if _, err := c.client.Explain(ctx, "nothing"); statusOf(err) != http.StatusNotFound {
		t.Errorf("explain nothing: %v", err)
	}
	if a, err := c.client.Allocation(ctx, list[2].ID); err != nil || a.ID != list[2].ID {
		t.Errorf("allocation: %+v, %v", a, err)
	}
	if p, err := c.client.Plugins(ctx); err != nil || len(p) != 0 {
		t.Errorf("plugins: %+v, %v", p, err)
	}
	page := c.sse(t, "/metrics", "")
	for _, want := range []string{"stowage_leading 1", `stowage_nodes{state="ready"} 1`, "stowage_allocations_healthy 3", "stowage_slots_blocked 3"} {
		if !strings.Contains(page, want) {
			t.Errorf("the figures lack %q", want)
		}
	}
	st := c.status(t, "blocked", func(s *api.Status) bool { return s.Work.Blocked == 3 })
	if len(st.Problems) == 0 || st.Problems[0].Subject != "big" {
		t.Errorf("problems: %+v", st.Problems)
	}
}
