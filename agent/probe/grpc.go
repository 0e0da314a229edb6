package probe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// grpcQuestion asks by the health protocol of gRPC (grpc.health.v1.Health/Check, github.com/grpc/grpc doc/health-checking.md) on a
// connection of its own. What it writes is the same each time and made once; of HTTP/2 it reads the frames that one small answer is made of.
// The client of the library would cost several times as much for each answer.
type grpcQuestion struct {
	line
	request []byte
	service string
}

const grpcPath = "/grpc.health.v1.Health/Check"

// The status codes of gRPC that a health service means something by.
const (
	grpcOK            = 0
	grpcNotFound      = 5
	grpcUnimplemented = 12
)

// servingStatus are the answers of the health protocol, by number.
var servingStatus = []string{"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"}

func newGRPCQuestion(c *Check) (*grpcQuestion, error) {
	l, err := newLine(c, http2.NextProtoTLS)
	if err != nil {
		return nil, err
	}
	authority, scheme := c.Address, "http"
	if c.Type.TLS() {
		scheme = "https"
		if c.ServerName != "" {
			authority = c.ServerName
		}
	}
	var headers, b bytes.Buffer
	e := hpack.NewEncoder(&headers)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", scheme}, {":path", grpcPath}, {":authority", authority},
		{"content-type", "application/grpc"}, {"user-agent", "stowage-check"}, {"te", "trailers"}} {
		if err := e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}); err != nil {
			return nil, err
		}
	}
	// The message has one field, the service, which is number 1 and of the wire type 2: its length and its bytes.
	var message []byte
	if c.Service != "" {
		message = append(binary.AppendUvarint([]byte{1<<3 | 2}, uint64(len(c.Service))), c.Service...)
	}
	framed := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message))), message...)
	b.WriteString(http2.ClientPreface)
	f := http2.NewFramer(&b, nil)
	err = errors.Join(f.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0}, http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHeaderBytes}),
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers.Bytes(), EndHeaders: true}),
		f.WriteData(1, true, framed))
	return &grpcQuestion{line: l, request: b.Bytes(), service: c.Service}, err
}

func (q *grpcQuestion) ask(ctx context.Context) (string, error) {
	conn, done, err := q.dial(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	if _, err := conn.Write(q.request); err != nil {
		return "", errors.New(plain(err))
	}
	r, release := reader(conn)
	defer release()
	f := http2.NewFramer(conn, r)
	f.SetMaxReadFrameSize(maxHeaderBytes)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil) // the size that holds until another is agreed upon (RFC 7541)
	f.MaxHeaderListSize = maxHeaderBytes
	var a grpcAnswer
	for !a.whole {
		frame, err := f.ReadFrame()
		if err == nil {
			err = a.take(f, frame)
		}
		if err != nil {
			return "", errors.New(plain(err))
		}
	}
	return a.verdict(q.service)
}

// grpcAnswer is what has come of one.
type grpcAnswer struct {
	status  string // of HTTP
	code    string // of gRPC
	message string // of gRPC
	data    []byte
	whole   bool
}

// take takes one frame, and answers those that want an answer.
func (a *grpcAnswer) take(f *http2.Framer, frame http2.Frame) error {
	switch frame := frame.(type) {
	case *http2.SettingsFrame:
		if !frame.IsAck() {
			return f.WriteSettingsAck()
		}
	case *http2.PingFrame:
		if !frame.IsAck() {
			return f.WritePing(true, frame.Data)
		}
	case *http2.MetaHeadersFrame:
		for _, field := range frame.Fields {
			switch field.Name {
			case ":status":
				a.status = field.Value
			case "grpc-status":
				a.code = field.Value
			case "grpc-message":
				a.message = field.Value
			}
		}
		a.whole = frame.StreamEnded()
	case *http2.DataFrame:
		if len(a.data)+len(frame.Data()) > maxBodyBytes {
			return errors.New("the answer is longer than that of a health service")
		}
		a.data = append(a.data, frame.Data()...)
		a.whole = frame.StreamEnded()
	case *http2.RSTStreamFrame:
		return fmt.Errorf("the server broke off: %s", frame.ErrCode)
	case *http2.GoAwayFrame:
		if frame.LastStreamID < 1 {
			return fmt.Errorf("the server goes away: %s", frame.ErrCode)
		}
	}
	return nil
}

func (a *grpcAnswer) verdict(service string) (string, error) {
	code, err := strconv.Atoi(a.code)
	switch {
	case a.code == "" && a.status != "200":
		return "", fmt.Errorf("it does not speak gRPC: HTTP status %s", a.status)
	case err != nil:
		return "", errors.New("it does not speak gRPC: the answer has no status")
	case code == grpcUnimplemented:
		return "", errors.New("the server has no health service (grpc.health.v1)")
	case code == grpcNotFound:
		return "", fmt.Errorf("the server does not know the service %q", service)
	case code != grpcOK:
		message, err := url.PathUnescape(a.message)
		if err != nil {
			message = a.message
		}
		return "", fmt.Errorf("gRPC status %d: %s", code, message)
	}
	status, err := a.serving()
	if err != nil {
		return "", err
	}
	if status != 1 {
		name := strconv.FormatUint(status, 10)
		if status < uint64(len(servingStatus)) {
			name = servingStatus[status]
		}
		return "", errors.New(name)
	}
	return servingStatus[status], nil
}

// serving reads the message: one field, the status, which is number 1 and a varint. Without it, it is 0.
func (a *grpcAnswer) serving() (uint64, error) {
	bad := errors.New("the answer is not that of a health service")
	const prefix = 5 // compressed or not, and the length
	if len(a.data) < prefix || a.data[0] != 0 || uint64(binary.BigEndian.Uint32(a.data[1:prefix])) != uint64(len(a.data)-prefix) {
		return 0, bad
	}
	var status uint64
	for m := a.data[prefix:]; len(m) > 0; {
		tag, n := binary.Uvarint(m)
		if n <= 0 || tag&7 != 0 {
			return 0, bad
		}
		value, k := binary.Uvarint(m[n:])
		if k <= 0 {
			return 0, bad
		}
		if tag>>3 == 1 {
			status = value
		}
		m = m[n+k:]
	}
	return status, nil
}
