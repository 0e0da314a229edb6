package master

import (
	"strings"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/server"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// getRuns lists apps with runs.
func (m *Master) getRuns(c *server.Call) (any, error) {
	s, err := m.snapshot(c.Context())
	if err != nil {
		return nil, err
	}
	only := c.URL.Query().Get("app")
	list := []api.Runs{}
	for _, v := range s.runs {
		if only == "" || string(v.App) == only || strings.HasPrefix(string(v.App), only+"/") {
			list = append(list, api.Runs(v))
		}
	}
	if len(list) == 0 && only != "" {
		var names []string
		for i := range s.runs {
			names = append(names, string(s.runs[i].App))
		}
		return nil, nearest("app with runs", only, names, "see stowage runs; schedule = { … } or schedule = {} gives an app runs")
	}
	return list, nil
}

// dispatch starts a run.
func (m *Master) dispatch(c *server.Call, q api.DispatchRequest) (any, error) {
	if q.App == "" {
		return nil, badRequest("name the app to dispatch", "see stowage runs")
	}
	a, err := m.ask(c.Context(), func(r control.Request) control.Event {
		return control.Dispatch{Request: r, App: q.App, Parameters: q.Parameters, Token: q.Token, By: c.Who}
	})
	if err != nil {
		return nil, err
	}
	if a.Err != "" {
		return nil, refusal(a)
	}
	return api.Dispatched{Run: *a.Run, NoOp: a.NoOp}, nil
}

// countRuns sums up the runs; nil when no app has some.
func (s *snapshot) countRuns() *api.RunCounts {
	if len(s.runs) == 0 {
		return nil
	}
	n := &api.RunCounts{}
	for i := range s.runs {
		v := &s.runs[i]
		for k := range v.Runs {
			if !v.Runs[k].State.Ended() {
				n.Active++
			}
		}
		if v.Next != 0 && (n.Next == 0 || v.Next < n.Next) {
			n.App, n.Next, n.Local = v.App, v.Next, v.Local
		}
	}
	return n
}

// lastRun is the newest run of an app that did its work or failed at it; nil when there is none.
func lastRun(v *control.RunView) *spec.Run {
	for i := len(v.Runs) - 1; i >= 0; i-- {
		if r := &v.Runs[i]; r.State == spec.RunComplete || r.State == spec.RunFailed {
			return r
		}
	}
	return nil
}

// explainRuns tells of a run, or of an app that has some; nil when the name is neither.
func (m *Master) explainRuns(s *snapshot, of string) *api.Explanation {
	var e *api.Explanation
	for i := range s.runs {
		v := &s.runs[i]
		if string(v.App) == of {
			runs := api.Runs(*v)
			e = &api.Explanation{Subject: of, Runs: &runs}
		}
		for k := range v.Runs {
			if r := &v.Runs[k]; string(r.Name) == of {
				x := s.explainApp(r.Name)
				e = &api.Explanation{Subject: of, Run: r, Blocked: x.Blocked, Held: x.Held}
			}
		}
	}
	if e != nil {
		e.Story = m.story.about(storyOf(of), maxStory)
	}
	return e
}
