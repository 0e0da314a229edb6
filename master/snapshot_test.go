package master

import (
	"context"
	"testing"

	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// Who goes away before there is an answer takes it from nobody else; once there is one, nobody looks again.
func TestWhatStandsWrongIsLookedForUntilThereIsAnAnswer(t *testing.T) {
	m := new(Master)
	tm := &term{master: m, inbox: make(chan message), over: make(chan struct{})}
	m.term.Store(tm)
	core, looks := control.New(control.Config{Fresh: true}, control.NewState(), spec.Time(spec.Hour)), 0
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for x := range tm.inbox {
			looks++
			x.look(core)
		}
	}()
	s := &snapshot{}
	gone, leave := context.WithCancel(t.Context())
	leave()
	m.standing(gone, s)
	m.standing(t.Context(), s)
	m.standing(t.Context(), s)
	close(tm.inbox)
	<-ended
	if looks != 1 {
		t.Errorf("%d looks, want one, for the first who stayed", looks)
	}
}
