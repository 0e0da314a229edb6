package master

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/server"
	"github.com/stowage/stowage/master/link"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/wire"
)

const (
	// defaultTail lines of a log to begin with.
	defaultTail = 100
	// maxStreams that may be open: each costs up to a megabyte, and a watch of a large cluster tens of them.
	maxStreams = 512
	// watchGap is the least time between two messages of a watch, per watch and for each thousand allocations looked at:
	// a person sees no more, and a large cluster is not copied without end.
	watchGap = 15 * time.Millisecond
)

// streams are the routes whose answers go on.
func (m *Master) streams() map[string]server.Handler {
	all := map[string]server.Handler{"events": m.events, "watch": m.watch, "logs": m.logs, "exec": m.exec, "content": m.content, "pack": m.pack, "unpack": m.unpack}
	for id, h := range all {
		all[id] = func(w http.ResponseWriter, c *server.Call) error {
			if m.streaming.Add(1) > maxStreams {
				m.streaming.Add(-1)
				return &api.Error{Status: http.StatusServiceUnavailable, Message: fmt.Sprintf("%d streams are open already", maxStreams), Remedy: "close some: watches, logs, exec"}
			}
			defer m.streaming.Add(-1)
			return h(w, c)
		}
	}
	return all
}

// events tells the story.
func (m *Master) events(w http.ResponseWriter, c *server.Call) error {
	q := c.URL.Query()
	tail, err := number(q.Get("tail"), 0)
	if err != nil {
		return err
	}
	follow, err := flag(q.Get("follow"), true)
	if err != nil {
		return err
	}
	about := storyOf(q.Get("subject"))
	if err := m.knows(c.Context(), q.Get("subject"), about); err != nil {
		return err
	}
	next, gap := m.story.since(c.Header.Get("Last-Event-ID"), tail, about)
	out := server.Stream(w)
	alive := time.NewTicker(server.KeepAlive)
	defer alive.Stop()
	for {
		list, after, missed, more := m.story.from(next)
		if gap || missed {
			err = out.Send("gap", "", api.Error{Message: "some events between are no longer kept", Remedy: "look at the status for how things are"})
		}
		for i := 0; i < len(list) && err == nil; i++ {
			if about(&list[i].Event) {
				err = out.Send("", list[i].ID, list[i])
			}
		}
		if err != nil || len(list) == 0 && !follow {
			return stop(err)
		}
		if next, gap = after, false; len(list) > 0 {
			continue
		}
		select {
		case <-more:
		case <-alive.C:
			if err := out.Alive(); err != nil {
				return stop(err)
			}
		case <-c.Context().Done():
			return nil
		}
	}
}

// storyOf picks the events about a subject: an app or what is below it, a slot, an allocation, a node or a commit; "" is all.
func storyOf(subject string) func(*spec.Event) bool {
	return func(e *spec.Event) bool {
		return subject == "" || e.Subject == subject || string(e.Allocation) == subject || strings.HasPrefix(e.Subject, subject+"[") || strings.HasPrefix(e.Subject, subject+"/")
	}
}

// knows returns an error when a subject is the name of nothing that is there, and nothing is told of it.
func (m *Master) knows(ctx context.Context, subject string, about func(*spec.Event) bool) error {
	if subject == "" || len(m.story.about(about, 1)) > 0 {
		return nil
	}
	s, err := m.snapshot(ctx)
	if err != nil {
		return nil // nobody can tell, and what is told of it later is no less true
	}
	if s.find(subject) != nil {
		return nil
	}
	if slot, err := spec.ParseSlot(subject); err == nil && s.indexOf(slot.App) >= 0 {
		return s.hasSlot(slot)
	}
	if slices.ContainsFunc(s.names(), func(n string) bool { return n == subject || strings.HasPrefix(n, subject+"/") }) {
		return nil
	}
	return s.notFound("app, slot, allocation, run or node", subject, "stowage events without a name tells of all")
}

