package probe

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/stowage/stowage/spec"
)

// serverEnv makes the test program the server that the benchmarks ask, so that what is measured is the asking.
const serverEnv = "PROBE_BENCH_SERVER"

func TestMain(m *testing.M) {
	if kind := os.Getenv(serverEnv); kind != "" {
		serve(kind)
		return
	}
	os.Exit(m.Run())
}

// serve prints its address and serves until its input ends.
func serve(kind string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	switch spec.CheckType(kind) {
	case spec.CheckGRPC:
		s := grpc.NewServer()
		grpc_health_v1.RegisterHealthServer(s, health.NewServer())
		go func() { _ = s.Serve(listener) }()
	default: // tcp too
		go func() {
			_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }))
		}()
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// serverOf starts a server in a process of its own.
func serverOf(b *testing.B, kind spec.CheckType) string {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serverEnv+"="+string(kind))
	input, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	output, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		input.Close()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line)
}

var benchTypes = []spec.CheckType{spec.CheckTCP, spec.CheckHTTP, spec.CheckGRPC}

// BenchmarkAsk is one question, and what it takes of the processor, beside one by the client that a program would take for it.
func BenchmarkAsk(b *testing.B) {
	for _, kind := range benchTypes {
		b.Run(string(kind), func(b *testing.B) {
			c := withDefaults(Check{Address: serverOf(b, kind), Check: spec.Check{Type: kind}})
			q, err := newQuestion(&c)
			if err != nil {
				b.Fatal(err)
			}
			asks(b, func(ctx context.Context) error { _, err := q.ask(ctx); return err })
		})
	}
	b.Run("http by a client", func(b *testing.B) {
		address := serverOf(b, spec.CheckHTTP)
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		asks(b, func(ctx context.Context) error {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
			if err != nil {
				return err
			}
			answer, err := client.Do(r)
			if err == nil {
				answer.Body.Close()
			}
			return err
		})
	})
}

// BenchmarkAskByGRPC is the same by the client of the library.
func BenchmarkAskByGRPC(b *testing.B) {
	address := serverOf(b, spec.CheckGRPC)
	asks(b, func(ctx context.Context) error {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		return err
	})
}

// asks reports CPU time too: on a busy machine the time on the clock says little.
func asks(b *testing.B, f func(context.Context) error) {
	b.ReportAllocs()
	before := cpuTime(b)
	for b.Loop() {
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		if err := f(ctx); err != nil {
			b.Fatal(err)
		}
		cancel()
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N)/1e3, "cpu-µs/op")
}

// BenchmarkThousand runs 1,000 checks with an interval of 10 s in real time, and reports what a second of that costs in milliseconds of CPU,
// and what it holds in memory.
func BenchmarkThousand(b *testing.B) {
	const interval = 10 * time.Second
	for _, kind := range benchTypes {
		b.Run(string(kind), func(b *testing.B) {
			address := serverOf(b, kind)
			bad := make(chan Result, 1)
			p := New(func(r Result) {
				if !r.Passing {
					select {
					case bad <- r:
					default:
					}
				}
			})
			for i := range 1000 {
				c := Check{ID: fmt.Sprint(i), Address: address, Passing: true, Check: spec.Check{Type: kind, Interval: spec.Duration(interval), Failures: 1, Timeout: spec.Minute}}
				if err := p.Add(c); err != nil {
					b.Fatal(err)
				}
			}
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan error)
			go func() { done <- p.Run(ctx) }()
			before := cpuTime(b)
			seconds := 0.0
			for b.Loop() {
				time.Sleep(interval)
				seconds += interval.Seconds()
			}
			b.ReportMetric(float64(cpuTime(b)-before)/1e6/seconds, "cpu-ms/s")
			cancel()
			<-done
			select {
			case r := <-bad:
				b.Fatalf("%s fails: %s", r.ID, r.Output)
			default:
			}
		})
	}
}

func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
