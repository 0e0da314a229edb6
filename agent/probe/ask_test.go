package probe

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stowage/stowage/spec"
)

func ask(t *testing.T, c Check) (string, error) {
	t.Helper()
	c = withDefaults(c)
	q, err := newQuestion(&c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	return q.ask(ctx)
}

func host(server *httptest.Server) string { return server.Listener.Addr().String() }

func TestHTTPStatus(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var status int
		fmt.Sscanf(r.URL.Path, "/%d", &status)
		w.Header().Set("Location", "/500")
		w.WriteHeader(status)
		if status >= 400 {
			fmt.Fprint(w, "the queue is full\nand more")
		}
	}))
	defer server.Close()
	for status, pass := range map[int]bool{200: true, 204: true, 301: true, 399: true, 400: false, 404: false, 500: false, 503: false} {
		output, err := ask(t, Check{Address: host(server), Check: spec.Check{Type: spec.CheckHTTP, Path: fmt.Sprint("/", status)}})
		if (err == nil) != pass {
			t.Errorf("status %d gives %q, %v; want it to pass: %v", status, output, err, pass)
		}
		if !pass && !strings.Contains(err.Error(), "the queue is full") {
			t.Errorf("status %d: %q does not carry what the server said", status, err)
		}
	}
}

// TestHTTPReadsNoMoreThanItNeeds asks a server that never stops to talk, and sees that its connections are closed.
func TestHTTPReadsNoMoreThanItNeeds(t *testing.T) {
	var open atomic.Int32
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		switch s {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed:
			open.Add(-1)
		}
	}
	server.Start()
	defer server.Close()
	for range 3 {
		if _, err := ask(t, Check{Address: host(server), Check: spec.Check{Type: spec.CheckHTTP}}); err == nil || !strings.Contains(err.Error(), "500") {
			t.Errorf("got %v", err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); open.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are still open", open.Load())
		}
	}
}

func TestTCP(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := Check{Address: listener.Addr().String(), Check: spec.Check{Type: spec.CheckTCP}}
	if _, err := ask(t, c); err != nil {
		t.Errorf("an open port gives %v", err)
	}
	listener.Close()
	first := ""
	for range 2 { // the same trouble must read the same, or it would be news each time
		_, err := ask(t, c)
		if err == nil || !strings.Contains(err.Error(), "refused") || first != "" && err.Error() != first {
			t.Fatalf("a closed port gives %v, before %q", err, first)
		}
		first = err.Error()
	}
}

func TestHTTPTimeout(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	results := make(chan Result, 16)
	p := New(func(r Result) { results <- r })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	add(t, p, Check{ID: "a", Address: listener.Addr().String(), Check: spec.Check{Type: spec.CheckHTTP, Timeout: 50 * spec.Millisecond}})
	if r := <-results; r.Passing || r.Output != "no answer within 50ms" {
		t.Errorf("got %+v", r)
	}
	cancel()
	<-done
}
