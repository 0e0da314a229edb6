package executor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/stowage/stowage/spec/wire/credit"
)

// Client talks to an executor. It holds no connection between calls, so it outlives any number of executors on its socket. It
// is safe for concurrent use.
type Client struct{ socket string }

// NewClient returns a client of the executor that listens on a socket. It does not connect; Ping does.
func NewClient(socket string) *Client { return &Client{socket: socket} }

// open connects and sends a call. Closing the connection, which the end of the context does, cancels it.
func (c *Client) open(ctx context.Context, req call) (*net.UnixConn, func() bool, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", c.socket)
	if err != nil {
		return nil, nil, fmt.Errorf("reach executor: %w", err)
	}
	detach := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	req.Version = Version
	if err := writeJSON(conn, kindCall, req); err != nil {
		detach()
		conn.Close()
		return nil, nil, fmt.Errorf("call executor: %w", err)
	}
	return conn.(*net.UnixConn), detach, nil
}

// do sends a call and waits for its answer; item is given what comes before it.
func (c *Client) do(ctx context.Context, req call, item func([]byte) error) (answer, error) {
	conn, detach, err := c.open(ctx, req)
	if err != nil {
		return answer{}, err
	}
	defer conn.Close()
	defer detach()
	for {
		k, payload, err := readFrame(conn)
		switch {
		case ctx.Err() != nil:
			return answer{}, ctx.Err()
		case err != nil:
			return answer{}, fmt.Errorf("call %s: executor went away: %w", req.Verb, noEOF(err))
		case k == kindItem && item != nil:
			if err := item(payload); err != nil {
				return answer{}, err
			}
		case k == kindAnswer:
			return readAnswer(payload)
		}
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func readAnswer(payload []byte) (answer, error) {
	var a answer
	if err := json.Unmarshal(payload, &a); err != nil {
		return a, fmt.Errorf("read answer: %w", err)
	}
	if a.Error != nil {
		return a, a.Error
	}
	return a, nil
}

func (c *Client) container(ctx context.Context, req call) (Container, error) {
	a, err := c.do(ctx, req, nil)
	if err != nil {
		return Container{}, err
	}
	if a.Container == nil {
		return Container{}, fmt.Errorf("call %s: answer without a container", req.Verb)
	}
	return *a.Container, nil
}

// Ping asks who is there and what it can do.
func (c *Client) Ping(ctx context.Context) (Features, error) {
	a, err := c.do(ctx, call{Verb: verbPing}, nil)
	if err != nil {
		return Features{}, err
	}
	if a.Features == nil {
		return Features{}, errors.New("ping: answer without features")
	}
	return *a.Features, nil
}

// Start creates a container and runs its command, or releases the one that was parked for the same spec. When it returns an error, nothing is left of it; but when the connection broke
// nobody knows, and Get or List tells.
func (c *Client) Start(ctx context.Context, spec Spec) (Container, error) {
	return c.container(ctx, call{Verb: verbStart, Spec: &spec})
}

// Prepare creates a container and leaves it parked before its command, ready to be released at once by Release, or by a Start with the
// same spec. It ends with the executor.
func (c *Client) Prepare(ctx context.Context, spec Spec) (Container, error) {
	return c.container(ctx, call{Verb: verbPrepare, Spec: &spec})
}

// PrepareNext is Prepare for a container that is to follow one that runs on the same root: so both specs want the root kept. Release it, or
// Start it, once the other has exited.
func (c *Client) PrepareNext(ctx context.Context, spec Spec, present string) (Container, error) {
	return c.container(ctx, call{Verb: verbPrepare, Spec: &spec, ID: present})
}

// Release runs the command of a prepared container.
func (c *Client) Release(ctx context.Context, id string) (Container, error) {
	return c.container(ctx, call{Verb: verbRelease, ID: id})
}

// Get returns one container, or ErrNotFound.
func (c *Client) Get(ctx context.Context, id string) (Container, error) {
	return c.container(ctx, call{Verb: verbGet, ID: id})
}

// Signal sends a signal to the first process of a container. If it has exited, nothing happens.
func (c *Client) Signal(ctx context.Context, id string, signal int) error {
	_, err := c.do(ctx, call{Verb: verbSignal, ID: id, Signal: signal}, nil)
	return err
}

// Kill kills every process of a container.
func (c *Client) Kill(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{Verb: verbKill, ID: id}, nil)
	return err
}

// Delete kills what is left of a container and removes its cgroups, mounts and records, its exit included. The writable directory
// and the logs stay: they belong to the caller.
func (c *Client) Delete(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{Verb: verbDelete, ID: id}, nil)
	return err
}

// List returns all containers by ID.
func (c *Client) List(ctx context.Context) ([]Container, error) {
	var all []Container
	_, err := c.do(ctx, call{Verb: verbList}, func(payload []byte) error {
		var one Container
		if err := json.Unmarshal(payload, &one); err != nil {
			return fmt.Errorf("read list: %w", err)
		}
		all = append(all, one)
		return nil
	})
	return all, err
}

