// Package wire is the link between an agent and the master: one gRPC stream, opened by the agent so that it works from
// behind NAT, over which status goes up and assignments come down, and with them the windows into a node (logs, exec).
//
// The messages are values of package spec in JSON: the noun is written once and travels as it is, so a new field costs
// no conversion, and an older or newer peer ignores what it does not know. Both sides send FormatVersion first and go
// on when the other's is at most one away.
package wire

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/stowage/stowage/spec"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
)

// FormatVersion is the version of this link. A peer one version away is served.
const FormatVersion = 1

// Compatible reports whether a peer with this version of the link can be served, and if not, what to do.
func Compatible(peer int) error {
	if peer < FormatVersion-1 || peer > FormatVersion+1 {
		return fmt.Errorf("the peer speaks version %d of the link, this side version %d: upgrade the older one so that they are at most one apart", peer, FormatVersion)
	}
	return nil
}

// MaxMessage bounds one message, in bytes: an assignment of many thousand allocations fits.
const MaxMessage = 64 << 20

// ChunkSize is how much of a log or terminal travels in one Data message, in bytes.
const ChunkSize = 32 << 10

// Up is one message from the agent to the master. Exactly one field is set; none is a sign of life.
type Up struct {
	Hello  *Hello       `json:"hello,omitempty"` // the first message of a stream
	Report *spec.Report `json:"report,omitempty"`
	Data   *Data        `json:"data,omitempty"`
}

// Down is one message from the master to the agent. Exactly one field is set.
type Down struct {
	Welcome    *Welcome         `json:"welcome,omitempty"` // the first message of a stream
	Assignment *spec.Assignment `json:"assignment,omitempty"`
	Open       *Open            `json:"open,omitempty"`
	Data       *Data            `json:"data,omitempty"`
}

// Hello introduces an agent.
type Hello struct {
	FormatVersion int         `json:"format_version"`
	Node          spec.NodeID `json:"node"`
	Agent         string      `json:"agent"` // version of the program
}

// Welcome answers a Hello.
type Welcome struct {
	FormatVersion int    `json:"format_version"`
	Master        string `json:"master"` // version of the program
	// Leader is set when this master does not lead: the address to connect to instead. The stream ends after it.
	Leader string `json:"leader,omitempty"`
}

// Open asks the agent for a window into one of its allocations. The agent answers with Data under the same Stream
// until End. Exactly one of the fields below Task is set.
type Open struct {
	Stream uint64            `json:"stream"` // chosen by the master, unique within the connection
	ID     spec.AllocationID `json:"id"`
	Task   spec.TaskName     `json:"task"` // "" for the only main task
	Logs   *Logs             `json:"logs,omitempty"`
	Exec   *Exec             `json:"exec,omitempty"`
	Usage  *Usage            `json:"usage,omitempty"`
	Files  *Files            `json:"files,omitempty"`
}

// Deed is what is done with files.
type Deed string

// The deeds.
const (
	Describe Deed = "describe" // answers with a spec.File as JSON
	Content  Deed = "content"  // answers with the bytes of a file
	Pack     Deed = "pack"     // answers with a tar archive, and on standard error with what was left out of it
	Unpack   Deed = "unpack"   // takes a tar archive as standard input, answers with a spec.Unpacked as JSON
)

// Files asks for something of the file system of a task, or does something to it.
type Files struct {
	Deed Deed   `json:"deed"`
	Path string `json:"path"` // as the task sees it; a relative one begins at its root
}

// Usage asks for a spec.NodeUsage as JSON, of the whole node if no allocation is named.
type Usage struct{}

// Logs asks for output.
type Logs struct {
	Follow bool `json:"follow,omitempty"`
	Tail   int  `json:"tail"`             // last lines to begin with; negative: all there is
	Stream int  `json:"stream,omitempty"` // 0 both, 1 stdout, 2 stderr
	// Age leaves out what is older, counted back from now: clocks differ. 0: nothing.
	Age spec.Duration `json:"age,omitempty"`
}

// Exec asks to run a command inside a task.
type Exec struct {
	Command  []string `json:"command"`
	Terminal bool     `json:"terminal,omitempty"`
	Rows     int      `json:"rows,omitempty"`
	Columns  int      `json:"columns,omitempty"`
	Term     string   `json:"term,omitempty"`  // kind of terminal, for the variable TERM
	Stdin    bool     `json:"stdin,omitempty"` // Data from the master is its standard input
}

// Data is a piece of an open window, in either direction.
type Data struct {
	Stream  uint64 `json:"stream"`
	Bytes   []byte `json:"bytes,omitempty"`
	Stderr  bool   `json:"stderr,omitempty"`
	Rows    int    `json:"rows,omitempty"` // a terminal's new size, from the master
	Columns int    `json:"columns,omitempty"`
	// Signal, from the master, goes to the command of an Exec: a name such as SIGINT.
	Signal string `json:"signal,omitempty"`
	// Credit lets the other side send this many bytes more. Each side begins with Window: a slow reader holds up only
	// its own stream, never the link.
	Credit int `json:"credit,omitempty"`
	// End closes the window in this direction. Code is the exit code of Exec; Err says why a window failed.
	End  bool   `json:"end,omitempty"`
	Code int    `json:"code,omitempty"`
	Err  string `json:"err,omitempty"`
}

// Window is how many bytes of an open stream may be on the way before the reader grants more with Data.Credit.
const Window = 256 << 10

// Agent is the agent's end of the stream.
type Agent interface {
	Send(*Up) error
	Recv() (*Down, error)
	Context() context.Context
	CloseSend() error
}

// Master is the master's end of the stream.
type Master interface {
	Send(*Down) error
	Recv() (*Up, error)
	Context() context.Context
}

// Server takes the streams of agents; Attach returns when the stream is over.
type Server interface {
	Attach(Master) error
}

const (
	service    = "stowage.v1.Link"
	method     = "/" + service + "/Attach"
	codecName  = "stowage-json"
	streamName = "Attach"
)

// Register adds the link to a gRPC server.
func Register(s *grpc.Server, impl Server) {
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*Server)(nil),
		Streams: []grpc.StreamDesc{{
			StreamName: streamName, ServerStreams: true, ClientStreams: true,
			Handler: func(srv any, stream grpc.ServerStream) error {
				return srv.(Server).Attach(&grpc.GenericServerStream[Up, Down]{ServerStream: stream})
			},
		}},
	}, impl)
}

// Attach opens the agent's stream on a connection.
func Attach(ctx context.Context, conn grpc.ClientConnInterface) (Agent, error) {
	desc := &grpc.StreamDesc{StreamName: streamName, ServerStreams: true, ClientStreams: true}
	stream, err := conn.NewStream(ctx, desc, method, grpc.CallContentSubtype(codecName),
		grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage))
	if err != nil {
		return nil, fmt.Errorf("open link: %w", err)
	}
	return &grpc.GenericClientStream[Up, Down]{ClientStream: stream}, nil
}

// ServerOptions are what a gRPC server of the link needs beyond its credentials.
func ServerOptions() []grpc.ServerOption {
	return []grpc.ServerOption{grpc.MaxRecvMsgSize(MaxMessage), grpc.MaxSendMsgSize(MaxMessage)}
}

// codec encodes the messages of the link. grpc-go looks codecs up by the content subtype of a call.
type codec struct{}

func (codec) Name() string                       { return codecName }
func (codec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (codec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// Codecs of grpc-go can only be registered while the program starts.
func init() { encoding.RegisterCodec(codec{}) }
