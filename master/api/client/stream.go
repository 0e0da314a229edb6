package client

import (
	"archive/tar"
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/wire/credit"
)

// ErrHungUp is what a stream ends with when the master goes away in the middle of it.
var ErrHungUp = errors.New("the master went away; try again")

// maxFile is the largest file, in bytes, that the language reads: larger ones (images, programs) stay behind.
const maxFile = 1 << 20

// upload sends a folder as a tar archive. Folders whose name begins with "." (such as .git) stay behind.
func upload[T any](ctx context.Context, c *Client, where string, query url.Values, tree fs.FS) (T, error) {
	reader, writer := io.Pipe()
	var sender sync.WaitGroup
	sender.Go(func() { writer.CloseWithError(writeTree(writer, tree)) })
	answer, err := askRaw[T](ctx, c, http.MethodPost, where, query, reader, "application/x-tar")
	_ = reader.Close()
	sender.Wait()
	return answer, err
}

// Input is all that the plan depends on: with it the plan can be made without the master. What w supposes of the nodes is
// no part of it.
func (c *Client) Input(ctx context.Context, w What) (*reconcile.Saved, error) {
	method, q, media := http.MethodGet, url.Values{}, ""
	var body io.Reader
	switch {
	case w.Tree != nil:
		reader, writer := io.Pipe()
		var sender sync.WaitGroup
		sender.Go(func() { writer.CloseWithError(writeTree(writer, w.Tree)) })
		defer sender.Wait()
		defer reader.Close()
		method, body, media = http.MethodPost, reader, "application/x-tar"
	case w.Ref != "":
		method = http.MethodPost
		q.Set("ref", w.Ref)
	}
	r, err := c.request(ctx, method, "/v1/input", q, body, media)
	if err != nil {
		return nil, err
	}
	response, err := c.send(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	s, err := api.ReadInput(response.Body)
	if err != nil {
		return nil, unread(ctx, "/v1/input", err)
	}
	return s, nil
}

func writeTree(w io.Writer, tree fs.FS) error {
	archive := tar.NewWriter(w)
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && strings.HasPrefix(path.Base(name), ".") {
				return fs.SkipDir
			}
			return nil
		}
		return writeEntry(archive, tree, name, d)
	})
	if err != nil {
		return fmt.Errorf("read %w", err)
	}
	return archive.Close()
}

func writeEntry(archive *tar.Writer, tree fs.FS, name string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = fs.ReadLink(tree, name); err != nil {
			return err
		}
	} else if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	header.Name = name
	if err := archive.WriteHeader(header); err != nil || target != "" {
		return err
	}
	f, err := tree.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyN(archive, f, info.Size())
	return err
}

// events reads a stream of server-sent events and hands the data of each to handle until that fails.
func (c *Client) events(ctx context.Context, where string, query url.Values, handle func([]byte) error) error {
	r, err := c.request(ctx, http.MethodGet, where, query, nil, "")
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "text/event-stream")
	response, err := c.send(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewReaderSize(response.Body, 64<<10)
	var data []byte
	name := ""
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == io.EOF {
				return nil
			}
			return ErrHungUp
		}
		text := strings.TrimRight(string(line), "\r\n")
		field, value, _ := strings.Cut(text, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case text == "" && data != nil:
			if name == "error" {
				return streamError(data)
			}
			if name == "" { // others, such as gap, are for those who keep the whole story
				if err := handle(data); err != nil {
					return err
				}
			}
			data, name = nil, ""
		case field == "data":
			if data != nil {
				data = append(data, '\n')
			}
			data = append(data, value...)
		case field == "event":
			name = value
		}
	}
}

// streamError is why the master ended a stream.
func streamError(data []byte) error {
	var e api.Error
	if json.Unmarshal(data, &e) == nil && e.Message != "" {
		return &e
	}
	return errors.New(string(data))
}

// EventFilter says which part of the story is meant.
type EventFilter struct {
	Subject string // "" is everything
	Tail    int    // past events to begin with
	Follow  bool
}

// Events hands over the story, event by event, until it ends, handle fails or the context ends.
func (c *Client) Events(ctx context.Context, f EventFilter, handle func(api.Event) error) error {
	q := url.Values{"tail": {integer(f.Tail)}, "follow": {fmt.Sprint(f.Follow)}}
	set(q, "subject", f.Subject)
	return c.events(ctx, "/v1/events", q, func(data []byte) error {
		var e api.Event
		if err := json.Unmarshal(data, &e); err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		return handle(e)
	})
}

// WatchFilter says which allocations are watched; the zero value is all.
type WatchFilter struct {
	App  spec.AppName
	Node spec.NodeID
}

// Watch hands over first all allocations and apps, then what changes.
func (c *Client) Watch(ctx context.Context, f WatchFilter, handle func(api.Change) error) error {
	q := url.Values{}
	set(q, "app", string(f.App))
	set(q, "node", string(f.Node))
	err := c.events(ctx, "/v1/watch", q, func(data []byte) error {
		var change api.Change
		if err := json.Unmarshal(data, &change); err != nil {
			return fmt.Errorf("read change: %w", err)
		}
		return handle(change)
	})
	if err == nil {
		return ErrHungUp
	}
	return err
}

// LogFilter says which output is meant.
type LogFilter struct {
	Task   spec.TaskName // "" is the only main task
	Stream string        // stdout, stderr; "" is both
	Tail   int           // last lines to begin with; -1 is all
	Follow bool
	Since  string // how far back: a duration, or a moment as in RFC 3339; "" is all there is
}

