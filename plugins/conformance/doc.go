// Package conformance is the suite that every plugin has to pass, whether it is Go code in this process or a program of
// its own: the same question twice, at the same time, in another order; questions that are huge, empty or nonsense;
// a caller that gives up; a process that is killed halfway. The built-in policies and the drivers in examples pass it
// in both ways.
//
// The cases are values, so that a test runs them one by one and a command can do so too:
//
//	for _, c := range conformance.Policy(subject) {
//		t.Run(c.Name, func(t *testing.T) {
//			if err := c.Check(t.Context()); err != nil {
//				t.Error(err)
//			}
//		})
//	}
package conformance

import (
	"context"
	"fmt"
	"time"
)

// Case is one rule and how to see whether a plugin keeps it.
type Case struct {
	Name  string
	Check func(context.Context) error // nil: it does
}

// Patience is how long a plugin that was killed may take to answer again.
const Patience = 30 * time.Second

// together asks n times at once and returns the first error.
func together(n int, ask func() error) error {
	errs := make(chan error, n)
	for range n {
		go func() { errs <- ask() }()
	}
	var first error
	for range n {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}

// killHalfway kills while a question is under way, and asks until the same answer comes back. What the question
// under way is answered is of no account: only that it is answered, and that no harm remains.
func killHalfway(ctx context.Context, kill func() error, ask func() error) error {
	underway := make(chan struct{})
	go func() {
		defer close(underway)
		_ = ask()
	}()
	if err := kill(); err != nil {
		return fmt.Errorf("kill the plugin: %w", err)
	}
	select {
	case <-underway:
	case <-time.After(Patience):
		return fmt.Errorf("the question during which the plugin was killed is not answered after %v", Patience)
	}
	deadline := time.Now().Add(Patience)
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it does not answer %v after it was killed: %w", Patience, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}
