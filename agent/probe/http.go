package probe

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/stowage/stowage/spec"
)

// httpQuestion asks by HTTP/1.1. It writes the request that it made once and reads the answer itself: a client with connections,
// goroutines and buffers of its own for each answer would cost several times as much.
type httpQuestion struct {
	line
	request []byte
	method  *http.Request // says that there is no body where there is none
	status  []statusRange // that count as well
	body    *regexp.Regexp
}

type statusRange struct{ low, high int }

// wellStatus is what counts as well when a check does not say.
var wellStatus = []statusRange{{200, 399}}

func newHTTPQuestion(c *Check) (*httpQuestion, error) {
	l, err := newLine(c, "http/1.1")
	if err != nil {
		return nil, err
	}
	q := &httpQuestion{line: l, method: &http.Request{Method: cmp.Or(c.Method, http.MethodGet)}, status: wellStatus}
	if c.Status != nil {
		q.status = nil
	}
	for _, s := range c.Status {
		low, high, err := spec.ParseStatus(s)
		if err != nil {
			return nil, err
		}
		q.status = append(q.status, statusRange{low, high})
	}
	if c.Body != "" {
		if q.body, err = regexp.Compile(c.Body); err != nil {
			return nil, err
		}
	}
	q.request, err = writeRequest(c, q.method.Method)
	return q, err
}

func writeRequest(c *Check, method string) ([]byte, error) {
	if !strings.HasPrefix(c.Path, "/") {
		return nil, fmt.Errorf("the path %q does not begin with a slash", c.Path)
	}
	target, err := url.ParseRequestURI(c.Path)
	if err != nil {
		return nil, fmt.Errorf("the path %q cannot be asked for: %w", c.Path, err)
	}
	headers := http.Header{"User-Agent": {"stowage-check"}, "Accept": {"*/*"}}
	host := c.Address
	for name, value := range c.Headers { // any order: written sorted
		if name = http.CanonicalHeaderKey(name); name == "Host" {
			host = value
			continue
		}
		headers.Set(name, value)
	}
	headers.Set("Connection", "close")
	if method != http.MethodGet && method != http.MethodHead {
		headers.Set("Content-Length", "0")
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, target.RequestURI(), headerValue(host))
	if err := headers.Write(&b); err != nil {
		return nil, err
	}
	b.WriteString("\r\n")
	return b.Bytes(), nil
}

// headerValue takes the ends of lines out of what the node filled in.
func headerValue(text string) string {
	return strings.TrimSpace(strings.NewReplacer("\r", " ", "\n", " ").Replace(text))
}

func (q *httpQuestion) ask(ctx context.Context) (string, error) {
	conn, done, err := q.dial(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	if _, err := conn.Write(q.request); err != nil {
		return "", errors.New(plain(err))
	}
	r, release := reader(conn)
	defer release()
	response, err := q.read(r)
	if err != nil {
		return "", errors.New(plain(err))
	}
	status := "HTTP status " + response.Status
	well := slices.ContainsFunc(q.status, func(s statusRange) bool { return s.low <= response.StatusCode && response.StatusCode <= s.high })
	if well && q.body == nil {
		return status, nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBodyBytes)) // of an answer that is not well, as much of the reason as there is
	switch {
	case !well:
		if line := firstLine(string(body)); line != "" {
			status += ": " + line
		}
		return "", errors.New(status)
	case q.body.Match(body):
		return status, nil
	case err != nil:
		return "", errors.New(plain(err))
	}
	return "", fmt.Errorf("%s, and the body does not match %q: %s", status, q.body, firstLine(string(body)))
}

// read reads the answer, past those that say that it is still to come.
func (q *httpQuestion) read(r *bufio.Reader) (*http.Response, error) {
	for {
		response, err := http.ReadResponse(r, q.method)
		if err != nil || response.StatusCode >= 200 || response.StatusCode == http.StatusSwitchingProtocols {
			return response, err
		}
	}
}
