package cli

import (
	"bytes"
	"errors"

	"github.com/spf13/cobra"

	"github.com/stowage/stowage/master/api/client"
	"github.com/stowage/stowage/spec"
)

func (s *shell) logsCommand() *cobra.Command {
	var filter client.LogFilter
	c := &cobra.Command{Use: "logs WHAT", Short: "Output of a task: of an allocation, a slot such as shop/web[3], or an app", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := s.client()
			if err != nil {
				return err
			}
			id, err := s.target(cmd, c, args[0])
			if err != nil {
				return err
			}
			if !s.json {
				return c.Logs(cmd.Context(), id, filter, s.Stdout, s.Stderr)
			}
			stdout, stderr := s.logLines(id, "stdout"), s.logLines(id, "stderr")
			err = c.Logs(cmd.Context(), id, filter, stdout, stderr)
			return errors.Join(stdout.flush(), stderr.flush(), err)
		}}
	c.Flags().BoolVarP(&filter.Follow, "follow", "f", false, "go on as it comes")
	c.Flags().IntVar(&filter.Tail, "tail", 100, "last lines to begin with; -1: all there is")
	c.Flags().StringVar((*string)(&filter.Task), "task", "", "whose output; without it, the only main task's")
	c.Flags().StringVar(&filter.Stream, "stream", "", "stdout or stderr; without it, both")
	return c
}

// logLine is one line of output as JSON.
type logLine struct {
	Allocation spec.AllocationID `json:"allocation"`
	Stream     string            `json:"stream"`         // stdout or stderr
	Line       string            `json:"line"`           // without its end; what is not UTF-8 is replaced
	Part       bool              `json:"part,omitempty"` // the line goes on in the next object
}

// maxLogLine bounds what is held of a line that does not end.
const maxLogLine = 64 << 10

// logLines writes output as JSON, an object for each line.
type logLines struct {
	line  logLine
	print func(v any) error
	held  []byte
}

func (s *shell) logLines(id spec.AllocationID, stream string) *logLines {
	return &logLines{line: logLine{Allocation: id, Stream: stream}, print: s.printLine}
}

// Write implements io.Writer.
func (l *logLines) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		room := maxLogLine - len(l.held)
		switch {
		case end >= 0 && end <= room:
			l.held = append(l.held, p[:end]...)
			p = p[end+1:]
			if err := l.put(false); err != nil {
				return 0, err
			}
		case len(p) <= room:
			l.held = append(l.held, p...)
			p = nil
		default:
			l.held = append(l.held, p[:room]...)
			p = p[room:]
			if err := l.put(true); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

// flush writes a last line that has no end.
func (l *logLines) flush() error {
	if len(l.held) == 0 {
		return nil
	}
	return l.put(false)
}

func (l *logLines) put(part bool) error {
	l.line.Line, l.line.Part = string(bytes.ToValidUTF8(l.held, []byte("\uFFFD"))), part
	l.held = l.held[:0]
	return l.print(l.line)
}
