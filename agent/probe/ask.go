package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/stowage/stowage/spec"
)

// Limits of an answer to an http check: more is not read.
const (
	maxHeaderBytes = 64 << 10
	maxBodyBytes   = 4 << 10
)

// asker asks tasks. It holds nothing between two questions: connections are closed after each.
type asker struct {
	dialer            net.Dialer
	strict, indulgent *http.Client // as to certificates
}

func newAsker() asker {
	a := asker{dialer: net.Dialer{KeepAlive: -1}}
	a.strict, a.indulgent = a.client(false), a.client(true)
	return a
}

func (a *asker) client(insecure bool) *http.Client {
	dialer := a.dialer
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{ // no proxy: what is asked is on this node
			DialContext: dialer.DialContext, DisableKeepAlives: true, DisableCompression: true,
			MaxResponseHeaderBytes: maxHeaderBytes,
			// A task's certificate is often its own; whether to mind is the check's decision.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: insecure},
		},
	}
}

// ask runs a check once. An error says why the check did not pass.
func (a *asker) ask(ctx context.Context, c Check) (output string, err error) {
	switch c.Type {
	case spec.CheckTCP:
		return a.tcp(ctx, c)
	case spec.CheckHTTP:
		return a.http(ctx, c)
	}
	code, output, err := c.Exec(ctx, c.Command)
	switch {
	case err != nil:
		return "", fmt.Errorf("run command: %w", err)
	case code != 0 && strings.TrimSpace(output) == "":
		return "", fmt.Errorf("exit code %d", code)
	case code != 0:
		return "", fmt.Errorf("exit code %d: %s", code, strings.TrimSpace(output))
	}
	return output, nil
}

func (a *asker) tcp(ctx context.Context, c Check) (string, error) {
	conn, err := a.dialer.DialContext(ctx, "tcp", c.Address)
	if err != nil {
		return "", errors.New(plain(err))
	}
	return "", conn.Close()
}

func (a *asker) http(ctx context.Context, c Check) (string, error) {
	scheme, client := "http", a.strict
	if c.TLS {
		scheme = "https"
	}
	if c.Insecure {
		client = a.indulgent
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+c.Address+c.Path, nil)
	if err != nil {
		return "", fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("User-Agent", "stowage-check")
	response, err := client.Do(request)
	if err != nil {
		return "", errors.New(plain(err))
	}
	defer response.Body.Close()
	status := "HTTP status " + response.Status
	if response.StatusCode >= 200 && response.StatusCode <= 399 {
		return status, nil
	}
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxBodyBytes)) // as much of the reason as there is
	if line := firstLine(string(body)); line != "" {
		status += ": " + line
	}
	return "", errors.New(status)
}

// plain leaves the part of a network error that differs between causes, without the ports that differ between runs.
func plain(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" && op.Addr != nil {
		return fmt.Sprintf("dial %s: %v", op.Addr, op.Err)
	}
	if op != nil {
		return fmt.Sprintf("%s: %v", op.Op, op.Err)
	}
	return err.Error()
}
