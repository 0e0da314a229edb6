package master

import (
	"fmt"
	"net/http"
	"runtime/metrics"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stowage/stowage/master/api/server"
	"github.com/stowage/stowage/spec"
)

// figures count what the loop does.
type figures struct {
	steps, events   atomic.Uint64
	appends         atomic.Uint64
	appendErrors    atomic.Uint64
	appendNanos     atomic.Int64
	loads           atomic.Uint64
	loadNanos       atomic.Int64
	lastAppendNanos atomic.Int64
}

func (f *figures) step(events int) {
	f.steps.Add(1)
	f.events.Add(uint64(events))
}

func (f *figures) append(d time.Duration, err error) {
	f.appends.Add(1)
	f.appendNanos.Add(int64(d))
	f.lastAppendNanos.Store(int64(d))
	if err != nil {
		f.appendErrors.Add(1)
	}
}

func (f *figures) load(d time.Duration) {
	f.loads.Add(1)
	f.loadNanos.Add(int64(d))
}

// page writes figures in the text format of Prometheus.
type page struct{ strings.Builder }

func (p *page) one(name, kind, help string, v any) {
	fmt.Fprintf(p, "# HELP %s %s\n# TYPE %s %s\n%s %v\n", name, help, name, kind, name, v)
}

func (p *page) many(name, help, label string, values map[string]int) {
	fmt.Fprintf(p, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
	keys := make([]string, 0, len(values))
	for k := range values {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		fmt.Fprintf(p, "%s{%s=%q} %d\n", name, label, k, values[k])
	}
}

func seconds(nanos int64) float64 { return float64(nanos) / 1e9 }

func (m *Master) getMetrics(w http.ResponseWriter, c *server.Call) error {
	var p page
	f := &m.metrics
	leads := 0
	if m.term.Load() != nil {
		leads = 1
	}
	p.one("stowage_leading", "gauge", "Whether this master decides.", leads)
	p.one("stowage_start_time_seconds", "gauge", "When this master was started.", seconds(int64(m.started)))
	p.one("stowage_steps_total", "counter", "Steps of the core.", f.steps.Load())
	p.one("stowage_events_total", "counter", "Events that the core took.", f.events.Load())
	p.one("stowage_journal_appends_total", "counter", "Appends to the journal.", f.appends.Load())
	p.one("stowage_journal_append_errors_total", "counter", "Appends that failed.", f.appendErrors.Load())
	p.one("stowage_journal_append_seconds_total", "counter", "Time spent in appends.", seconds(f.appendNanos.Load()))
	p.one("stowage_revisions_read_total", "counter", "Revisions read.", f.loads.Load())
	p.one("stowage_revisions_read_seconds_total", "counter", "Time spent reading revisions.", seconds(f.loadNanos.Load()))
	p.one("stowage_agents_connected", "gauge", "Agents with a stream.", m.link.Connected())
	requests, refused, open := m.api.Counts()
	p.one("stowage_api_requests_total", "counter", "Requests to the API.", requests)
	p.one("stowage_api_refused_total", "counter", "Requests refused for want of a valid token.", refused)
	p.one("stowage_api_open", "gauge", "Requests under way, streams included.", open)
	if at := m.repo.LastContact(); !at.IsZero() {
		p.one("stowage_repository_contact_seconds", "gauge", "When the repository was last reached.", seconds(at.UnixNano()))
	}
	if s, err := m.snapshot(c.Context()); err == nil {
		p.cluster(s)
	}
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/sched/goroutines:goroutines"}}
	metrics.Read(samples)
	p.one("stowage_heap_bytes", "gauge", "Memory of live objects.", samples[0].Value.Uint64())
	p.one("stowage_goroutines", "gauge", "Goroutines.", samples[1].Value.Uint64())
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, err := w.Write([]byte(p.String()))
	return stop(err)
}

func (p *page) cluster(s *snapshot) {
	n, work := s.countNodes(), s.countWork()
	p.many("stowage_nodes", "Nodes by state.", "state", map[string]int{string(spec.NodeReady): n.Ready, string(spec.NodeDraining): n.Draining,
		string(spec.NodeDrained): n.Drained, string(spec.NodeUnknown): n.Unknown, string(spec.NodeDown): n.Down})
	states := map[string]int{}
	for st, k := range work.States {
		states[string(st)] = k
	}
	p.many("stowage_allocations", "Allocations by state.", "state", states)
	p.one("stowage_apps", "gauge", "Apps.", work.Apps)
	p.one("stowage_allocations_healthy", "gauge", "Healthy allocations.", work.Healthy)
	p.one("stowage_slots_blocked", "gauge", "Slots without a place.", work.Blocked)
	p.one("stowage_generation", "counter", "The newest decision.", uint64(s.status.Generation))
	pending := 0
	if s.pending != nil {
		pending = 1
	}
	p.one("stowage_plan_pending", "gauge", "Whether a plan waits for approval.", pending)
}
