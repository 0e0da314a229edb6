package master_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stowage/stowage/master/api"
)

func TestACommitRuns(t *testing.T) {
	leaks(t)
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header), "web.hcl": webApp})
	a := joinAgent(t, c, "n1")
	a.run(t)
	list := c.running(t, "shop/web", 3)
	for _, al := range list {
		if al.Commit == "" || al.Node != "n1" || al.Why == "" {
			t.Errorf("%+v", al)
		}
	}
	c.commit(t, "five", map[string]string{"web.hcl": replace(webApp, "count = 3", "count = 5")})
	c.running(t, "shop/web", 5)
	if _, starts, stops := a.counts(); starts != 5 || stops != 0 {
		t.Errorf("%d starts and %d stops, want 5 and 0", starts, stops)
	}
	st := c.status(t, "follows", func(s *api.Status) bool { return s.Follows != nil && s.Follows.Subject == "five" })
	if st.Phase != api.PhaseLeading || st.Nodes.Ready != 1 || st.Work.Healthy != 5 || len(st.Problems) != 0 || st.Cluster != "test" {
		t.Errorf("%+v", st)
	}
	a.stop()
}

// errDone ends a stream from within.
var errDone = errors.New("done")

func TestManualApproval(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": manual(header), "web.hcl": webApp})
	early := c.status(t, "a plan waits", func(s *api.Status) bool { return s.Pending != nil })
	joinAgent(t, c, "n1").run(t)
	c.status(t, "the node is there", func(s *api.Status) bool { return s.Nodes.Ready == 1 })
	// The first plan was made without a node: it is refused, with what differs, and a new one waits.
	var refused *api.Error
	if _, err := c.client.Apply(t.Context(), api.ApplyRequest{ID: early.Pending.Plan, Mode: "exact"}); !errors.As(err, &refused) || refused.Status != 409 || len(refused.Differs) == 0 {
		t.Fatalf("a stale plan: %v", err)
	}
	st := c.status(t, "a new plan waits", func(s *api.Status) bool { return s.Pending != nil && s.Pending.Summary.Start == 3 })
	applied, err := c.client.Apply(t.Context(), api.ApplyRequest{ID: st.Pending.Plan})
	if err != nil || applied.NoOp {
		t.Fatal(applied, err)
	}
	c.running(t, "shop/web", 3)
	if again, err := c.client.Apply(t.Context(), api.ApplyRequest{ID: st.Pending.Plan}); err != nil || !again.NoOp {
		t.Errorf("the second time: %+v, %v", again, err)
	}
	var e *api.Error
	if _, err := c.client.Apply(t.Context(), api.ApplyRequest{ID: "p-000000"}); !errors.As(err, &e) || e.Remedy == "" || e.Status < 400 {
		t.Errorf("an unknown plan: %v", err)
	}
	if _, err := c.client.Apply(t.Context(), api.ApplyRequest{}); !errors.As(err, &e) || e.Status != 400 {
		t.Errorf("no plan: %v", err)
	}
}

func TestABadCommitChangesNothing(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header), "web.hcl": webApp})
	a := joinAgent(t, c, "n1")
	a.run(t)
	c.running(t, "shop/web", 3)
	bad := c.commit(t, "bad", map[string]string{"web.hcl": replace(webApp, "count = 3", "cuont = 3")})
	st := c.status(t, "refused", func(s *api.Status) bool { return s.Refused != nil })
	if st.Refused.Commit != bad || len(st.Refused.Diagnostics) == 0 || st.Refused.Diagnostics[0].Pos.File != "web.hcl" || len(st.Problems) == 0 {
		t.Errorf("%+v", st.Refused)
	}
	if st.Follows == nil || st.Follows.Subject != "first" {
		t.Errorf("follows %+v", st.Follows)
	}
	good := c.commit(t, "good", map[string]string{"web.hcl": replace(webApp, "count = 3", "count = 2")})
	c.running(t, "shop/web", 2)
	st = c.status(t, "follows", func(s *api.Status) bool { return s.Follows.Commit == good })
	if st.Refused != nil {
		t.Errorf("still refused: %+v", st.Refused)
	}
}

func TestARestartChangesNothing(t *testing.T) {
	leaks(t)
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header), "web.hcl": webApp})
	a := joinAgent(t, c, "n1")
	a.run(t)
	before := c.running(t, "shop/web", 3)
	for range 3 {
		c.stop(t)
		c.start(t)
		c.status(t, "settled", func(s *api.Status) bool { return s.Phase == api.PhaseLeading && s.Nodes.Ready == 1 })
		after := c.running(t, "shop/web", 3)
		for i := range after {
			if after[i].ID != before[i].ID || after[i].Tasks[0].Pid != before[i].Tasks[0].Pid {
				t.Errorf("before %s, after %s", describe(before), describe(after))
			}
		}
	}
	if _, starts, stops := a.counts(); starts != 3 || stops != 0 {
		t.Errorf("%d starts and %d stops, want 3 and 0", starts, stops)
	}
	// It goes on where it was.
	c.commit(t, "four", map[string]string{"web.hcl": replace(webApp, "count = 3", "count = 4")})
	c.running(t, "shop/web", 4)
	a.stop()
}

func TestALostJournalIsRebuiltFromTheAgents(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header), "web.hcl": webApp})
	agents := []*fakeAgent{joinAgent(t, c, "n1"), joinAgent(t, c, "n2")}
	for _, a := range agents {
		a.run(t)
	}
	before := c.running(t, "shop/web", 3)
	c.stop(t)
	c.lose(t)
	c.start(t)
	c.status(t, "settled", func(s *api.Status) bool { return s.Phase == api.PhaseLeading && s.Nodes.Ready == 2 && s.Follows != nil })
	after := c.running(t, "shop/web", 3)
	for i := range after {
		if after[i].ID != before[i].ID {
			t.Errorf("before %s, after %s", describe(before), describe(after))
		}
	}
	starts, stops := 0, 0
	for _, a := range agents {
		_, n, k := a.counts()
		starts, stops = starts+n, stops+k
	}
	if starts != 3 || stops != 0 {
		t.Errorf("%d starts and %d stops, want 3 and 0", starts, stops)
	}
	c.commit(t, "five", map[string]string{"web.hcl": replace(webApp, "count = 3", "count = 5")})
	list := c.running(t, "shop/web", 5)
	for _, al := range list[3:] {
		if al.Generation <= before[2].Generation {
			t.Errorf("generation %d after %d", al.Generation, before[2].Generation)
		}
	}
}

func TestWatchTellsWhatChanges(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header), "web.hcl": webApp})
	joinAgent(t, c, "n1").run(t)
	c.running(t, "shop/web", 3)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	seen := map[string]bool{}
	err := c.client.Watch(ctx, watchAll, func(ch api.Change) error {
		for _, a := range ch.Allocations {
			if a.Healthy {
				seen[string(a.ID)] = true
			}
		}
		if ch.Settled && len(seen) == 3 {
			return errDone
		}
		return nil
	})
	if !errors.Is(err, errDone) {
		t.Errorf("%v after %v", err, seen)
	}
}
