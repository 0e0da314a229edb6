package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/stowage/stowage/plugins"
	"github.com/stowage/stowage/plugins/wire"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// serve runs the plugin until its host is gone, and ends the process when it cannot.
func serve(id plugins.Identity, register func(*grpc.Server)) {
	if err := run(id, register); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", filepath.Base(os.Args[0]), err)
		os.Exit(1)
	}
}

func run(id plugins.Identity, register func(*grpc.Server)) error {
	if os.Getenv(wire.CookieKey) != wire.Cookie {
		return fmt.Errorf("this program is the Stowage %s plugin %q %s and is started by a master: name it in a plugin block of the repository",
			id.Kind, id.Name, id.Version)
	}
	if v := os.Getenv(wire.VersionsKey); !slices.Contains(strings.Split(v, ","), strconv.Itoa(wire.Version)) {
		return fmt.Errorf("the host speaks the versions %q of the plugin protocol, this plugin version %d: rebuild the plugin with the SDK of the host's release", v, wire.Version)
	}
	greeting, err := claimStdout()
	if err != nil {
		return err
	}
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	go dieWithHost(os.Stdin)

	listener, err := net.Listen("unix", filepath.Join(os.Getenv(wire.SocketDir), "s"))
	if err != nil {
		return fmt.Errorf("listen for the host: %w", err)
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(wire.MaxQuestion), grpc.MaxSendMsgSize(wire.MaxAnswer))
	alive := health.NewServer()
	alive.SetServingStatus(wire.HealthService, grpc_health_v1.HealthCheckResponse_SERVING)
	grpc_health_v1.RegisterHealthServer(server, alive)
	wire.RegisterPluginServer(server, describer{id: id})
	register(server)
	if _, err := fmt.Fprintf(greeting, "%d|%d|unix|%s|grpc|\n", wire.CoreVersion, wire.Version, listener.Addr()); err != nil {
		return fmt.Errorf("greet the host: %w", err)
	}
	if err := greeting.Close(); err != nil {
		return fmt.Errorf("greet the host: %w", err)
	}
	return server.Serve(listener)
}

// claimStdout takes the standard output for the hand-shake and sends whatever else is printed there, by Go code or by
// children, to the log: a forgotten Println breaks nothing from here on.
func claimStdout() (*os.File, error) {
	fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("claim standard output: %w", err)
	}
	if err := unix.Dup3(2, 1, 0); err != nil {
		return nil, fmt.Errorf("claim standard output: %w", err)
	}
	return os.NewFile(uintptr(fd), "hand-shake"), nil
}

// dieWithHost ends the plugin, and what it started in its process group, when the pipe from the host ends: the host
// has closed it or is gone.
func dieWithHost(pipe io.Reader) {
	_, _ = io.Copy(io.Discard, pipe)
	if unix.Getpgrp() == os.Getpid() {
		_ = unix.Kill(0, unix.SIGKILL)
	}
	os.Exit(0)
}

type describer struct {
	wire.UnimplementedPluginServer
	id plugins.Identity
}

// Describe answers with what the author said of the plugin.
func (d describer) Describe(context.Context, *wire.DescribeRequest) (*wire.DescribeResponse, error) {
	return &wire.DescribeResponse{Kind: string(d.id.Kind), Name: d.id.Name, Version: d.id.Version}, nil
}

// failure makes an author's error one that reads the same on the host's side.
func failure(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, err.Error())
	}
	return status.Error(codes.FailedPrecondition, err.Error())
}
