package probe

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/stowage/stowage/spec"
)

// Limits of an answer: more is not read.
const (
	maxHeaderBytes = 64 << 10
	maxBodyBytes   = 4 << 10
)

// question is a check made ready to be asked again and again. It holds nothing between two answers: connections are closed after each.
type question interface {
	// ask asks once. An error says why the check did not pass.
	ask(ctx context.Context) (output string, err error)
}

// newQuestion makes a check ready. It is an error if the check cannot be asked as it is.
func newQuestion(c *Check) (question, error) {
	switch {
	case c.Type == spec.CheckExec:
		return execQuestion{c}, nil
	case c.Type == spec.CheckTCP:
		return &tcpQuestion{line{address: c.Address}}, nil
	case c.Type.HTTP():
		return newHTTPQuestion(c)
	case c.Type.GRPC():
		return newGRPCQuestion(c)
	}
	return nil, errType(c.Type)
}

func errType(t spec.CheckType) error {
	return fmt.Errorf("the type %q is not known; there are http, https, tcp, grpc, grpcs and exec", t)
}

type execQuestion struct{ *Check }

func (q execQuestion) ask(ctx context.Context) (string, error) {
	code, output, err := q.Exec(ctx, q.Command)
	switch {
	case err != nil:
		return "", fmt.Errorf("run command: %w", err)
	case code != 0 && strings.TrimSpace(output) == "":
		return "", fmt.Errorf("exit code %d", code)
	case code != 0:
		return "", fmt.Errorf("exit code %d: %s", code, strings.TrimSpace(output))
	}
	return output, nil
}

// line is a way to a task.
type line struct {
	address string
	tls     *tls.Config // nil: none
}

// newLine is the way to what the check asks; protocols are those that may be spoken over TLS.
func newLine(c *Check, protocols ...string) (line, error) {
	l := line{address: c.Address}
	if !c.Type.TLS() {
		return l, nil
	}
	l.tls = &tls.Config{NextProtos: protocols, InsecureSkipVerify: c.SkipVerify, ServerName: c.ServerName}
	if l.tls.ServerName == "" {
		host, _, err := net.SplitHostPort(c.Address)
		if err != nil {
			return l, err
		}
		l.tls.ServerName = host
	}
	if c.CA != "" {
		l.tls.RootCAs = x509.NewCertPool()
		if !l.tls.RootCAs.AppendCertsFromPEM([]byte(c.CA)) {
			return l, errors.New("there is no certificate in ca")
		}
	}
	return l, nil
}

// caller is without a proxy, as what is asked is on this node, and without keep-alives, as nothing is kept.
var caller = net.Dialer{KeepAlive: -1}

// dial opens a connection that breaks when the context ends; done lets go of it.
func (l *line) dial(ctx context.Context) (conn net.Conn, done func(), err error) {
	raw, err := caller.DialContext(ctx, "tcp", l.address)
	if err != nil {
		return nil, nil, errors.New(plain(err))
	}
	detach := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	done = func() {
		detach()
		raw.Close()
	}
	if l.tls == nil {
		return raw, done, nil
	}
	secure := tls.Client(raw, l.tls)
	if err := secure.Handshake(); err != nil {
		done()
		return nil, nil, errors.New(plain(err))
	}
	return secure, done, nil
}

type tcpQuestion struct{ line }

func (q *tcpQuestion) ask(ctx context.Context) (string, error) {
	_, done, err := q.dial(ctx)
	if err != nil {
		return "", err
	}
	done()
	return "", nil
}

// readers are for answers: one check after the other uses them.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, maxBodyBytes) }}

// reader returns a reader of an answer, of which no more is read than there may be of it.
func reader(r io.Reader) (*bufio.Reader, func()) {
	b := readers.Get().(*bufio.Reader)
	b.Reset(io.LimitReader(r, maxHeaderBytes+maxBodyBytes))
	return b, func() {
		b.Reset(nil)
		readers.Put(b)
	}
}

// plain leaves the part of a network error that differs between causes, without the ports that differ between runs.
func plain(err error) string {
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "dial" && op.Addr != nil:
		return fmt.Sprintf("dial %s: %v", op.Addr, op.Err)
	case op != nil:
		return fmt.Sprintf("%s: %v", op.Op, op.Err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed before the answer was whole"
	}
	return err.Error()
}
