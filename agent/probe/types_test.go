package probe

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/stowage/stowage/spec"
)

// TestHTTPRequests asks a server that answers as the request says.
func TestHTTPRequests(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Padding", strings.Repeat("x", 1000))
		switch r.URL.Path {
		case "/host":
			fmt.Fprintf(w, "host %s token %s", r.Host, r.Header.Get("X-Token"))
		case "/method":
			fmt.Fprint(w, r.Method, " ", r.URL.RawQuery)
		case "/early":
			w.WriteHeader(http.StatusEarlyHints)
			fmt.Fprint(w, "late")
		case "/long":
			fmt.Fprint(w, strings.Repeat("x", maxBodyBytes), "ready")
		case "/teapot":
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer server.Close()
	for _, c := range []struct {
		name  string
		check spec.Check
		want  string // part of the output, or of the error after "!"
	}{
		{"the host and a header", spec.Check{Path: "/host", Headers: map[string]string{"host": "shop.example.com", "x-token": "abc"}, Body: "^host shop.example.com token abc$"}, "HTTP status 200 OK"},
		{"a line break that the node filled in", spec.Check{Path: "/host", Headers: map[string]string{"X-Token": "a\r\nHost: b"}, Body: "token a  Host: b$"}, "HTTP status 200"},
		{"a method", spec.Check{Path: "/method?x=1", Method: "POST", Body: "POST x=1"}, "HTTP status 200"},
		{"HEAD", spec.Check{Path: "/method", Method: "HEAD"}, "HTTP status 200"},
		{"an answer that is announced", spec.Check{Path: "/early", Body: "late"}, "HTTP status 200"},
		{"a body that does not match", spec.Check{Path: "/method", Body: "PUT"}, `!HTTP status 200 OK, and the body does not match "PUT": GET`},
		{"a body that matches too late", spec.Check{Path: "/long", Body: "ready"}, "!does not match"},
		{"a status of its own", spec.Check{Path: "/teapot", Status: []string{"200", "418-420"}}, "HTTP status 418"},
		{"another status than its own", spec.Check{Path: "/method", Status: []string{"204"}}, "!HTTP status 200 OK"},
		{"what is not HTTP", spec.Check{Type: spec.CheckHTTPS, SkipVerify: true}, "!first record does not look like a TLS handshake"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.check.Type == "" {
				c.check.Type = spec.CheckHTTP
			}
			got, err := ask(t, Check{Address: host(server), Check: c.check})
			if err != nil {
				got = "!" + err.Error()
			}
			want, bad := strings.CutPrefix(c.want, "!")
			if bad != (err != nil) || !strings.Contains(got, want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

var quiet = log.New(io.Discard, "", 0)

func TestCertificates(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.ErrorLog = quiet
	server.StartTLS()
	defer server.Close()
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})) // of example.com and 127.0.0.1
	for name, c := range map[string]struct {
		check spec.Check
		want  string
	}{
		"one that nobody knows":  {spec.Check{}, "certificate"},
		"any":                    {spec.Check{SkipVerify: true}, ""},
		"a known one":            {spec.Check{CA: authority}, ""},
		"a known one, by a name": {spec.Check{CA: authority, ServerName: "example.com"}, ""},
		"of another name":        {spec.Check{CA: authority, ServerName: "example.org"}, "example.org"},
	} {
		c.check.Type = spec.CheckHTTPS
		if _, err := ask(t, Check{Address: host(server), Check: c.check}); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// serveGRPC runs a server with a health service that knows the service "shop.Web".
func serveGRPC(t testing.TB, options ...grpc.ServerOption) (*health.Server, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, h := grpc.NewServer(options...), health.NewServer()
	grpc_health_v1.RegisterHealthServer(server, h)
	h.SetServingStatus("shop.Web", grpc_health_v1.HealthCheckResponse_SERVING)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return h, listener.Addr().String()
}

func TestGRPC(t *testing.T) {
	h, address := serveGRPC(t)
	h.SetServingStatus("shop.Slow", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
	for service, want := range map[string]string{"": "SERVING", "shop.Web": "SERVING", "shop.Slow": "!NOT_SERVING", "shop.None": `!the server does not know the service "shop.None"`} {
		got, err := ask(t, Check{Address: address, Check: spec.Check{Type: spec.CheckGRPC, Service: service}})
		if err != nil {
			got = "!" + err.Error()
		}
		if got != want {
			t.Errorf("service %q: %q, want %q", service, got, want)
		}
	}
	h.Shutdown()
	if _, err := ask(t, Check{Address: address, Check: spec.Check{Type: spec.CheckGRPC}}); err == nil || err.Error() != "NOT_SERVING" {
		t.Errorf("after its shutdown: %v", err)
	}
}

func TestGRPCOverTLS(t *testing.T) {
	web := httptest.NewUnstartedServer(nil)
	web.StartTLS()
	defer web.Close()
	_, address := serveGRPC(t, grpc.Creds(credentials.NewServerTLSFromCert(&web.TLS.Certificates[0])))
	if got, err := ask(t, Check{Address: address, Check: spec.Check{Type: spec.CheckGRPCS, SkipVerify: true}}); err != nil || got != "SERVING" {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := ask(t, Check{Address: address, Check: spec.Check{Type: spec.CheckGRPCS}}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown certificate gives %v", err)
	}
}

// TestGRPCOfOthers asks servers that are something else.
func TestGRPCOfOthers(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer plain.Close()
	modern := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }))
	modern.EnableHTTP2 = true
	modern.Config.Protocols = new(http.Protocols)
	modern.Config.Protocols.SetUnencryptedHTTP2(true)
	modern.Start()
	defer modern.Close()
	bare, listening := grpc.NewServer(), mustListen(t)
	go func() { _ = bare.Serve(listening) }()
	defer bare.Stop()
	refusing, other := grpc.NewServer(grpc.UnaryInterceptor(func(context.Context, any, *grpc.UnaryServerInfo, grpc.UnaryHandler) (any, error) {
		return nil, status.Error(codes.PermissionDenied, "only for 50% of you")
	})), mustListen(t)
	grpc_health_v1.RegisterHealthServer(refusing, health.NewServer())
	go func() { _ = refusing.Serve(other) }()
	defer refusing.Stop()
	for name, c := range map[string]struct{ address, want string }{
		"HTTP/1.1":            {host(plain), "HTTP/1.1"},
		"HTTP/2":              {host(modern), "it does not speak gRPC: HTTP status 404"},
		"gRPC without health": {listening.Addr().String(), "the server has no health service (grpc.health.v1)"},
		"gRPC for authorised": {other.Addr().String(), "gRPC status 7: only for 50% of you"},
		"nobody":              {"127.0.0.1:1", "connection refused"},
	} {
		if got, err := ask(t, Check{Address: c.address, Check: spec.Check{Type: spec.CheckGRPC}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, c.want)
		}
	}
}

func mustListen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// FuzzGRPCAnswer: whatever a server sends as an answer, it is judged and not tripped over.
func FuzzGRPCAnswer(f *testing.F) {
	f.Add("0", "200", []byte{0, 0, 0, 0, 2, 8, 1})
	f.Add("0", "200", []byte{0, 0, 0, 0, 0})
	f.Add("5", "200", []byte(nil))
	f.Fuzz(func(t *testing.T, code, http string, data []byte) {
		a := grpcAnswer{code: code, status: http, data: data}
		if got, err := a.verdict("x"); err == nil && got != "SERVING" {
			t.Errorf("%q passes", got)
		}
	})
}
