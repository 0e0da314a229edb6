package executor

import (
	"errors"
	"fmt"
)

// Verbs of the protocol.
const (
	verbPing     = "ping"
	verbStart    = "start"
	verbPrepare  = "prepare"
	verbRelease  = "release"
	verbSignal   = "signal"
	verbKill     = "kill"
	verbDelete   = "delete"
	verbList     = "list"
	verbGet      = "get"
	verbStats    = "stats"
	verbExec     = "exec"
	verbExits    = "exits"
	verbReserve  = "reserve"
	verbShutdown = "shutdown"
)

// call is the first frame of a connection.
type call struct {
	Version int       `json:"version"`
	Verb    string    `json:"verb"`
	ID      string    `json:"id,omitempty"`
	Spec    *Spec     `json:"spec,omitempty"`
	Exec    *ExecSpec `json:"exec,omitempty"`
	Signal  int       `json:"signal,omitempty"`
	Cursor  Cursor    `json:"cursor,omitzero"`
	Cores   []int     `json:"cores,omitempty"`
}

// answer is the last frame of a connection.
type answer struct {
	Error     *Error     `json:"error,omitempty"`
	Container *Container `json:"container,omitempty"`
	Stats     *Stats     `json:"stats,omitempty"`
	Features  *Features  `json:"features,omitempty"`
	Exit      *Exit      `json:"exit,omitempty"`
}

// Code tells kinds of errors apart across the socket.
type Code string

const (
	// CodeInternal is a failure of the executor or the kernel.
	CodeInternal Code = "internal"
	// CodeInvalid is a spec or call that can never work.
	CodeInvalid Code = "invalid"
	// CodeNotFound means there is no container of that ID.
	CodeNotFound Code = "not-found"
	// CodeExists means there is one already.
	CodeExists Code = "exists"
	// CodeState means the container is not in a state for that call.
	CodeState Code = "state"
	// CodeUnsupported means this node cannot do it; Features says why.
	CodeUnsupported Code = "unsupported"
	// CodeCommand means the command could not be executed: not found, or not executable.
	CodeCommand Code = "command"
	// CodeStorage means there is no room on disk.
	CodeStorage Code = "storage"
)

// What errors of CodeCommand begin with, on their way to a person, where the code is lost.
const (
	NotFound      = "command not found"
	NotExecutable = "command cannot be executed"
)

// Error is what a call failed with. errors.Is compares codes, so the sentinels below match.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Is reports whether target is an *Error of the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// Sentinels for errors.Is.
var (
	ErrNotFound    = &Error{Code: CodeNotFound, Message: "no such container"}
	ErrExists      = &Error{Code: CodeExists, Message: "container exists"}
	ErrInvalid     = &Error{Code: CodeInvalid, Message: "invalid call"}
	ErrState       = &Error{Code: CodeState, Message: "container is not in that state"}
	ErrUnsupported = &Error{Code: CodeUnsupported, Message: "not supported on this node"}
	ErrCommand     = &Error{Code: CodeCommand, Message: "command cannot be executed"}
	ErrStorage     = &Error{Code: CodeStorage, Message: "no room on disk"}
)

// Errorf makes an Error of a code.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// asError gives every error a code for the wire.
func asError(err error) *Error {
	if err == nil {
		return nil
	}
	code := CodeInternal
	var coded *Error
	if errors.As(err, &coded) {
		code = coded.Code
	} else if isFull(err) {
		code = CodeStorage
	}
	return &Error{Code: code, Message: err.Error()}
}

// Cursor is a place in the stream of exits. The zero Cursor is its beginning. A cursor of an earlier executor process also means
// the beginning: exits that are still on disk are told again rather than lost, so a reader must recognise an exit it knows.
type Cursor struct {
	Epoch string `json:"epoch,omitempty"`
	Seq   uint64 `json:"seq,omitempty"`
}

// ExitEvent tells that a container exited. Container.State is exited and Container.Exit is set.
type ExitEvent struct {
	Cursor    Cursor    `json:"cursor"`
	Container Container `json:"container"`
}

// Size of a terminal in characters.
type Size struct {
	Width  uint16 `json:"width"`
	Height uint16 `json:"height"`
}

// ExecSpec asks for one more process inside a running container.
type ExecSpec struct {
	Command []string `json:"command"`
	// Env is added to the environment of the container.
	Env []string `json:"env,omitempty"`
	// Dir is the working directory; empty: the container's.
	Dir string `json:"dir,omitempty"`
	// User as in Spec; empty: the container's.
	User string `json:"user,omitempty"`
	// Terminal gives the process a terminal of Size; its output then all comes as stdout.
	Terminal bool `json:"terminal,omitempty"`
	Size     Size `json:"size,omitzero"`
}

// Validate returns every fault, joined.
func (e *ExecSpec) Validate() error {
	errs := checkEnv(e.Env)
	if len(e.Command) == 0 || e.Command[0] == "" {
		errs = append(errs, errors.New("command is empty: name a program"))
	}
	return errors.Join(errs...)
}