// stop ends a stream: the answer has begun, so an error (the reader is gone) can be told to nobody.
func stop(error) error { return nil }

// watch tells how allocations and apps are, and then each difference. It is level-triggered: a slow reader sees fewer
// steps and always the last one.
func (m *Master) watch(w http.ResponseWriter, c *server.Call) error {
	app, node := c.URL.Query().Get("app"), c.URL.Query().Get("node")
	changed := m.change()
	s, err := m.snapshot(c.Context())
	if err != nil {
		return err
	}
	out := server.Stream(w)
	seen := newWatched()
	if err := out.Send("", "", seen.difference(s, app, node, true)); err != nil {
		return nil
	}
	alive := time.NewTicker(server.KeepAlive)
	defer alive.Stop()
	for {
		select {
		case <-changed:
		case <-alive.C:
			if out.Alive() != nil {
				return nil
			}
			continue
		case <-c.Context().Done():
			return nil
		}
		if !pause(c.Context(), watchGap+watchGap*time.Duration(len(s.allocations))/1000) {
			return nil
		}
		changed = m.change()
		next, err := m.snapshot(c.Context())
		if err != nil {
			return stop(out.Send("error", "", api.Error{Message: err.Error(), Remedy: "connect again"}))
		}
		s = next
		if d := seen.difference(s, app, node, false); d != nil && out.Send("", "", d) != nil {
			return nil
		}
	}
}

// watched is what a watch has told.
type watched struct {
	allocations map[spec.AllocationID]mark
	apps        map[spec.AppName]string
	last        string
}

// mark is what tells two views of an allocation apart: cheap to make and to compare. A report replaces the tasks as a
// whole, so their address stands for them.
type mark struct {
	app              spec.AppName
	version          spec.Hash
	want             spec.Want
	state            spec.State
	healthy, canary  bool
	since, healthyAt spec.Time
	reason           string
	restarts         int
	tasks            *spec.TaskStatus
	count            int
}

func markOf(a *spec.AllocationView) mark {
	return mark{app: a.App, version: a.Version, want: a.Want, state: a.State, healthy: a.Healthy, canary: a.Canary, since: a.Since,
		healthyAt: a.HealthySince, reason: a.Reason, restarts: a.Restarts, tasks: first(a.Tasks), count: len(a.Tasks)}
}

func first(tasks []spec.TaskStatus) *spec.TaskStatus {
	if len(tasks) == 0 {
		return nil
	}
	return &tasks[0]
}

func newWatched() *watched {
	return &watched{allocations: map[spec.AllocationID]mark{}, apps: map[spec.AppName]string{}}
}

// difference returns what is new since the last call; nil when nothing is, unless told to answer always.
func (d *watched) difference(s *snapshot, app, node string, always bool) *api.Change {
	ch := &api.Change{Settled: s.calm()}
	if s.following != nil {
		ch.Commit = s.following.Revision.Commit
	}
	if s.pending != nil {
		ch.Pending = s.pending.Plan.ID
	}
	now := make(map[spec.AllocationID]bool, len(d.allocations))
	for _, a := range s.pick(app, node, true) {
		now[a.ID] = true
		if now := markOf(&a); d.allocations[a.ID] != now {
			d.allocations[a.ID] = now
			ch.Allocations = append(ch.Allocations, a)
		}
	}
	for id := range d.allocations {
		if !now[id] {
			delete(d.allocations, id)
			ch.Gone = append(ch.Gone, id)
		}
	}
	for i := range s.apps {
		if !below(s.apps[i].App, app) || node != "" {
			continue
		}
		v := s.appView(i, false)
		if text := print(v); d.apps[v.Name] != text {
			d.apps[v.Name] = text
			ch.Apps = append(ch.Apps, v)
		}
	}
	rest := fmt.Sprint(ch.Settled, ch.Commit, ch.Pending)
	if !always && len(ch.Allocations)+len(ch.Gone)+len(ch.Apps) == 0 && rest == d.last {
		return nil
	}
	d.last = rest
	return ch
}

