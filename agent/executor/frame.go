package executor

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// Version of the protocol. A server speaks to clients of its own version and of the one before.
const Version = 1

// maxFrame limits one frame, in bytes: a spec with a large environment fits, a stray connection cannot eat memory.
const maxFrame = 4 << 20

// kind tells the frames of a connection apart.
type kind byte

const (
	kindCall    kind = 'c' // client: request as JSON, always first
	kindAnswer  kind = 'a' // server: answer as JSON, always last
	kindItem    kind = 'i' // server: one of many answers as JSON (a container of a list, an exit event)
	kindStarted kind = 's' // server: the exec runs, and how much stdin may be on the way, as JSON; older ones say nothing
	kindTaken   kind = 't' // server: how much stdin the process was given since, as JSON; older clients pass it over
	kindStdin   kind = '0' // client: bytes for the process
	kindStdout  kind = '1' // server: bytes of the process
	kindStderr  kind = '2' // server: bytes of the process
	kindEOF     kind = 'z' // client: no more stdin
	kindResize  kind = 'w' // client: Size as JSON
	kindSignal  kind = 'g' // client: a signal's number as JSON, for the process and its group
)

// writeFrame writes one frame in one Write, so that frames of several goroutines need nothing but a lock around it.
func writeFrame(w io.Writer, k kind, payload []byte) error {
	if len(payload) > maxFrame {
		return fmt.Errorf("write frame: %d bytes are more than the %d allowed", len(payload), maxFrame)
	}
	buf := make([]byte, 5, 5+len(payload))
	binary.BigEndian.PutUint32(buf, uint32(len(payload)))
	buf[4] = byte(k)
	_, err := w.Write(append(buf, payload...))
	return err
}

func writeJSON(w io.Writer, k kind, v any) error {
	payload, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return writeFrame(w, k, payload)
}

// readFrame reads one frame. At a clean end between frames it returns io.EOF.
func readFrame(r io.Reader) (kind, []byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > maxFrame {
		return 0, nil, fmt.Errorf("read frame: %d bytes are more than the %d allowed", size, maxFrame)
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, fmt.Errorf("read frame: %w", err)
	}
	return kind(head[4]), payload, nil
}
