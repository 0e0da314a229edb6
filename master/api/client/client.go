// Package client asks a master over its HTTP API. The command line uses nothing else, and other Go programs may.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
)

// answerWithin bounds how long a master may take to begin an answer. Planning a large cluster takes seconds.
const answerWithin = 2 * time.Minute

// Credentials are what a client needs to know of a master, as the master writes it into credentials.json.
type Credentials struct {
	Address string `json:"address"` // https://host:port
	CA      string `json:"ca"`      // PEM; the only authority that is trusted
	Token   string `json:"token"`
}

// Client asks one master. It is safe for concurrent use.
type Client struct {
	credentials Credentials
	tls         *tls.Config
	http        *http.Client
}

// Load reads credentials from a file.
func Load(path string) (*Client, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var c Credentials
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("it is no credentials file: %w", err)
	}
	return New(c)
}

// New returns a client. It does not connect.
func New(c Credentials) (*Client, error) {
	u, err := url.Parse(c.Address)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("the address %q is not one of a master: it looks like https://host:7470", c.Address)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(c.CA)) {
		return nil, errors.New("the credentials hold no CA certificate")
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool}
	return &Client{credentials: c, tls: config, http: &http.Client{Transport: &http.Transport{
		TLSClientConfig: config, ForceAttemptHTTP2: true, ResponseHeaderTimeout: answerWithin}}}, nil
}

// Address is the base URL of the master's API.
func (c *Client) Address() string { return strings.TrimRight(c.credentials.Address, "/") }

// request makes a request with the token.
func (c *Client) request(ctx context.Context, method, path string, query url.Values, body io.Reader, media string) (*http.Request, error) {
	address := c.Address() + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, address, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.credentials.Token)
	if media != "" {
		r.Header.Set("Content-Type", media)
	}
	return r, nil
}

// send sends a request and turns refusals into errors.
func (c *Client) send(r *http.Request) (*http.Response, error) {
	response, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreachable(err)
	}
	if response.StatusCode >= 300 {
		defer response.Body.Close()
		return nil, refusal(response)
	}
	return response, nil
}

// unreachable says in words why the master does not answer.
func (c *Client) unreachable(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no master answers at %s: is it running? (%w)", c.credentials.Address, err)
	case errors.As(err, &unknown):
		return fmt.Errorf("the master at %s belongs to another cluster than these credentials: copy its credentials.json again (%w)", c.credentials.Address, err)
	}
	return fmt.Errorf("reach master at %s: %w", c.credentials.Address, err)
}

// maxError bounds the body of a refusal, in bytes.
const maxError = 16 << 20

func refusal(response *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(response.Body, maxError))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	e := &api.Error{Status: response.StatusCode}
	if json.Unmarshal(data, e) != nil || e.Message == "" {
		e.Message = response.Status + " " + strings.TrimSpace(string(data[:min(len(data), 200)]))
	}
	return e
}

// ask sends a request with a JSON body (nil: none) and decodes the answer.
func ask[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any) (T, error) {
	var answer T
	var reader io.Reader
	media := ""
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return answer, err
		}
		reader, media = bytes.NewReader(data), "application/json"
	}
	return askRaw[T](ctx, c, method, path, query, reader, media)
}

func askRaw[T any](ctx context.Context, c *Client, method, path string, query url.Values, body io.Reader, media string) (T, error) {
	var answer T
	r, err := c.request(ctx, method, path, query, body, media)
	if err != nil {
		return answer, err
	}
	response, err := c.send(r)
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return answer, unread(ctx, path, err)
	}
	return answer, nil
}

// unread is the error of an answer that could not be read to its end. Who gave up asking learns that, and not how the connection ended.
func unread(ctx context.Context, path string, err error) error {
	if gone := ctx.Err(); gone != nil {
		err = gone
	}
	return fmt.Errorf("read answer of %s: %w", path, err)
}

func get[T any](ctx context.Context, c *Client, path string, query url.Values) (T, error) {
	return ask[T](ctx, c, http.MethodGet, path, query, nil)
}

func post[T any](ctx context.Context, c *Client, path string, body any) (T, error) {
	if body == nil {
		body = struct{}{}
	}
	return ask[T](ctx, c, http.MethodPost, path, nil, body)
}

func segment(s string) string { return url.PathEscape(s) }

// Status is how the cluster is.
func (c *Client) Status(ctx context.Context) (*api.Status, error) {
	return get[*api.Status](ctx, c, "/v1/status", nil)
}

// Sync has the master look at the repository now.
func (c *Client) Sync(ctx context.Context) (*api.Source, error) {
	return post[*api.Source](ctx, c, "/v1/sync", nil)
}

// Nodes lists all nodes.
func (c *Client) Nodes(ctx context.Context) ([]api.Node, error) {
	return get[[]api.Node](ctx, c, "/v1/nodes", nil)
}

// Node is one node.
func (c *Client) Node(ctx context.Context, id spec.NodeID) (*api.Node, error) {
	return get[*api.Node](ctx, c, "/v1/nodes/"+segment(string(id)), nil)
}

