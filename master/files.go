package master

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/server"
	"github.com/stowage/stowage/master/link"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/wire"
)

const (
	// maxFolder bounds the description of a folder, in bytes: that of all entries that agents list.
	maxFolder = 16 << 20
	// uploadIdle is how long an upload may bring nothing.
	uploadIdle = 10 * time.Minute
)

// fileWindow opens a window to do something with files.
func (m *Master) fileWindow(c *server.Call, deed wire.Deed) (*link.Window, error) {
	path := c.URL.Query().Get("path")
	switch {
	case path == "":
		return nil, badRequest("no path is given", "name it with path=")
	case strings.ContainsRune(path, 0) || len(path) > 4095:
		return nil, badRequest("that is no path", "a path has at most 4095 bytes, and none of them is zero")
	}
	win, err := m.window(c, wire.Open{Files: &wire.Files{Deed: deed, Path: path}})
	if err == nil && deed != wire.Describe {
		m.config.Log.Info("files", "who", c.Who, "allocation", c.PathValue("id"), "deed", deed, "path", path)
	}
	return win, err
}

// getFiles describes a file or folder.
func (m *Master) getFiles(c *server.Call) (any, error) {
	win, err := m.fileWindow(c, wire.Describe)
	if err != nil {
		return nil, err
	}
	defer win.Close()
	data, err := win.All(c.Context(), maxFolder)
	if err != nil {
		return nil, &api.Error{Status: http.StatusConflict, Message: err.Error()}
	}
	var f spec.File
	err = json.Unmarshal(data, &f)
	return f, err
}

func (m *Master) content(w http.ResponseWriter, c *server.Call) error {
	return m.download(w, c, wire.Content, "application/octet-stream")
}

func (m *Master) pack(w http.ResponseWriter, c *server.Call) error {
	return m.download(w, c, wire.Pack, "application/x-tar")
}

// download passes bytes on: as they are, or in frames that tell how it ended. Without frames a failure in the middle breaks the connection: half
// of something must not look whole.
func (m *Master) download(w http.ResponseWriter, c *server.Call, deed wire.Deed, media string) error {
	win, err := m.fileWindow(c, deed)
	if err != nil {
		return err
	}
	defer win.Close()
	first, err := win.Read(c.Context())
	if err != nil {
		return err
	}
	if first.End && first.Err != "" {
		return &api.Error{Status: http.StatusConflict, Message: first.Err}
	}
	framed := strings.Contains(c.Header.Get("Accept"), api.FrameMedia)
	if framed {
		media = api.FrameMedia
	}
	flow := server.NewFlow(w, media)
	return stop(m.passOn(c.Context(), win, first, func(d wire.Data) error {
		switch {
		case framed:
			return writePiece(flow, d, true)
		case d.Err != "":
			panic(http.ErrAbortHandler)
		case d.Stderr || len(d.Bytes) == 0:
			return nil
		}
		_, err := flow.Write(d.Bytes)
		return err
	}))
}

// unpack passes an uploaded archive on to be unpacked in a task.
func (m *Master) unpack(w http.ResponseWriter, c *server.Call) error {
	win, err := m.fileWindow(c, wire.Unpack)
	if err != nil {
		return err
	}
	defer win.Close()
	ctx, cancel := context.WithCancel(c.Context())
	broken := make(chan error, 1)
	go func() {
		err := upload(ctx, w, c.Body, win)
		if broken <- err; err != nil {
			cancel() // else the end of the archive was passed on, and the answer comes
		}
	}()
	data, err := win.All(ctx, maxFolder)
	win.Close() // ends an upload that nobody takes any more
	_ = http.NewResponseController(w).SetReadDeadline(time.Unix(1, 0))
	cancel()
	if cut := <-broken; err != nil && ctxEnded(err) && cut != nil {
		err = badRequest("the archive was cut off: "+cut.Error(), "send it again; what arrived whole is there")
	}
	if err != nil {
		var known *api.Error
		if !errors.As(err, &known) {
			err = &api.Error{Status: http.StatusConflict, Message: err.Error()}
		}
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(data)
	return stop(err)
}

func ctxEnded(err error) bool { return errors.Is(err, context.Canceled) }

// upload sends a body into a window.
func upload(ctx context.Context, w http.ResponseWriter, body io.Reader, win *link.Window) error {
	buffer := make([]byte, wire.ChunkSize)
	for {
		if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(uploadIdle)); err != nil {
			return err
		}
		n, err := body.Read(buffer)
		if n > 0 {
			if err := win.Write(ctx, buffer[:n]); errors.Is(err, io.ErrClosedPipe) {
				return nil // the agent has said how it ended
			} else if err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			win.CloseWrite()
			return nil
		}
		if err != nil {
			return err
		}
	}
}
