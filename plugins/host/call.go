package host

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stowage/stowage/plugins"
	"github.com/stowage/stowage/plugins/wire"
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Policy returns the plugin as a scheduling policy, starting it unless it runs. Its picks are checked; while the plugin
// is down Place answers with the reason.
func (h *Host) Policy(p spec.Plugin) place.Policy { return policy{h, p} }

type policy struct {
	host   *Host
	plugin spec.Plugin
}

// Place implements place.Policy.
func (p policy) Place(b *place.Batch) ([]place.Pick, error) {
	var picks []place.Pick
	err := p.host.call(context.Background(), p.plugin, "Place", p.host.options.PlaceTimeout, func(ctx context.Context, conn grpc.ClientConnInterface) error {
		r, err := wire.NewPolicyClient(conn).Place(ctx, wire.EncodeBatch(b))
		picks = wire.DecodePicks(r)
		return err
	})
	if err == nil {
		err = plugins.CheckPicks(b, picks)
	}
	if err != nil {
		return nil, fmt.Errorf("policy plugin %q: %w", p.plugin.Name, err)
	}
	return picks, nil
}

// Framework returns the plugin as a framework driver, starting it unless it runs. Its schema is checked; its answers
// are not yet (see plugins.Expansion). While the plugin is down every call answers with the reason.
func (h *Host) Framework(p spec.Plugin) plugins.Framework { return framework{h, p} }

type framework struct {
	host   *Host
	plugin spec.Plugin
}

// MaxSchemas bounds how many drivers' schemas are remembered.
const MaxSchemas = 100

// Schema implements plugins.Framework.
func (f framework) Schema(ctx context.Context) (spec.Schema, error) {
	if schema, known := f.host.knownSchema(f.plugin); known {
		return schema, nil
	}
	var schema spec.Schema
	err := f.host.call(ctx, f.plugin, "Schema", f.host.options.CallTimeout, func(ctx context.Context, conn grpc.ClientConnInterface) error {
		r, err := wire.NewFrameworkClient(conn).Schema(ctx, &wire.SchemaRequest{})
		if err != nil {
			return err
		}
		schema, err = wire.DecodeSchema(r)
		return err
	})
	if err == nil {
		err = plugins.CheckSchema(schema)
	}
	if err != nil {
		return spec.Schema{}, fmt.Errorf("framework driver %q: %w", f.plugin.Name, err)
	}
	f.host.learnSchema(f.plugin, schema)
	return schema, nil
}

// knownSchema returns what the program answered before: a program that was checked has one schema for ever, so a
// commit can be read while its driver is down.
func (h *Host) knownSchema(p spec.Plugin) (spec.Schema, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s, known := h.schemas[key(p)]
	return s, known
}

func (h *Host) learnSchema(p spec.Plugin, s spec.Schema) {
	if h.options.Overrides[p.Name] != "" {
		return // the file may be another one next time
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.schemas) == MaxSchemas {
		clear(h.schemas)
	}
	h.schemas[key(p)] = s
}

