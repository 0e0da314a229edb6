package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// maxIdle is how many attempts in a row may bring nothing before a download fails.
	maxIdle = 4
	// maxAttempts bounds them all: a server that ends each answer after a byte is none.
	maxAttempts = 100
	// firstGap is before the second attempt in a row that brought nothing; it doubles.
	firstGap = 500 * time.Millisecond
	// stall is how long a server may send nothing; a slow one is no error.
	stall = 30 * time.Second
)

// errStalled ends an attempt.
var errStalled = fmt.Errorf("nothing came for %s", stall)

// final is an error that another attempt would not change.
type final struct{ error }

// Unwrap returns the error.
func (f final) Unwrap() error { return f.error }

// download is the way of a file to the disk.
type download struct {
	request *request
	file    *os.File
	tell    func(have, total int64)
	client  *http.Client
	url     *url.URL
	stall   time.Duration
	gap     time.Duration

	have, total int64  // bytes; total 0: not known
	tag         string // what tells this content from another under the same URL, in the words of the server; "" if it does not say
}

func newDownload(r *request, file *os.File, tell func(have, total int64)) *download {
	return &download{request: r, file: file, tell: tell, stall: stall, gap: firstGap}
}

// run brings the file here.
func (d *download) run(ctx context.Context) (err error) {
	if d.url, err = url.Parse(d.request.URL); err != nil {
		return err
	}
	d.client = (&guard{first: d.url}).client()
	defer d.client.CloseIdleConnections()
	if err := d.begin(); err != nil {
		return err
	}
	return d.again(ctx, d.attempt)
}

// again attempts until it is done, or another attempt would be of no use.
func (d *download) again(ctx context.Context, attempt func(context.Context) error) error {
	idle, gap := 0, d.gap
	for n := 1; ; n++ {
		before := d.have
		err := attempt(ctx)
		if err == nil {
			return nil
		}
		if idle++; d.have > before {
			idle, gap = 0, d.gap
		}
		var last final
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &last), errors.Is(err, errNear), idle >= maxIdle, n >= maxAttempts:
			return d.explain(err)
		case idle > 0:
			if !pause(ctx, gap) {
				return context.Cause(ctx)
			}
			gap *= 2
		}
	}
}

// begin finds out what an earlier helper left.
func (d *download) begin() error {
	if !d.request.Resume {
		return d.restart()
	}
	end, err := d.file.Seek(0, io.SeekEnd)
	if err == nil && end > d.request.Most {
		return d.restart()
	}
	d.have = end
	return err
}

// restart throws away what is there.
func (d *download) restart() error {
	d.have = 0
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return final{err}
	}
	if err := d.file.Truncate(0); err != nil {
		return final{err}
	}
	return nil
}

// explain takes the URL out of an error, as whoever reports it names it.
func (d *download) explain(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// attempt asks for the rest, and writes what comes.
func (d *download) attempt(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	watchdog := time.AfterFunc(d.stall, func() { cancel(errStalled) })
	defer watchdog.Stop()
	response, err := d.ask(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	defer response.Body.Close()
	done, err := d.accept(response)
	if err != nil || done {
		return err
	}
	_, err = io.Copy(d, &watched{response.Body, func() { watchdog.Reset(d.stall) }})
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

func (d *download) ask(ctx context.Context) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url.String(), nil)
	if err != nil {
		return nil, final{err}
	}
	r := d.request
	switch {
	case r.Bearer != "":
		request.Header.Set("Authorization", "Bearer "+r.Bearer)
	case r.User != "" || r.Password != "":
		request.SetBasicAuth(r.User, r.Password)
	}
	request.Header.Set("User-Agent", r.Agent)
	for name, value := range r.Headers {
		if strings.EqualFold(name, "Host") {
			request.Host = value
			continue
		}
		request.Header.Set(name, value)
	}
	request.Header.Set("Accept-Encoding", "identity") // the checksum is of the file as it lies there
	if d.have > 0 {
		request.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.have))
		if d.tag != "" {
			request.Header.Set("If-Range", d.tag)
		}
	}
	return d.client.Do(request)
}

// accept looks at the head of an answer. Done: there is nothing more to come.
func (d *download) accept(response *http.Response) (done bool, err error) {
	switch code := response.StatusCode; {
	case code == http.StatusPartialContent:
		start, total, ok := contentRange(response.Header.Get("Content-Range"))
		if !ok || start != d.have {
			return false, errors.Join(errors.New("the server sends another part than it was asked for"), d.restart())
		}
		d.total = total
	case code == http.StatusRequestedRangeNotSatisfiable && d.have > 0:
		if _, total, ok := contentRange(response.Header.Get("Content-Range")); ok && total == d.have {
			return true, nil
		}
		return false, errors.Join(errors.New("the server has less than was downloaded before"), d.restart())
	case code == http.StatusOK:
		if d.have > 0 {
			if err := d.restart(); err != nil {
				return false, err
			}
		}
		d.total = max(response.ContentLength, 0)
	default:
		err := fmt.Errorf("the server answers %s", response.Status)
		if code == http.StatusUnauthorized || code == http.StatusForbidden {
			err = fmt.Errorf("%w: name who may read it in the credentials of the node (stowage agent --registry-credentials)", err)
		}
		if code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooEarly && code != http.StatusTooManyRequests {
			return false, final{err}
		}
		return false, err
	}
	if d.total > d.request.Most {
		return false, final{tooMuch(d.request.Most)}
	}
	if d.tag = response.Header.Get("ETag"); strings.HasPrefix(d.tag, "W/") { // a weak one tells nothing of bytes (RFC 9110, 13.1.5)
		d.tag = ""
	}
	return false, nil
}

// contentRange reads "bytes 5-9/10" and "bytes */10" (RFC 9110, 14.4). A total that is not told is 0.
func contentRange(text string) (start, total int64, ok bool) {
	text, ok = strings.CutPrefix(text, "bytes ")
	part, size, found := strings.Cut(text, "/")
	if !ok || !found {
		return 0, 0, false
	}
	var err error
	if size != "*" {
		if total, err = strconv.ParseInt(size, 10, 64); err != nil || total < 0 {
			return 0, 0, false
		}
	}
	if part == "*" {
		return 0, total, true
	}
	first, _, _ := strings.Cut(part, "-")
	start, err = strconv.ParseInt(first, 10, 64)
	return start, total, err == nil && start >= 0
}

// Write takes a part of the file.
func (d *download) Write(p []byte) (int, error) {
	if d.have+int64(len(p)) > d.request.Most {
		return 0, final{tooMuch(d.request.Most)}
	}
	n, err := d.file.Write(p)
	d.have += int64(n)
	d.tell(d.have, d.total)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = errors.New("the disk of the node is full: make room, and it is tried again")
	}
	if err != nil {
		err = final{err}
	}
	return n, err
}

// watched tells of every byte that comes.
type watched struct {
	io.Reader
	came func()
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	if n > 0 {
		w.came()
	}
	return n, err
}

// pause waits, and returns false when ctx ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
