package server

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Timings of streams.
const (
	// keepAlive is how often a silent stream shows that it lives; proxies close what is silent for a minute.
	keepAlive = 15 * time.Second
	// writeTimeout is how long a reader may leave events unread: it can go on where it was cut.
	writeTimeout = 30 * time.Second
	// flowTimeout is how long a reader may leave a long answer unread: a person pages through a log.
	flowTimeout = 10 * time.Minute
)

// KeepAlive is how often a stream without news sends a comment.
const KeepAlive = keepAlive

// Events is a stream of server-sent events.
type Events struct {
	w http.ResponseWriter
	c *http.ResponseController
}

// Stream begins a stream of server-sent events.
func Stream(w http.ResponseWriter) *Events {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	e := &Events{w, http.NewResponseController(w)}
	_ = e.c.Flush()
	return e
}

// Send writes one event: its name ("" is a plain message), its ID if it has one, and its data as JSON.
func (e *Events) Send(name, id string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	text := ""
	if name != "" {
		text += "event: " + name + "\n"
	}
	if id != "" {
		text += "id: " + id + "\n"
	}
	return e.write(text + "data: " + string(data) + "\n\n")
}

// Alive writes a comment, so that both ends see that the stream lives.
func (e *Events) Alive() error { return e.write(": alive\n\n") }

func (e *Events) write(text string) error {
	if err := e.c.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := e.w.Write([]byte(text)); err != nil {
		return err
	}
	return e.c.Flush()
}

// Flow writes the body of a long answer, each piece at once, and gives up when the reader does not read.
type Flow struct {
	w http.ResponseWriter
	c *http.ResponseController
}

// NewFlow begins a long answer.
func NewFlow(w http.ResponseWriter, media string) *Flow {
	w.Header().Set("Content-Type", media)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	f := &Flow{w, http.NewResponseController(w)}
	_ = f.c.Flush()
	return f
}

// Write implements io.Writer. A reader may be slow for as long as it reads now and then.
func (f *Flow) Write(p []byte) (int, error) {
	if err := f.c.SetWriteDeadline(time.Now().Add(flowTimeout)); err != nil {
		return 0, err
	}
	n, err := f.w.Write(p)
	if err == nil {
		err = f.c.Flush()
	}
	return n, err
}
