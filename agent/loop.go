package agent

import (
	"context"
	"time"

	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
)

// saveRetry is the pause before a save that failed is tried again.
const saveRetry = time.Second

// loop owns the core: it hands it what happened and carries out what it answers.
func (a *agent) loop(ctx context.Context, remembered node.Memory) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var clock spec.Clock
	began := time.Now()
	now := func() spec.Time {
		t := time.Now()
		return clock.Show(spec.TimeOf(t), spec.Duration(t.Sub(began)))
	}
	var wake spec.Time
	step := func(events ...node.Event) {
		at := now()
		for _, effect := range a.core.Step(at, events...) {
			if w, ok := effect.(node.Wake); ok {
				wake = w.At
				timer.Reset(time.Duration(max(wake.Sub(at), 0)))
				continue
			}
			a.carryOut(ctx, effect)
			if ctx.Err() != nil {
				return // a save may not have succeeded: what follows it must not be done
			}
		}
		if wake > at {
			timer.Reset(time.Duration(wake.Sub(at))) // also when the timer was early, as clocks do not run alike
		}
	}
	a.catalogue.restore(remembered.Records)
	step(node.Restored{Memory: remembered, Boot: bootID()})
	batch := make([]node.Event, 0, maxBatch)
	for {
		batch = batch[:0]
		select {
		case ev := <-a.events:
			batch = append(batch, ev)
		case <-timer.C:
			batch = append(batch, node.Tick{})
		case <-ctx.Done():
			return nil
		}
		for more := true; more && len(batch) < maxBatch; {
			select {
			case ev := <-a.events:
				batch = append(batch, ev)
			default:
				more = false
			}
		}
		step(batch...)
	}
}

// save writes until it succeeds: nothing that follows may be done before. Tasks run on meanwhile.
func (a *agent) save(ctx context.Context, s node.Save) {
	for first := true; ; first = false {
		err := a.memory.save(s)
		if err == nil {
			cores := a.catalogue.named(s)
			a.catalogue.saved(s)
			if cores {
				a.errands.run("cores", func() { a.logReserve(a.reserveCores(ctx)) })
			}
			if !first {
				a.log.Info("there is room again; going on")
			}
			return
		}
		if first {
			a.log.Error("cannot write the agent's memory; nothing is started or stopped until it works, tasks run on", "error", err)
		}
		if !pause(ctx, saveRetry) {
			return
		}
	}
}
