package agent

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/stowage/stowage/agent/disk"
	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
)

// A server that trickles must not keep allocations waiting that want nothing of it.
func TestSlowServersKeepNobodyElseWaiting(t *testing.T) {
	a, _, _ := fetching(t)
	n := slotsPerCore * runtime.NumCPU()
	asked := make(chan struct{}, n)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- struct{}{}; <-r.Context().Done() }))
	defer server.Close()
	a.preparing, a.events, a.crowded = newErrands(), make(chan node.Event, 100), make(chan struct{}, 1)
	a.disk = disk.Open(a.folders.dir, a.log)
	for i := range n {
		app := &spec.App{Tasks: []spec.Task{{Name: "main", Rootfs: spec.RootfsHost, Artifacts: []spec.Artifact{{Destination: "/x", Source: fmt.Sprint(server.URL, "/", i), Checksum: spec.ChecksumNone, Format: spec.FormatFile, Deadline: spec.Hour}}}}}
		a.carryOut(t.Context(), node.Prepare{Allocation: spec.Allocation{ID: spec.AllocationID(fmt.Sprintf("x-%d-1", i))}, App: app})
	}
	for range n {
		<-asked
	}
	plain := &spec.App{Tasks: []spec.Task{{Name: "main", Rootfs: spec.RootfsHost}}}
	a.carryOut(t.Context(), node.Prepare{Allocation: spec.Allocation{ID: "plain-0-1"}, App: plain})
	select {
	case e := <-a.events:
		if p := e.(node.Prepared); p.ID != "plain-0-1" || p.Err != "" {
			t.Errorf("%+v", p)
		}
	case <-time.After(20 * time.Second):
		t.Error("an app without artifacts is not prepared in 20 s, behind slow servers of others")
	}
	for i := range n {
		a.preparations.end(spec.AllocationID(fmt.Sprintf("x-%d-1", i)))
	}
	a.preparing.wait()
}

// The next preparation of an allocation may have begun before the end of the one before is noted.
func TestAPreparationThatIsOverLeavesTheNextToBeEnded(t *testing.T) {
	var p preparations
	_, first := p.begin(context.Background(), "a-0-1")
	second, done := p.begin(context.Background(), "a-0-1")
	defer done()
	first()
	p.end("a-0-1")
	if second.Err() == nil {
		t.Error("the second preparation goes on though its allocation has gone")
	}
}

// Work that waits for others leaves its slot to who has something to do, and keeps its turn in its line.
func TestAsideLeavesItsSlot(t *testing.T) {
	e := newErrands()
	n := cap(e.slots)
	waiting, others, told := make(chan struct{}, n), make(chan struct{}), make(chan string, 2)
	for i := range n {
		e.run(fmt.Sprint(i), func() {
			aside(e.in(context.Background()), func() { waiting <- struct{}{}; <-others })
		})
	}
	for range n {
		<-waiting
	}
	e.run("0", func() { told <- "behind the first" })
	e.run("other", func() { told <- "other" })
	if got := <-told; got != "other" {
		t.Errorf("%s went first", got)
	}
	close(others)
	if got := <-told; got != "behind the first" {
		t.Errorf("%s came last", got)
	}
	e.wait()
}
