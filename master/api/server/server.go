// Package server answers HTTP requests by the table of routes in package api: who may ask, what a request may weigh, how
// errors look, and how streams flow are settled here; what a route does is a Handler of package master.
package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/identity"
	"github.com/stowage/stowage/spec"
)

// Limits on requests.
const (
	// MaxBody of a JSON request, in bytes: a saved plan of a large cluster fits.
	MaxBody = 64 << 20
	// headerTimeout bounds how long a client may take to say what it wants.
	headerTimeout = 10 * time.Second
	// idleTimeout closes connections that nobody uses.
	idleTimeout = 2 * time.Minute
	// maxHeader bounds the headers, in bytes; commands of exec stand in the address.
	maxHeader = 64 << 10
)

// Call is one request that was let in.
type Call struct {
	*http.Request
	Who  string      // the token's name and ID, or the node, for the story
	Node spec.NodeID // the agent that asks with its certificate; "" for others
	Join bool        // the token is of kind agent
}

// Handler does what a route is for. It writes the answer itself, or returns an error before it has written anything.
type Handler func(w http.ResponseWriter, c *Call) error

// JSON is a handler that answers with a value.
func JSON(f func(c *Call) (any, error)) Handler {
	return func(w http.ResponseWriter, c *Call) error {
		v, err := f(c)
		if err != nil {
			return err
		}
		return Reply(w, http.StatusOK, v)
	}
}

// Body is a handler that reads a request of type T and answers with a value.
func Body[T any](f func(c *Call, request T) (any, error)) Handler {
	return JSON(func(c *Call) (any, error) {
		request, err := Read[T](c)
		if err != nil {
			return nil, err
		}
		return f(c, request)
	})
}

