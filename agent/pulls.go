package agent

import (
	"context"
	"strings"
	"time"

	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
)

// progressEvery is how often is told how far the images of an allocation have come. What is done before tells nothing.
const progressEvery = 2 * time.Second

// tellProgress tells how far the pulls have come that an allocation waits for, until ctx ends.
func (a *agent) tellProgress(ctx context.Context, e node.Prepare) {
	last := ""
	for pause(ctx, progressEvery) {
		if what := a.pulling(e.App); what != "" && what != last {
			last = what
			a.tell(ctx)(node.Progressed{ID: e.Allocation.ID, What: what})
		}
	}
}

// pulling says which images and artifacts of an app are being fetched and how far they have come; "" when none is.
func (a *agent) pulling(app *spec.App) string {
	var parts []string
	for i := range app.Tasks {
		text := app.Tasks[i].Image
		if !spec.FromRegistry(text) {
			continue
		}
		name, digest, _ := strings.Cut(text, "@")
		if p, ok := a.images.Progress(digest); ok {
			parts = append(parts, "pulling "+name+": "+p.String())
		}
	}
	return strings.Join(append(parts, a.artifacts.fetching(app)...), "; ")
}
