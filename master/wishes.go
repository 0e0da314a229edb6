package master

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/server"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// wishes are the routes that ask the core to decide something.
func (m *Master) wishes() map[string]server.Handler {
	return map[string]server.Handler{
		"apply":    server.Body(m.apply),
		"rollback": server.Body(m.rollback),
		"resume":   server.JSON(m.resume),
		"drain": server.Body(func(c *server.Call, q api.DrainRequest) (any, error) {
			q.Nodes, q.Where = []spec.NodeID{spec.NodeID(c.PathValue("node"))}, nil
			return m.drain(c, q)
		}),
		"drainNodes": server.Body(m.drain),
		"undrainNodes": server.Body(func(c *server.Call, q api.UndrainRequest) (any, error) {
			if len(q.Nodes)+len(q.Where) == 0 {
				return nil, errNoNodes
			}
			return m.wish(c, func(r control.Request) control.Event {
				return control.Undrain{Request: r, Nodes: q.Nodes, Where: q.Where}
			})
		}),
		"undrain": server.JSON(func(c *server.Call) (any, error) {
			return m.wish(c, func(r control.Request) control.Event {
				return control.Undrain{Request: r, Nodes: []spec.NodeID{spec.NodeID(c.PathValue("node"))}}
			})
		}),
		"removeNode": server.JSON(func(c *server.Call) (any, error) {
			return m.wish(c, func(r control.Request) control.Event {
				return control.RemoveNode{Request: r, Node: spec.NodeID(c.PathValue("node"))}
			})
		}),
		"promote": server.Body(func(c *server.Call, q api.AppRequest) (any, error) {
			return m.wish(c, func(r control.Request) control.Event { return control.Promote{Request: r, App: q.App} })
		}),
		"scale": server.Body(func(c *server.Call, q api.ScaleRequest) (any, error) {
			if q.Count == nil {
				return nil, badRequest("no count is given", "give count, the number of allocations that the app should have")
			}
			return m.wish(c, func(r control.Request) control.Event {
				return control.Scale{Request: r, App: q.App, Count: *q.Count, Reason: q.Reason, By: c.Who}
			})
		}),
		"restart": server.Body(func(c *server.Call, q api.AppRequest) (any, error) {
			return m.wish(c, func(r control.Request) control.Event {
				return control.Restart{Request: r, App: q.App, Reason: q.Reason}
			})
		}),
		"dispatch": server.Body(m.dispatch),
		"cancel": server.Body(func(c *server.Call, q api.CancelRequest) (any, error) {
			return m.wish(c, func(r control.Request) control.Event {
				return control.Cancel{Request: r, Run: q.Run, Reason: q.Reason, By: c.Who}
			})
		}),
		"rebalance": server.Body(m.rebalance), "rebalancing": server.JSON(m.rebalancing),
		"cancelRebalance": server.JSON(func(c *server.Call) (any, error) {
			return m.wish(c, func(r control.Request) control.Event { return control.CancelRebalance{Request: r} })
		}),
		"sync": server.JSON(func(*server.Call) (any, error) {
			m.repo.Poke()
			return m.source(), nil
		}),
	}
}

// wish has the core decide, and turns its answer into that of HTTP.
func (m *Master) wish(c *server.Call, event func(control.Request) control.Event) (any, error) {
	a, err := m.ask(c.Context(), event)
	if err != nil {
		return nil, err
	}
	if a.Err != "" {
		return nil, refusal(a)
	}
	return api.Applied{Plan: a.Plan, NoOp: a.NoOp, Nodes: a.Nodes}, nil
}

var errNoNodes = badRequest("no nodes are named", "give nodes, or where with the attributes that they have")

func (m *Master) drain(c *server.Call, q api.DrainRequest) (any, error) {
	switch {
	case q.Deadline < 0:
		return nil, badRequest("the deadline is negative", "leave it out for none")
	case len(q.Nodes)+len(q.Where) == 0:
		return nil, errNoNodes
	}
	return m.wish(c, func(r control.Request) control.Event {
		return control.Drain{Request: r, Nodes: q.Nodes, Where: q.Where, Deadline: q.Deadline, Reason: q.Reason, Window: q.Window}
	})
}

// refusal splits what the core said into what is wrong and, the last sentence, what to do.
func refusal(a control.Answer) error {
	e := &api.Error{Status: http.StatusConflict, Message: a.Err, Differs: a.Differs}
	text := strings.TrimSuffix(a.Err, ".")
	if i := strings.LastIndex(text, ". "); i >= 0 {
		e.Message, e.Remedy = text[:i], strings.ToLower(text[i+2:i+3])+text[i+3:]
	}
	if strings.HasPrefix(a.Err, "there is no ") {
		e.Status = http.StatusNotFound
	}
	return e
}

func (m *Master) apply(c *server.Call, q api.ApplyRequest) (any, error) {
	mode := control.Mode(q.Mode)
	switch {
	case mode != "" && mode != control.ModeExact && mode != control.ModeBounded:
		return nil, badRequest(fmt.Sprintf("%q is no mode", q.Mode), "use exact or bounded")
	case (q.ID == "") == (q.Plan == nil) && !(q.Now && q.Plan == nil):
		return nil, badRequest("name the plan: either its id or the whole plan", "stowage apply ID, or stowage apply FILE")
	}
	if q.Plan != nil && q.Plan.Suppose != nil {
		return nil, badRequest("plan "+string(q.Plan.ID)+" supposes nodes that are not so: such a plan is only shown, never applied", "plan without --without and --with, and apply that")
	}
	return m.wish(c, func(r control.Request) control.Event {
		return control.Approve{Request: r, ID: q.ID, Plan: q.Plan, Mode: mode, Now: q.Now, By: c.Who}
	})
}

// rollback follows an older commit.
func (m *Master) rollback(c *server.Call, q api.RollbackRequest) (any, error) {
	if q.Ref == "" {
		return nil, badRequest("name the commit to follow", "see stowage history")
	}
	rev, err := m.revision(c, q.Ref)
	if err != nil {
		return nil, err
	}
	s, err := m.snapshot(c.Context())
	if err != nil {
		return nil, err
	}
	return m.wish(c, func(r control.Request) control.Event {
		return control.Rollback{Request: r, Revision: rev, Head: s.status.Head, By: c.Who}
	})
}

// resume ends a rollback: the head of the branch is shown to the core again.
func (m *Master) resume(c *server.Call) (any, error) {
	v, err := m.wish(c, func(r control.Request) control.Event { return control.Resume{Request: r} })
	if err != nil {
		return nil, err
	}
	if t := m.term.Load(); t != nil {
		if head := t.head.Load(); head != nil {
			if err := t.post(c.Context(), message{event: *head}); err != nil {
				return nil, m.unavailable(err)
			}
		}
	}
	return v, nil
}

// revision reads the commit that a ref names. The repository says who may put commits there; its branches count alike.
func (m *Master) revision(c *server.Call, ref string) (spec.Revision, error) {
	commit, err := m.repo.Resolve(c.Context(), ref)
	if err != nil {
		return spec.Revision{}, &api.Error{Status: http.StatusNotFound, Message: err.Error()}
	}
	rev, _ := m.revisions.read(c.Context(), commit, false)
	if rev.Cluster == nil {
		return rev, &api.Error{Status: http.StatusUnprocessableEntity, Message: "commit " + rev.Commit.Short() + " cannot be used", Remedy: "mend what the diagnostics name", Diagnostics: rev.Diagnostics}
	}
	return rev, nil
}