// Logs writes a task's output.
func (c *Client) Logs(ctx context.Context, id spec.AllocationID, f LogFilter, stdout, stderr io.Writer) error {
	q := url.Values{"tail": {integer(f.Tail)}, "follow": {fmt.Sprint(f.Follow)}}
	set(q, "task", string(f.Task))
	set(q, "stream", f.Stream)
	set(q, "since", f.Since)
	r, err := c.request(ctx, http.MethodGet, "/v1/allocations/"+segment(string(id))+"/logs", q, nil, "")
	if err != nil {
		return err
	}
	r.Header.Set("Accept", api.FrameMedia)
	response, err := c.send(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = readFrames(bufio.NewReader(response.Body), stdout, stderr, nil)
	if ctx.Err() != nil {
		return nil // the reader has seen enough
	}
	return err
}

// readFrames writes output until the last frame, and returns the exit code in it. grant is called with what more may be sent.
func readFrames(r io.Reader, stdout, stderr io.Writer, grant func(bytes int)) (int, error) {
	for {
		kind, payload, err := api.ReadFrame(r)
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return 0, ErrHungUp
			}
			return 0, err
		}
		switch kind {
		case api.FrameStdout:
			_, err = stdout.Write(payload)
		case api.FrameStderr:
			_, err = stderr.Write(payload)
		case api.FrameCredit:
			var more api.Credit
			if json.Unmarshal(payload, &more) == nil && grant != nil {
				grant(more.Bytes)
			}
		case api.FrameEnd:
			var end api.End
			if err := json.Unmarshal(payload, &end); err != nil {
				return 0, fmt.Errorf("read end: %w", err)
			}
			if end.Error != "" {
				return end.Code, errors.New(end.Error)
			}
			return end.Code, nil
		}
		if err != nil {
			return 0, fmt.Errorf("write output: %w", err)
		}
	}
}

// ExecRequest says what to run in a task.
type ExecRequest struct {
	Task     spec.TaskName // "" is the only main task
	Command  []string
	Terminal bool
	Rows     int
	Columns  int
	Term     string // kind of the terminal, for the variable TERM
}

// Streams are the caller's ends of an exec. A nil reader is no input.
type Streams struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	Resize <-chan api.Size // new sizes of the terminal; may be nil
	// Signals, by their names, for the command and what it has started; may be nil. A terminal needs none: its keys make them.
	Signals <-chan string
}

// Exec runs a command in a task and returns its exit code. The end of the context hangs the command up.
func (c *Client) Exec(ctx context.Context, id spec.AllocationID, request ExecRequest, s Streams) (int, error) {
	q := url.Values{"command": request.Command, "rows": {integer(request.Rows)}, "columns": {integer(request.Columns)},
		"terminal": {fmt.Sprint(request.Terminal)}, "stdin": {fmt.Sprint(s.Stdin != nil)}, "credit": {"true"}}
	set(q, "task", string(request.Task))
	set(q, "term", request.Term)
	r, err := c.request(ctx, http.MethodPost, "/v1/allocations/"+segment(string(id))+"/exec", q, nil, "")
	if err != nil {
		return 0, err
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", api.ExecProtocol)
	conn, err := c.dialTLS(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := r.Write(conn); err != nil {
		return 0, c.unreachable(err)
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, r)
	if err != nil {
		return 0, c.unreachable(err)
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		defer response.Body.Close()
		return 0, refusal(response)
	}
	done := make(chan struct{})
	defer close(done)
	var one sync.Mutex
	send := func(kind api.FrameType, payload []byte) error {
		one.Lock()
		defer one.Unlock()
		return api.WriteFrame(conn, kind, payload)
	}
	window, _ := strconv.Atoi(response.Header.Get(api.CreditHeader)) // an older master says nothing
	room := credit.NewAllowance(window)
	defer room.Close()
	if s.Stdin != nil {
		go sendInput(s.Stdin, room, send) // ends with its reader, which may be a terminal that nobody types on
	}
	if s.Resize != nil {
		go sendEach(s.Resize, done, func(size api.Size) error { return sendJSON(send, api.FrameResize, size) })
	}
	if s.Signals != nil {
		go sendEach(s.Signals, done, func(name string) error { return sendJSON(send, api.FrameSignal, api.Signal{Signal: name}) })
	}
	code, err := readFrames(reader, s.Stdout, s.Stderr, room.Grant)
	if ctx.Err() != nil {
		return code, ctx.Err()
	}
	return code, err
}

func sendInput(r io.Reader, room *credit.Allowance, send func(api.FrameType, []byte) error) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := r.Read(buffer)
		for p := buffer[:n]; len(p) > 0; {
			may := room.Spend(len(p))
			if may == 0 || send(api.FrameStdin, p[:may]) != nil {
				return
			}
			p = p[may:]
		}
		if err != nil {
			_ = send(api.FrameStdin, nil)
			return
		}
	}
}

func sendEach[T any](values <-chan T, done <-chan struct{}, send func(T) error) {
	for {
		select {
		case v, ok := <-values:
			if !ok || send(v) != nil {
				return
			}
		case <-done:
			return
		}
	}
}

func sendJSON(send func(api.FrameType, []byte) error, kind api.FrameType, v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return send(kind, payload)
}
