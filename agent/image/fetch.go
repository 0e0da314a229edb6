package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"
)

// errStalled ends a download.
var errStalled = errors.New("nothing more arrives")

// errTooLarge stops a copy.
var errTooLarge = errors.New("there is more data than announced or allowed")

// fetch copies what a URL leads to into a file in tmp that has no name, verifying its checksum.
func fetch(ctx context.Context, ref Ref, tmp string, limits Limits) (*os.File, error) {
	u, err := url.Parse(ref.URL)
	if err != nil {
		return nil, fmt.Errorf("fetch image: %w", err)
	}
	var body io.ReadCloser
	if u.Scheme == "file" {
		body, err = os.Open(u.Path)
	} else {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		watchdog := time.AfterFunc(limits.Stall, func() { cancel(errStalled) })
		defer watchdog.Stop()
		if body, err = get(ctx, ref.URL); err == nil {
			body = &watched{ReadCloser: body, ctx: ctx, watchdog: watchdog, stall: limits.Stall}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("fetch image %s: %w", u.Redacted(), err)
	}
	defer body.Close()
	sum := sha256.New()
	capped := &capped{reader: &counter{reader: body, ctx: ctx}, left: limits.ArchiveBytes}
	f, err := spool(io.TeeReader(capped, sum), tmp)
	if err != nil {
		return nil, fmt.Errorf("fetch image %s: %w", u.Redacted(), err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != ref.SHA256 {
		f.Close()
		return nil, fmt.Errorf("fetch image %s: its sha256 is %s, and %s is expected: correct the checksum if the file changed on purpose", u.Redacted(), got, ref.SHA256)
	}
	return f, nil
}

func get(ctx context.Context, address string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept-Encoding", "identity") // the checksum is of the file as it lies there
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("the server answers %s", response.Status)
	}
	return response.Body, nil
}

// watched restarts the watchdog with every byte.
type watched struct {
	io.ReadCloser
	ctx      context.Context
	watchdog *time.Timer
	stall    time.Duration
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if n > 0 {
		w.watchdog.Reset(w.stall)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(w.ctx); cause != nil {
			err = cause
		}
	}
	return n, err
}

// capped fails once more than left bytes have come.
type capped struct {
	reader io.Reader
	left   int64
}

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.reader.Read(p)
	if c.left -= int64(n); c.left < 0 {
		return n, errTooLarge
	}
	return n, err
}
