package executor

import (
	"encoding/json"
	"errors"
	"net"
)

// errNoCall means that a connection said nothing.
var errNoCall = errors.New("connection without a call")

// readCall reads the first frame of a connection. Anything but a whole call of a version that we know is refused with the reason.
func readCall(conn net.Conn) (call, error) {
	k, payload, err := readFrame(conn)
	if err != nil {
		return call{}, errNoCall
	}
	var c call
	if k != kindCall {
		return call{}, Errorf(CodeInvalid, "first frame is of kind %q, not a call", byte(k))
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return call{}, Errorf(CodeInvalid, "call cannot be read: %v", err)
	}
	if c.Version < Version-1 || c.Version > Version+1 || c.Version < 1 {
		return call{}, Errorf(CodeUnsupported, "protocol version %d is not spoken here, but %d; upgrade the older of agent and executor", c.Version, Version)
	}
	return c, nil
}
