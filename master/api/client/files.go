package client

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/url"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
)

// FilePath names a file of a task.
type FilePath struct {
	Allocation spec.AllocationID
	Task       spec.TaskName // "" is the only main task
	Path       string        // as the task sees it
}

func (p FilePath) where(route string) (string, url.Values) {
	q := url.Values{"path": {p.Path}}
	set(q, "task", string(p.Task))
	return "/v1/allocations/" + segment(string(p.Allocation)) + "/" + route, q
}

// File describes a file, or a folder with its entries.
func (c *Client) File(ctx context.Context, p FilePath) (*spec.File, error) {
	where, q := p.where("files")
	return ask[*spec.File](ctx, c, http.MethodGet, where, q, nil)
}

// Content writes what is in a file.
func (c *Client) Content(ctx context.Context, p FilePath, w io.Writer) error {
	return c.download(ctx, p, "content", w, io.Discard)
}

// Pack writes a file or folder as a tar archive, and into warnings a line for each thing that was left out. After an error the archive is not whole.
func (c *Client) Pack(ctx context.Context, p FilePath, w, warnings io.Writer) error {
	return c.download(ctx, p, "archive", w, warnings)
}

func (c *Client) download(ctx context.Context, p FilePath, route string, w, warnings io.Writer) error {
	where, q := p.where(route)
	r, err := c.request(ctx, http.MethodGet, where, q, nil, "")
	if err != nil {
		return err
	}
	r.Header.Set("Accept", api.FrameMedia)
	response, err := c.send(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = readFrames(bufio.NewReader(response.Body), w, warnings, nil)
	return err
}

// Unpack puts the file or folder at the top of a tar archive into a task that runs.
func (c *Client) Unpack(ctx context.Context, p FilePath, archive io.Reader) (*spec.Unpacked, error) {
	where, q := p.where("archive")
	return askRaw[*spec.Unpacked](ctx, c, http.MethodPut, where, q, archive, "application/x-tar")
}
