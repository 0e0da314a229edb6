package registry

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/stowage/stowage/spec"
)

const (
	// answerWithin bounds the wait for the beginning of an answer.
	answerWithin = 30 * time.Second
	// sessionFor is how long what was agreed with a registry about a repository is kept: tokens that expire before are fetched anew
	// by the transport, and credentials that somebody changed count after this.
	sessionFor = 5 * time.Minute
	// maxSessions bounds them.
	maxSessions = 256
)

// Client asks registries. It is safe for concurrent use.
type Client struct {
	settings settings

	mu       sync.Mutex
	bases    map[string]*http.Transport // by host: connections are shared, trust is not
	sessions map[string]*session        // by host and repository
}

// session is what was agreed with a registry about one repository.
type session struct {
	once  sync.Mutex // held while it is made
	http  *http.Client
	base  string // scheme and host
	began time.Time
}

// New returns a client. All that is wrong with the configuration is told at once.
func New(c Config) (*Client, error) {
	s, err := c.read()
	if err != nil {
		return nil, fmt.Errorf("set up registries: %w", err)
	}
	return &Client{settings: s, bases: map[string]*http.Transport{}, sessions: map[string]*session{}}, nil
}

// place is a repository at one host: of the registry itself or of a mirror.
type place struct {
	host, repository string
	mirror           bool
}

// places lists where an image can be had, best first.
func (c *Client) places(ref spec.ImageRef) []place {
	var all []place
	for _, m := range c.settings.mirrors[ref.Registry] {
		repository := ref.Repository
		if m.prefix != "" {
			repository = m.prefix + "/" + repository
		}
		all = append(all, place{m.host, repository, true})
	}
	return append(all, place{ref.Registry, ref.Repository, false})
}

// base is the transport to a host.
func (c *Client) base(host string) *http.Transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.bases[host]
	if t == nil {
		d := &dialer{own: host}
		t = &http.Transport{
			Proxy: d.proxy, DialContext: d.dial, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second,
			TLSHandshakeTimeout: answerWithin, ResponseHeaderTimeout: answerWithin, DisableCompression: true,
			TLSClientConfig: &tls.Config{RootCAs: c.settings.roots[host], MinVersion: tls.VersionTLS12},
		}
		c.bases[host] = t
	}
	return t
}

// session returns what was agreed about a repository, agreeing now if need be.
func (c *Client) session(ctx context.Context, p place) (*session, error) {
	key := p.host + "/" + p.repository
	c.mu.Lock()
	s := c.sessions[key]
	if s == nil || time.Since(s.began) > sessionFor {
		if len(c.sessions) >= maxSessions {
			clear(c.sessions)
		}
		s = &session{began: time.Now()}
		c.sessions[key] = s
	}
	c.mu.Unlock()
	s.once.Lock()
	defer s.once.Unlock()
	if s.http != nil {
		return s, nil
	}
	if err := c.agree(ctx, p, s); err != nil {
		return nil, err
	}
	return s, nil
}

// agree greets a registry and gets a token where it wants one.
func (c *Client) agree(ctx context.Context, p place, s *session) error {
	host := p.host
	if host == spec.DefaultRegistry {
		host = name.DefaultRegistry
	}
	plain := c.settings.mayBePlain(p.host)
	var options []name.Option
	if plain {
		options = append(options, name.Insecure)
	}
	r, err := name.NewRegistry(host, options...)
	if err != nil {
		return fmt.Errorf("registry %s: %w", p.host, err)
	}
	who, err := c.settings.authenticator(ctx, r)
	if err != nil {
		return fmt.Errorf("credentials of registry %s: %w", p.host, err)
	}
	guard := &guard{inner: c.base(p.host), plain: plain, host: p.host, agent: c.settings.agent}
	repository := r.Repo(p.repository)
	t, err := transport.NewWithContext(ctx, r, who, guard, []string{repository.Scope(transport.PullScope)})
	if err != nil {
		return err
	}
	s.base = "https://" + r.RegistryStr()
	if plain {
		s.base = r.Scheme() + "://" + r.RegistryStr() // the transport puts in the scheme that the greeting found out
	}
	s.http = &http.Client{Transport: t, CheckRedirect: guard.redirect}
	return nil
}

// forget drops a session, so that the next request agrees anew: the registry may have changed its mind on credentials.
func (c *Client) forget(p place, s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if key := p.host + "/" + p.repository; c.sessions[key] == s {
		delete(c.sessions, key)
	}
}

// each asks the places of an image in order until one answers. When none does the error is that of all.
func (c *Client) each(ctx context.Context, ref spec.ImageRef, ask func(place, *session) error) error {
	var errs []error
	for _, p := range c.places(ref) {
		s, err := c.session(ctx, p)
		if err == nil {
			if err = ask(p, s); err != nil && unauthorized(err) {
				c.forget(p, s)
			}
		}
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err = explain(p, err)
		if p.mirror {
			err = fmt.Errorf("mirror %s: %w", p.host, err)
		}
		errs = append(errs, err)
	}
	return &failure{errs}
}
