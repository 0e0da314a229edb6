package master

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

const (
	// lookupTimeout bounds one question to a registry. Of the wait of a commit for all of them see control.AnswerWithin.
	lookupTimeout = 15 * time.Second
	// maxLookups are under way at a time.
	maxLookups = 8
	// askAgainMin and askAgainMax are between two questions about what registries could not answer; it doubles.
	askAgainMin = 5 * time.Second
	askAgainMax = 2 * time.Minute
)

// Tags says what the tags of images mean.
type Tags interface {
	// Resolve returns the digest that a reference has now. Errors say what to do.
	Resolve(ctx context.Context, ref spec.ImageRef) (digest string, err error)
}

// lookUp asks a registry what an image by tag is now.
func (m *Master) lookUp(ctx context.Context, image string) control.Lookup {
	ref, err := spec.ParseImage(image)
	if err != nil { // of a framework driver: what people wrote was checked
		return control.Lookup{Err: err.Error()}
	}
	if m.config.Tags == nil {
		return control.Lookup{Err: "this master asks no registry: name the image by its digest"}
	}
	select {
	case m.lookups <- struct{}{}:
		defer func() { <-m.lookups }()
	case <-ctx.Done():
		return control.Lookup{Err: "the master stops"}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, lookupTimeout, fmt.Errorf("%s does not answer within %s", ref.Registry, lookupTimeout))
	defer cancel()
	digest, err := m.config.Tags.Resolve(ctx, ref)
	if err != nil {
		return control.Lookup{Err: err.Error()}
	}
	return control.Lookup{Digest: digest}
}

// lookUpAll asks about several images side by side.
func (m *Master) lookUpAll(ctx context.Context, images []string, tell func(image string, l control.Lookup)) {
	var wg sync.WaitGroup
	for _, image := range images {
		wg.Go(func() { tell(image, m.lookUp(ctx, image)) })
	}
	wg.Wait()
}

// resolve asks registries for the core.
func (t *term) resolve(ctx context.Context, e control.Resolve) {
	t.master.lookUpAll(ctx, e.Images, func(image string, l control.Lookup) {
		if ctx.Err() != nil {
			return // what was interrupted says nothing
		}
		// Its error is the end of the term.
		_ = t.post(ctx, message{event: control.Resolved{Commit: e.Commit, Image: image, Digest: l.Digest, Err: l.Err}})
	})
}

// resolveAgain asks registries again what they could not answer, as long as it matters and ctx lasts.
func (t *term) resolveAgain(ctx context.Context) {
	wait, missing := askAgainMin, 0
	for pause(ctx, wait) {
		var open []control.Resolve
		if t.look(ctx, func(c *control.Core) { open = c.Unresolved() }) != nil {
			return
		}
		n := 0
		for _, e := range open {
			n += len(e.Images)
			t.resolve(ctx, e)
		}
		if wait *= 2; n == 0 || n != missing { // other ones: no longer the old trouble
			wait = askAgainMin
		}
		wait, missing = min(wait, askAgainMax), n
	}
}