// Stats returns what a container uses.
func (c *Client) Stats(ctx context.Context, id string) (Stats, error) {
	a, err := c.do(ctx, call{Verb: verbStats, ID: id}, nil)
	if err != nil {
		return Stats{}, err
	}
	if a.Stats == nil {
		return Stats{}, errors.New("stats: answer without stats")
	}
	return *a.Stats, nil
}

// Reserve says which cores belong to containers whose spec names them, all others are kept off these. It stays so until the next
// call, across executors too. Without cores everybody may run anywhere.
func (c *Client) Reserve(ctx context.Context, cores []int) error {
	_, err := c.do(ctx, call{Verb: verbReserve, Cores: cores}, nil)
	return err
}

// Shutdown ends the executor. Containers run on, and the next executor on the same state directory adopts them.
func (c *Client) Shutdown(ctx context.Context) error {
	_, err := c.do(ctx, call{Verb: verbShutdown}, nil)
	return err
}

// Exits calls handle for each exit after the cursor, first those of the past that are not deleted yet, then each as it happens. It
// returns when the context ends, the executor goes, or handle fails; the cursor of the last event handled continues the stream. An
// exit is never skipped; across a restart of the executor one may come twice.
func (c *Client) Exits(ctx context.Context, after Cursor, handle func(ExitEvent) error) error {
	_, err := c.do(ctx, call{Verb: verbExits, Cursor: after}, func(payload []byte) error {
		var event ExitEvent
		if err := json.Unmarshal(payload, &event); err != nil {
			return fmt.Errorf("read exit: %w", err)
		}
		return handle(event)
	})
	return err
}

// Streams are the caller's ends of an exec. A nil reader is an empty one, a nil writer throws away.
type Streams struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	// Resize, if not nil, brings new sizes of the terminal.
	Resize <-chan Size
	// Signals, if not nil, brings signals by their numbers, for the process and the others of its group.
	Signals <-chan int
}

// Exec runs a process inside a running container and returns how it ended. When the context ends, or the caller dies, the process and
// those of its session are hung up, and killed if they do not end by that. A read of
// Streams.Stdin that blocks is not interrupted: the goroutine that reads it ends with the next byte or error.
func (c *Client) Exec(ctx context.Context, id string, spec ExecSpec, streams Streams) (Exit, error) {
	conn, detach, err := c.open(ctx, call{Verb: verbExec, ID: id, Exec: &spec})
	if err != nil {
		return Exit{}, err
	}
	defer conn.Close()
	defer detach()
	done := make(chan struct{})
	defer close(done)
	var room *credit.Allowance
	var write sync.Mutex
	send := func(k kind, payload []byte) error {
		write.Lock()
		defer write.Unlock()
		return writeFrame(conn, k, payload)
	}
	for {
		k, payload, err := readFrame(conn)
		switch {
		case ctx.Err() != nil:
			return Exit{}, ctx.Err()
		case err != nil:
			return Exit{}, fmt.Errorf("exec: executor went away: %w", noEOF(err))
		}
		switch k {
		case kindStarted:
			var window int
			_ = json.Unmarshal(payload, &window) // an older executor says nothing
			room = credit.NewAllowance(window)
			defer room.Close()
			go sendInput(streams.Stdin, room, send)
			if streams.Resize != nil {
				go sendEach(kindResize, streams.Resize, done, send)
			}
			if streams.Signals != nil {
				go sendEach(kindSignal, streams.Signals, done, send)
			}
		case kindTaken:
			var bytes int
			if json.Unmarshal(payload, &bytes) == nil && room != nil {
				room.Grant(bytes)
			}
		case kindStdout:
			err = copyTo(streams.Stdout, payload)
		case kindStderr:
			err = copyTo(streams.Stderr, payload)
		case kindAnswer:
			a, err := readAnswer(payload)
			if err == nil && a.Exit == nil {
				err = errors.New("exec: answer without an exit")
			}
			if err != nil {
				return Exit{}, err
			}
			return *a.Exit, nil
		}
		if err != nil {
			return Exit{}, fmt.Errorf("exec: pass on output: %w", err)
		}
	}
}

func copyTo(w io.Writer, p []byte) error {
	if w == nil {
		return nil
	}
	_, err := w.Write(p)
	return err
}

func sendInput(r io.Reader, room *credit.Allowance, send func(kind, []byte) error) {
	if r != nil {
		buf := make([]byte, 32<<10)
		for {
			n, err := r.Read(buf)
			for p := buf[:n]; len(p) > 0; {
				may := room.Spend(len(p))
				if may == 0 || send(kindStdin, p[:may]) != nil {
					return
				}
				p = p[may:]
			}
			if err != nil {
				break
			}
		}
	}
	_ = send(kindEOF, nil)
}

// sendEach sends values as frames of one kind until the exec is done.
func sendEach[T any](k kind, values <-chan T, done <-chan struct{}, send func(kind, []byte) error) {
	for {
		select {
		case <-done:
			return
		case v, ok := <-values:
			if !ok {
				return
			}
			payload, err := json.Marshal(v)
			if err != nil || send(k, payload) != nil {
				return
			}
		}
	}
}
