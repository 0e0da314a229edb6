package api

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// FrameType is what a frame carries.
type FrameType byte

// The types of frame.
const (
	FrameStdin  FrameType = 0 // to the task; an empty one ends its standard input
	FrameStdout FrameType = 1
	FrameStderr FrameType = 2
	FrameResize FrameType = 3 // Size, to the task's terminal
	FrameEnd    FrameType = 4 // End, the last frame
	FrameSignal FrameType = 5 // Signal, to the command and what it has started
	FrameCredit FrameType = 6 // Credit, to who sends input, if it asked for it
)

// MaxFrame bounds the payload of a frame, in bytes.
const MaxFrame = 64 << 10

// FrameMedia is the media type of a body of frames: a type (1 byte), three zero bytes, the length of the payload (4
// bytes, big endian), the payload.
const FrameMedia = "application/vnd.stowage.frames"

// ExecProtocol is the protocol that the exec route upgrades to: frames in both directions.
const ExecProtocol = "stowage-exec"

// CreditHeader of the answer to an exec with credit=true says how much input may be on the way, in bytes: who keeps to it can always
// send a signal, also while the command reads nothing.
const CreditHeader = "Stowage-Credit"

// Credit grants more input.
type Credit struct {
	Bytes int `json:"bytes"`
}

// Size is a terminal's size.
type Size struct {
	Rows    int `json:"rows"`
	Columns int `json:"columns"`
}

// Signal is a signal for a command, by its name, such as SIGINT.
type Signal struct {
	Signal string `json:"signal"`
}

// End is how a window closed.
type End struct {
	Code  int    `json:"code"`            // exit code of the command
	Error string `json:"error,omitempty"` // why the window could not go on
}

// ErrFrame is returned for bytes that are no frame.
var ErrFrame = errors.New("the stream is damaged: a frame has no known type or is too long")

// WriteFrame writes one frame in one Write.
func WriteFrame(w io.Writer, kind FrameType, payload []byte) error {
	if len(payload) > MaxFrame {
		return ErrFrame
	}
	b := make([]byte, 8, 8+len(payload))
	b[0] = byte(kind)
	binary.BigEndian.PutUint32(b[4:], uint32(len(payload)))
	_, err := w.Write(append(b, payload...))
	return err
}

// WriteJSONFrame writes a frame whose payload is v as JSON.
func WriteJSONFrame(w io.Writer, kind FrameType, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode frame: %w", err)
	}
	return WriteFrame(w, kind, b)
}

// ReadFrame reads one frame. io.EOF means that the stream ended between frames.
func ReadFrame(r io.Reader) (FrameType, []byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[4:])
	if FrameType(head[0]) > FrameCredit || head[1]|head[2]|head[3] != 0 || n > MaxFrame {
		return 0, nil, ErrFrame
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	return FrameType(head[0]), payload, nil
}
