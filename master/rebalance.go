package master

import (
	"fmt"
	"net/http"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/server"
	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/control"
)

// rebalance proposes moves; unless it is a dry run they begin.
func (m *Master) rebalance(c *server.Call, q api.RebalanceRequest) (any, error) {
	if q.Moves < 0 || q.Moves > reconcile.MaxMoves || q.Parallel < 0 || q.Parallel > reconcile.MaxMoves {
		return nil, badRequest(fmt.Sprintf("moves and parallel are from 0 to %d", reconcile.MaxMoves), "leave them out for what is usual")
	}
	if q.DryRun {
		return m.propose(c, q.Moves)
	}
	a, err := m.ask(c.Context(), func(r control.Request) control.Event {
		return control.Rebalance{Request: r, Moves: q.Moves, Parallel: q.Parallel, ID: q.ID, By: c.Who}
	})
	if err != nil {
		return nil, err
	}
	if a.Err != "" {
		return nil, refusal(a)
	}
	return rebalancingView(a.Rebalancing, !a.NoOp), nil
}

// rebalancing is the wish under way, or what would be proposed.
func (m *Master) rebalancing(c *server.Call) (any, error) {
	var wish *reconcile.Rebalancing
	if err := m.look(c.Context(), func(core *control.Core) { wish = core.Rebalancing() }); err != nil {
		return nil, err
	}
	if wish != nil {
		return rebalancingView(wish, true), nil
	}
	return m.propose(c, 0)
}

// propose looks for moves while the core goes on.
func (m *Master) propose(c *server.Call, most int) (any, error) {
	var in reconcile.Input
	if err := m.look(c.Context(), func(core *control.Core) { in = core.Input() }); err != nil {
		return nil, err
	}
	if in.Desired == nil {
		return nil, &api.Error{Status: http.StatusConflict, Message: "no commit is followed yet, so there is nothing to move", Remedy: "see stowage status"}
	}
	r := reconcile.Rebalance(in, reconcile.Terms{Moves: most})
	return rebalancingView(&r, false), nil
}

func rebalancingView(r *reconcile.Rebalancing, begun bool) api.Rebalancing {
	v := api.Rebalancing{ID: r.ID, Begun: begun, Since: r.Since, By: r.By, Auto: r.Auto, Parallel: r.Parallel, Of: r.Of}
	for _, g := range r.Gains {
		v.Gains = append(v.Gains, api.Gain(g))
	}
	for _, mv := range r.Moves {
		v.Moves = append(v.Moves, api.Move(mv))
	}
	return v
}