// Read decodes a request's body. An empty body is the zero value; unknown fields are errors, so that a misspelt one is
// not ignored.
func Read[T any](c *Call) (T, error) {
	var v T
	d := json.NewDecoder(http.MaxBytesReader(nil, c.Body, MaxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil && !errors.Is(err, io.EOF) {
		return v, &api.Error{Status: http.StatusBadRequest, Message: "the request cannot be read: " + err.Error(), Remedy: "see /v1/openapi.json for its form"}
	}
	return v, nil
}

// Reply writes a value as JSON.
func Reply(w http.ResponseWriter, status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the client may have gone
	return nil
}

// Config says what a Server works with.
type Config struct {
	Handlers  map[string]Handler // by route ID: one for each route of package api
	Extra     map[string]Handler // further patterns that only operators may use, such as profiles
	Tokens    *identity.Tokens
	Authority *identity.Authority
	Log       *slog.Logger
}

// Server is the HTTP server of a master.
type Server struct {
	config   Config
	http     *http.Server
	requests atomic.Uint64
	refused  atomic.Uint64
	open     atomic.Int64

	mu      sync.Mutex
	idle    sync.WaitGroup // requests under way
	closing bool
}

// New builds the server. It is an error when a route has no handler, or a handler no route.
func New(config Config) (*Server, error) {
	s := &Server{config: config}
	mux := http.NewServeMux()
	known := map[string]bool{}
	for _, r := range api.Routes {
		h := config.Handlers[r.ID]
		if h == nil {
			return nil, fmt.Errorf("route %s has no handler", r.ID)
		}
		known[r.ID] = true
		mux.HandleFunc(r.Method+" "+r.Path, s.guarded(r.Access, h))
	}
	for id := range config.Handlers {
		if !known[id] {
			return nil, fmt.Errorf("handler %s has no route", id)
		}
	}
	for pattern, h := range config.Extra {
		mux.HandleFunc(pattern, s.guarded(api.Operate, h))
	}
	s.http = &http.Server{
		Handler: s.table(mux), TLSConfig: config.Authority.TLS(false, "h2", "http/1.1"), MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, ErrorLog: slog.NewLogLogger(config.Log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// Serve answers on a listener until Close. The base context of all requests is ctx: streams end with it.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	s.http.BaseContext = func(net.Listener) context.Context { return ctx }
	if err := s.http.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve API: %w", err)
	}
	return nil
}

// Close lets requests under way finish until ctx ends, and then cuts them. It returns when the last one has ended,
// upgraded connections included: those end with the context given to Serve.
func (s *Server) Close(ctx context.Context) {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	s.idle.Wait()
}

// enter counts a request that Close waits for.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closing {
		s.idle.Add(1)
	}
	return !s.closing
}

// Counts returns how many requests were made, how many of them were refused, and how many are open.
func (s *Server) Counts() (requests, refused uint64, open int64) {
	return s.requests.Load(), s.refused.Load(), s.open.Load()
}

// table answers what no route is for in the form of all errors.
func (s *Server) table(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if !s.enter() {
			s.fail(w, r, &api.Error{Status: http.StatusServiceUnavailable, Message: "this master is stopping", Remedy: "try again in a moment"})
			return
		}
		defer s.idle.Done()
		s.open.Add(1)
		defer s.open.Add(-1)
		if _, pattern := mux.Handler(r); pattern == "" {
			status := http.StatusNotFound
			for _, m := range []string{"GET", "POST", "DELETE"} {
				other := r.Clone(r.Context())
				if other.Method = m; m != r.Method {
					if _, p := mux.Handler(other); p != "" {
						status = http.StatusMethodNotAllowed
					}
				}
			}
			s.fail(w, r, &api.Error{Status: status, Message: r.Method + " " + r.URL.Path + " is nothing that this master offers", Remedy: "see /v1/openapi.json"})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func (s *Server) guarded(access api.Access, h Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := s.admit(access, r)
		if err == nil {
			err = h(w, c)
		}
		if err != nil {
			s.fail(w, r, err)
		}
	}
}

func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var e *api.Error
	if !errors.As(err, &e) {
		e = &api.Error{Status: http.StatusInternalServerError, Message: err.Error()}
		if r.Context().Err() == nil {
			s.config.Log.Error("request failed", "method", r.Method, "path", r.URL.Path, "error", err)
		}
	}
	if e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden {
		s.refused.Add(1)
		w.Header().Set("WWW-Authenticate", `Bearer realm="stowage"`)
	}
	if err := Reply(w, max(e.Status, 400), e); err != nil {
		s.config.Log.Error("error not told", "error", err)
	}
}

// allowed are the kinds of token for each way of access.
var allowed = map[api.Access][]identity.Kind{
	api.Read: {identity.Operator, identity.Reader}, api.Fetch: {identity.Operator, identity.Reader},
	api.Operate: {identity.Operator}, api.Join: {identity.Agent},
}

// admit finds out who asks, and whether they may.
func (s *Server) admit(access api.Access, r *http.Request) (*Call, error) {
	c := &Call{Request: r}
	if access == api.Open {
		return c, nil
	}
	if access == api.Agent || access == api.Fetch {
		if node, ok := identity.AgentOf(r.TLS); ok {
			c.Node, c.Who = node, "node "+string(node)
			return c, nil
		}
		if access == api.Agent {
			return nil, &api.Error{Status: http.StatusUnauthorized, Message: "this is for agents, with their certificate", Remedy: "join first, with a token of kind agent"}
		}
	}
	secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return nil, &api.Error{Status: http.StatusUnauthorized, Message: "a token is needed", Remedy: "send Authorization: Bearer TOKEN; stowage finds its own in credentials.json of the master's data folder"}
	}
	token, err := s.config.Tokens.Check(strings.TrimSpace(secret))
	if err != nil {
		return nil, &api.Error{Status: http.StatusUnauthorized, Message: err.Error(), Remedy: "have an operator make a new one with stowage token create"}
	}
	if !slices.Contains(allowed[access], token.Kind) {
		return nil, &api.Error{Status: http.StatusForbidden, Message: fmt.Sprintf("a token of kind %s may not do this", token.Kind), Remedy: fmt.Sprintf("use one of kind %s", allowed[access][0])}
	}
	c.Join = token.Kind == identity.Agent
	c.Who = token.ID
	if token.Name != "" {
		c.Who = token.Name + " (" + token.ID + ")"
	}
	return c, nil
}
