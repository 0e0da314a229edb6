package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/stowage/stowage/spec"
)

// UsageFilter says whose usage is meant; the zero value is everybody's.
type UsageFilter struct {
	App        spec.AppName
	Node       spec.NodeID
	Allocation spec.AllocationID
}

// Usage asks the nodes what they use now.
func (c *Client) Usage(ctx context.Context, f UsageFilter) ([]spec.NodeUsage, error) {
	q := url.Values{}
	set(q, "app", string(f.App))
	set(q, "node", string(f.Node))
	set(q, "allocation", string(f.Allocation))
	return ask[[]spec.NodeUsage](ctx, c, http.MethodGet, "/v1/usage", q, nil)
}
