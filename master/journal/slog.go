package journal

import (
	"context"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// hclogTo gives raft and its log a logger whose lines go to log. Elections and snapshots are told as Debug: they are
// noise in a cluster that is well, and what is not well reaches the caller as an error too.
func hclogTo(log *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "journal", Level: hclog.Off, Output: io.Discard})
	l.RegisterSink(slogSink{log})
	return l
}

type slogSink struct{ log *slog.Logger }

// Accept passes one line on.
func (s slogSink) Accept(name string, level hclog.Level, msg string, args ...any) {
	to := slog.LevelDebug
	switch {
	case level >= hclog.Error:
		to = slog.LevelError
	case level >= hclog.Warn:
		to = slog.LevelInfo // an election is one, also the first of a member alone
	}
	if ctx := context.Background(); s.log.Enabled(ctx, to) {
		s.log.Log(ctx, to, msg, append([]any{"of", name}, args...)...)
	}
}