// print is a value's JSON, to compare it with another.
func print(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("master: a value of plain fields does not encode: " + err.Error())
	}
	return string(b)
}

// window opens a window into an allocation.
func (m *Master) window(c *server.Call, o wire.Open) (*link.Window, error) {
	a, err := m.allocation(c, c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	o.ID, o.Task = a.ID, spec.TaskName(c.URL.Query().Get("task"))
	w, err := m.link.Open(a.Node, o)
	if err != nil {
		return nil, &api.Error{Status: http.StatusConflict, Message: err.Error()}
	}
	return w, nil
}

// logs passes a task's output on: as text, or in frames that tell both streams apart.
func (m *Master) logs(w http.ResponseWriter, c *server.Call) error {
	q := c.URL.Query()
	age, err := sinceAge(q.Get("since"))
	if err != nil {
		return err
	}
	lines := defaultTail
	if age > 0 {
		lines = -1
	}
	tail, err := number(q.Get("tail"), lines)
	if err != nil {
		return err
	}
	follow, err := flag(q.Get("follow"), false)
	if err != nil {
		return err
	}
	stream, ok := map[string]int{"": 0, "both": 0, "stdout": 1, "stderr": 2}[q.Get("stream")]
	if !ok {
		return badRequest(fmt.Sprintf("%q is no stream", q.Get("stream")), "use stdout, stderr or both")
	}
	win, err := m.window(c, wire.Open{Logs: &wire.Logs{Follow: follow, Tail: tail, Stream: stream, Age: age}})
	if err != nil {
		return err
	}
	defer win.Close()
	first, err := win.Read(c.Context())
	if err == nil && first.End && first.Err != "" {
		return &api.Error{Status: http.StatusConflict, Message: first.Err}
	}
	framed := strings.Contains(c.Header.Get("Accept"), api.FrameMedia)
	media := "text/plain; charset=utf-8"
	if framed {
		media = api.FrameMedia
	}
	if err != nil {
		return err
	}
	flow := server.NewFlow(w, media)
	return stop(m.passOn(c.Context(), win, first, func(d wire.Data) error { return writePiece(flow, d, framed) }))
}

// sinceAge reads how far back output is wanted: a duration, or a moment.
func sinceAge(text string) (spec.Duration, error) {
	if text == "" {
		return 0, nil
	}
	if moment, err := time.Parse(time.RFC3339, text); err == nil {
		return max(spec.Duration(time.Since(moment)), 1), nil
	}
	age, err := spec.ParseDuration(text)
	if err != nil || age <= 0 {
		return 0, badRequest(fmt.Sprintf("since is %q", text), "write a duration such as 10m, or a moment such as 2026-11-27T03:00:00Z")
	}
	return age, nil
}

func (m *Master) passOn(ctx context.Context, win *link.Window, d wire.Data, write func(wire.Data) error) error {
	for {
		if err := write(d); err != nil || d.End {
			return err
		}
		var err error
		if d, err = win.Read(ctx); err != nil {
			if ctx.Err() == nil {
				err = write(wire.Data{End: true, Err: err.Error()})
			}
			return err
		}
	}
}

func writePiece(w io.Writer, d wire.Data, framed bool) error {
	if !framed {
		if _, err := w.Write(d.Bytes); err != nil {
			return err
		}
		if d.End && d.Err != "" {
			_, err := fmt.Fprintf(w, "\n[%s]\n", d.Err)
			return err
		}
		return nil
	}
	kind := api.FrameStdout
	if d.Stderr {
		kind = api.FrameStderr
	}
	for b := d.Bytes; len(b) > 0; {
		n := min(len(b), api.MaxFrame)
		if err := api.WriteFrame(w, kind, b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	if d.End {
		return api.WriteJSONFrame(w, api.FrameEnd, api.End{Code: d.Code, Error: d.Err})
	}
	return nil
}