// RemoveNode forgets a node.
func (c *Client) RemoveNode(ctx context.Context, id spec.NodeID) (*api.Applied, error) {
	return ask[*api.Applied](ctx, c, http.MethodDelete, "/v1/nodes/"+segment(string(id)), nil, nil)
}

// Drain moves everything away from a node.
func (c *Client) Drain(ctx context.Context, id spec.NodeID, request api.DrainRequest) (*api.Applied, error) {
	return post[*api.Applied](ctx, c, "/v1/nodes/"+segment(string(id))+"/drain", request)
}

// DrainNodes moves everything away from several nodes at once.
func (c *Client) DrainNodes(ctx context.Context, request api.DrainRequest) (*api.Applied, error) {
	return post[*api.Applied](ctx, c, "/v1/drain", request)
}

// UndrainNodes lets several nodes take allocations again.
func (c *Client) UndrainNodes(ctx context.Context, request api.UndrainRequest) (*api.Applied, error) {
	return post[*api.Applied](ctx, c, "/v1/undrain", request)
}

// Rebalance proposes moves and, unless the request is a dry run, has them made.
func (c *Client) Rebalance(ctx context.Context, request api.RebalanceRequest) (*api.Rebalancing, error) {
	return post[*api.Rebalancing](ctx, c, "/v1/rebalance", request)
}

// CancelRebalance ends the rebalancing under way.
func (c *Client) CancelRebalance(ctx context.Context) (*api.Applied, error) {
	return ask[*api.Applied](ctx, c, "DELETE", "/v1/rebalance", nil, nil)
}

// Rebalancing is the rebalancing under way, or what would be proposed.
func (c *Client) Rebalancing(ctx context.Context) (*api.Rebalancing, error) {
	return get[*api.Rebalancing](ctx, c, "/v1/rebalance", nil)
}

// Undrain lets a node take allocations again.
func (c *Client) Undrain(ctx context.Context, id spec.NodeID) (*api.Applied, error) {
	return post[*api.Applied](ctx, c, "/v1/nodes/"+segment(string(id))+"/undrain", nil)
}

// Apps lists all apps.
func (c *Client) Apps(ctx context.Context) ([]api.App, error) {
	return get[[]api.App](ctx, c, "/v1/apps", nil)
}

// App is one app with its spec.
func (c *Client) App(ctx context.Context, name spec.AppName) (*api.App, error) {
	return get[*api.App](ctx, c, "/v1/apps/"+string(name), nil)
}

// AllocationFilter says which allocations are meant; the zero value is all that have not ended.
type AllocationFilter struct {
	App   spec.AppName
	Node  spec.NodeID
	Ended bool // also those that have ended
}

// Allocations lists allocations by slot and generation.
func (c *Client) Allocations(ctx context.Context, f AllocationFilter) ([]spec.AllocationView, error) {
	q := url.Values{}
	set(q, "app", string(f.App))
	set(q, "node", string(f.Node))
	if f.Ended {
		q.Set("ended", "true")
	}
	return get[[]spec.AllocationView](ctx, c, "/v1/allocations", q)
}

func set(q url.Values, name, value string) {
	if value != "" {
		q.Set(name, value)
	}
}

// Allocation is one allocation.
func (c *Client) Allocation(ctx context.Context, id spec.AllocationID) (*spec.AllocationView, error) {
	return get[*spec.AllocationView](ctx, c, "/v1/allocations/"+segment(string(id)), nil)
}

// Explain tells why a slot, app, node or allocation is as it is.
func (c *Client) Explain(ctx context.Context, what string) (*api.Explanation, error) {
	return get[*api.Explanation](ctx, c, "/v1/explain", url.Values{"of": {what}})
}

// Blocked lists what has no place, or is held.
func (c *Client) Blocked(ctx context.Context) ([]api.BlockedApp, error) {
	return get[[]api.BlockedApp](ctx, c, "/v1/blocked", nil)
}

// Roles lists who has which share.
func (c *Client) Roles(ctx context.Context) ([]api.Role, error) {
	return get[[]api.Role](ctx, c, "/v1/roles", nil)
}

// What says what is planned, and on which nodes. The zero value is the plan that waits, or else what the head of the branch would
// do now.
type What struct {
	Ref     string   // branch, tag or commit
	Tree    fs.FS    // or else these files
	Without []string // nodes to do without: "node/n3", "rack/r1"
	With    []string // nodes to suppose beside those that are there: "5xbig", "2xlike/n3"
}

// MakePlan plans; nothing is applied.
func (c *Client) MakePlan(ctx context.Context, w What) (*spec.Plan, error) {
	q := url.Values{"without": w.Without, "with": w.With}
	switch {
	case w.Tree != nil:
		return upload[*spec.Plan](ctx, c, "/v1/plan", q, w.Tree)
	case w.Ref != "":
		q.Set("ref", w.Ref)
		return ask[*spec.Plan](ctx, c, http.MethodPost, "/v1/plan", q, nil)
	}
	return get[*spec.Plan](ctx, c, "/v1/plan", q)
}

