package artifact

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/stowage/stowage/agent/artifact/git"
)

// maxOffer bounds what a server says beside the pack, in bytes: the names of its branches and tags.
const maxOffer = 64 << 20

// clone brings the pack with a commit here. Servers cannot go on in the middle of one: each attempt begins anew.
func (d *download) clone(ctx context.Context) (commit string, err error) {
	if d.url, err = url.Parse(d.request.URL); err != nil {
		return "", err
	}
	r := d.request
	ask := git.Ask{URL: r.URL, Commit: r.Commit, Ref: r.Ref, User: r.User, Password: r.Password, Bearer: r.Bearer}
	attempts := 0
	err = d.again(ctx, func(ctx context.Context) error {
		if err := d.restart(); err != nil {
			return err
		}
		client := (&guard{first: d.url, stall: d.stall}).client()
		defer client.CloseIdleConnections()
		client.Transport = &capped{inner: client.Transport, left: r.Most + maxOffer, agent: r.Agent}
		commit, err = git.Fetch(ctx, client, ask, d)
		if attempts++; err != nil && (attempts == maxIdle || errors.Is(err, git.ErrDenied) || errors.Is(err, git.ErrMissing) || errors.Is(err, git.ErrNoRef)) {
			return final{err}
		}
		return err
	})
	return commit, err
}

// capped bounds all answers together.
type capped struct {
	inner http.RoundTripper
	left  int64
	agent string
}

// RoundTrip implements http.RoundTripper.
func (c *capped) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("User-Agent", c.agent)
	response, err := c.inner.RoundTrip(request)
	if err == nil {
		response.Body = &cappedBody{response.Body, c}
	}
	return response, err
}

type cappedBody struct {
	io.ReadCloser
	c *capped
}

var errLong = errors.New("the server says more than any repository has")

func (b *cappedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.c.left -= int64(n); b.c.left < 0 {
		return n, final{errLong}
	}
	return n, err
}
