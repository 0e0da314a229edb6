package agent

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/stowage/stowage/spec"
)

// TestWhoLeavesSpoilsNothing: an asker who leaves ends neither the look nor the waiting of the others.
func TestWhoLeavesSpoilsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks, answer := 0, make(chan spec.NodeUsage)
		u := usage{look: func() spec.NodeUsage { looks++; return <-answer }}
		type got struct {
			usage spec.NodeUsage
			err   error
		}
		ask := func(ctx context.Context) chan got {
			c := make(chan got, 1)
			go func() {
				u, err := u.ask(ctx)
				c <- got{u, err}
			}()
			synctest.Wait()
			return c
		}
		ctx, leave := context.WithCancel(t.Context())
		first, second := ask(ctx), ask(t.Context())
		leave()
		if one := <-first; !errors.Is(one.err, context.Canceled) {
			t.Errorf("who left got %+v", one)
		}
		answer <- spec.NodeUsage{Node: "n1"}
		for _, c := range []chan got{second, ask(t.Context())} { // the last comes while the look is fresh
			if one := <-c; one.err != nil || one.usage.Node != "n1" {
				t.Errorf("who stayed got %+v", one)
			}
		}
		u.looks.Wait()
		if looks != 1 {
			t.Errorf("%d looks", looks)
		}
	})
}