// PendingPlan is the plan that waits, or else what the head of the branch would do now.
func (c *Client) PendingPlan(ctx context.Context) (*spec.Plan, error) { return c.MakePlan(ctx, What{}) }

// PlanRef is what a branch, tag or commit would do now.
func (c *Client) PlanRef(ctx context.Context, ref string) (*spec.Plan, error) {
	return c.MakePlan(ctx, What{Ref: ref})
}

// PlanTree is what the files of a folder would do now.
func (c *Client) PlanTree(ctx context.Context, tree fs.FS) (*spec.Plan, error) {
	return c.MakePlan(ctx, What{Tree: tree})
}

// Validate checks the files of a folder with the plugins that the master knows.
func (c *Client) Validate(ctx context.Context, tree fs.FS) (*api.Validation, error) {
	return upload[*api.Validation](ctx, c, "/v1/validate", nil, tree)
}

// Plan is a plan that waits or was followed.
func (c *Client) Plan(ctx context.Context, id spec.PlanID) (*spec.Plan, error) {
	return get[*spec.Plan](ctx, c, "/v1/plans/"+segment(string(id)), nil)
}

// Diff is what differs between two plans.
func (c *Client) Diff(ctx context.Context, from, to spec.PlanID) (*api.Diff, error) {
	return get[*api.Diff](ctx, c, "/v1/diff", url.Values{"from": {string(from)}, "to": {string(to)}})
}

// Apply approves a plan.
func (c *Client) Apply(ctx context.Context, request api.ApplyRequest) (*api.Applied, error) {
	return post[*api.Applied](ctx, c, "/v1/apply", request)
}

// History lists the revisions that were followed, newest first.
func (c *Client) History(ctx context.Context) ([]api.HistoryEntry, error) {
	return get[[]api.HistoryEntry](ctx, c, "/v1/history", nil)
}

// Rollback follows an older commit.
func (c *Client) Rollback(ctx context.Context, ref string) (*api.Applied, error) {
	return post[*api.Applied](ctx, c, "/v1/rollback", api.RollbackRequest{Ref: ref})
}

// Resume follows the head of the branch again.
func (c *Client) Resume(ctx context.Context) (*api.Applied, error) {
	return post[*api.Applied](ctx, c, "/v1/resume", nil)
}

// Promote lets the canaries of an app replace the rest.
func (c *Client) Promote(ctx context.Context, request api.AppRequest) (*api.Applied, error) {
	return post[*api.Applied](ctx, c, "/v1/promote", request)
}

// Scale chooses the count of an app within its bounds.
func (c *Client) Scale(ctx context.Context, request api.ScaleRequest) (*api.Applied, error) {
	return post[*api.Applied](ctx, c, "/v1/scale", request)
}

// Restart replaces all allocations of an app.
func (c *Client) Restart(ctx context.Context, request api.AppRequest) (*api.Applied, error) {
	return post[*api.Applied](ctx, c, "/v1/restart", request)
}

// Runs lists the apps with runs; app "" is all.
func (c *Client) Runs(ctx context.Context, app spec.AppName) ([]api.Runs, error) {
	query := url.Values{}
	if app != "" {
		query.Set("app", string(app))
	}
	return get[[]api.Runs](ctx, c, "/v1/runs", query)
}

// Dispatch starts a run.
func (c *Client) Dispatch(ctx context.Context, request api.DispatchRequest) (*api.Dispatched, error) {
	return post[*api.Dispatched](ctx, c, "/v1/dispatch", request)
}

// Cancel ends a run.
func (c *Client) Cancel(ctx context.Context, request api.CancelRequest) (*api.Applied, error) {
	return post[*api.Applied](ctx, c, "/v1/cancel", request)
}

// Tokens lists all tokens, without their secrets.
func (c *Client) Tokens(ctx context.Context) ([]api.Token, error) {
	return get[[]api.Token](ctx, c, "/v1/tokens", nil)
}

// CreateToken makes a token.
func (c *Client) CreateToken(ctx context.Context, request api.TokenRequest) (*api.NewToken, error) {
	return post[*api.NewToken](ctx, c, "/v1/tokens", request)
}

// RevokeToken ends a token at once.
func (c *Client) RevokeToken(ctx context.Context, id string) (*api.Applied, error) {
	return ask[*api.Applied](ctx, c, http.MethodDelete, "/v1/tokens/"+segment(id), nil, nil)
}

// Plugins lists the plugins and how they are.
func (c *Client) Plugins(ctx context.Context) ([]api.Plugin, error) {
	return get[[]api.Plugin](ctx, c, "/v1/plugins", nil)
}

// dialTLS opens a connection of its own, for protocols that are no longer HTTP after the first answer.
func (c *Client) dialTLS(ctx context.Context) (net.Conn, error) {
	u, err := url.Parse(c.credentials.Address)
	if err != nil {
		return nil, err
	}
	config := c.tls.Clone()
	config.NextProtos = []string{"http/1.1"}
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, c.unreachable(err)
	}
	return conn, nil
}

func integer(n int) string { return strconv.Itoa(n) }
