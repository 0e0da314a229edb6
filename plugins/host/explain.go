package host

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

type (
	execCmd    = exec.Cmd
	readCloser = io.ReadCloser
)

// connection makes go-plugin hand out the connection itself: which services are on it is this package's affair.
type connection struct{ plugin.NetRPCUnsupportedPlugin }

// GRPCClient returns the connection.
func (connection) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// GRPCServer is for plugins; the host serves nothing.
func (connection) GRPCServer(*plugin.GRPCBroker, *grpc.Server) error { return nil }

// explainStart says why a start failed. go-plugin gives the same message for quite different causes, so what is known
// of the process is told instead: what it printed first, how it ended and its last words.
func explainStart(p *process, err error, limit time.Duration) error {
	exit, first := p.ended()
	var parts []string
	switch {
	case first == "" && strings.Contains(err.Error(), "timeout"):
		parts = append(parts, fmt.Sprintf("it did not greet the host within %v", limit))
	case first == "":
		parts = append(parts, "it ended before it greeted the host")
	case !strings.HasPrefix(first, "1|"):
		parts = append(parts, fmt.Sprintf("it printed %q where the hand-shake belongs: a plugin prints to standard error only", shorten(first)))
	default:
		parts = append(parts, err.Error())
	}
	if exit != "" && !strings.HasPrefix(exit, "killed by SIGKILL") {
		parts = append(parts, exit)
	}
	if words := p.words.summary(); words != "" {
		parts = append(parts, words)
	}
	return fmt.Errorf("%s", strings.Join(parts, "; "))
}

// explainEnd says why a plugin that ran does so no more.
func explainEnd(p *process, verdict string) error {
	exit, _ := p.ended()
	text := "it ended with " + exit
	if strings.HasPrefix(exit, "killed") {
		text = "it was " + exit
	}
	if verdict != "" {
		text = verdict + " and was killed"
	}
	if words := p.words.summary(); words != "" {
		text += "; " + words
	}
	return fmt.Errorf("%s", text)
}

// shorten keeps a line readable within a sentence.
func shorten(text string) string {
	if len(text) > 200 {
		return text[:200] + "…"
	}
	return text
}