// Expand implements plugins.Framework.
func (f framework) Expand(ctx context.Context, q *plugins.Question) (*plugins.Answer, error) {
	request, err := wire.EncodeQuestion(q)
	if err != nil {
		return nil, err
	}
	var answer *plugins.Answer
	err = f.host.call(ctx, f.plugin, "Expand", f.host.options.CallTimeout, func(ctx context.Context, conn grpc.ClientConnInterface) error {
		r, err := wire.NewFrameworkClient(conn).Expand(ctx, request)
		if err != nil {
			return err
		}
		answer, err = wire.DecodeAnswer(r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("framework driver %q: %w", f.plugin.Name, err)
	}
	return answer, nil
}

// Expand asks the plugin what the block means now, and takes the answer as an expansion. It always answers: when the
// plugin is down, or what it says breaks a rule, the expansion is held, with the reason and without apps; whoever keeps
// the last good one goes on with that. When the driver complains of the block, the first complaint is the reason, with
// its place, and all of them are in the expansion. The reason is the same as long as the trouble is.
func (h *Host) Expand(ctx context.Context, p spec.Plugin, q *plugins.Question) spec.Expansion {
	answer, err := h.Framework(p).Expand(ctx, q)
	if err != nil {
		return spec.Expansion{Driver: q.Block.Driver, Name: q.Block.Name, Held: err.Error()}
	}
	e, err := plugins.Expansion(q.Block, answer)
	if err != nil {
		e.Apps, e.Steps = nil, nil
		e.Held = fmt.Sprintf("framework driver %q: its answer is refused: %v", p.Name, err)
		if i := slices.IndexFunc(e.Diagnostics, func(d spec.Diagnostic) bool { return d.Severity == spec.SeverityError }); i >= 0 {
			d := e.Diagnostics[i]
			e.Held = fmt.Sprintf("%s:%d: %s: %s", d.Pos.File, d.Pos.Line, d.Summary, d.Detail)
		}
	}
	return e
}

// call asks a running plugin. One that is just being started is waited for; one that is down is not. A plugin that
// does not answer in time is killed, and started again like one that crashed.
func (h *Host) call(ctx context.Context, p spec.Plugin, what string, limit time.Duration, ask func(context.Context, grpc.ClientConnInterface) error) error {
	i, err := h.instance(p)
	if err != nil {
		return err
	}
	conn, process, err := i.ready(ctx, limit)
	if err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err = ask(within, conn)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil: // the caller's own end, no fault of the plugin
		return ctx.Err()
	case outOfTime(within, err):
		verdict := fmt.Sprintf("it did not answer %s within %v", what, limit)
		i.condemn(process, verdict)
		return errors.New(verdict)
	}
	return i.explainCall(ctx, process, what, err)
}

// deadlineSlack is how much earlier than ours the plugin's side of a deadline may strike: it travels as a duration.
const deadlineSlack = 100 * time.Millisecond

// outOfTime reports whether a call failed by its deadline, on either side.
func outOfTime(within context.Context, err error) bool {
	if within.Err() != nil {
		return true
	}
	deadline, _ := within.Deadline()
	code := status.Code(err)
	return (code == codes.DeadlineExceeded || code == codes.Canceled) && time.Until(deadline) < deadlineSlack
}

// ready returns the connection, waiting up to limit for a start that is under way.
func (i *instance) ready(ctx context.Context, limit time.Duration) (grpc.ClientConnInterface, *process, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		i.mu.Lock()
		state, changed, conn, process := i.state, i.changed, i.conn, i.process
		i.mu.Unlock()
		switch {
		case conn != nil:
			return conn, process, nil
		case state.Phase == Waiting:
			return nil, nil, fmt.Errorf("the plugin is down, and started again from time to time: %s", state.LastError)
		case state.Phase == Stopped:
			return nil, nil, errors.New("the plugin was stopped: no commit that is followed names it")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("the plugin is still starting: %w", ctx.Err())
		}
	}
}

// explainCall says what became of a call. When the plugin ended meanwhile, its end is the reason.
func (i *instance) explainCall(ctx context.Context, p *process, what string, err error) error {
	s := status.Convert(err)
	switch s.Code() {
	case codes.FailedPrecondition: // the author's own words
		return errors.New(s.Message())
	case codes.ResourceExhausted:
		return fmt.Errorf("its answer to %s is too large, or the question is: %s", what, s.Message())
	case codes.Unavailable, codes.Canceled:
		grace := time.NewTimer(drainGrace)
		defer grace.Stop()
		select {
		case <-p.exited:
			return fmt.Errorf("it ended while answering %s: %w", what, explainEnd(p, ""))
		case <-grace.C:
		case <-ctx.Done():
		}
	}
	return fmt.Errorf("it could not answer %s: %s", what, s.Message())
}
