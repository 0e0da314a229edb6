package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/agent/files"
	"github.com/stowage/stowage/agent/image"
	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec/wire"
)

// serveFiles shows or changes files of a task.
func (a *agent) serveFiles(ctx context.Context, o *wire.Open, s executor.Streams) error {
	r, i, err := a.find(o.ID, o.Task)
	if err != nil {
		return err
	}
	root, pid, err := a.fileSystem(ctx, &r, i)
	if err != nil {
		return err
	}
	defer root.Close()
	switch o.Files.Deed {
	case wire.Describe:
		f, err := root.Stat(o.Files.Path)
		if err != nil {
			return err
		}
		return json.NewEncoder(s.Stdout).Encode(f)
	case wire.Content:
		return root.Read(o.Files.Path, s.Stdout)
	case wire.Pack:
		out := bufio.NewWriterSize(s.Stdout, wire.ChunkSize)
		err := root.Pack(ctx, o.Files.Path, out, func(what string) { fmt.Fprintln(s.Stderr, what) })
		return errors.Join(err, out.Flush())
	case wire.Unpack:
		if pid == 0 {
			return fmt.Errorf("task %s of %s is not running: its files can only be read", r.App.Tasks[i].Name, o.ID)
		}
		uid, gid, err := ownerOf(pid)
		if err != nil {
			return err
		}
		done, err := root.Unpack(o.Files.Path, bufio.NewReaderSize(s.Stdin, wire.ChunkSize), uid, gid)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, s.Stdin) // what stands behind the end of the archive
		return json.NewEncoder(s.Stdout).Encode(done)
	}
	return fmt.Errorf("this agent is too old to %s files: upgrade it", o.Files.Deed)
}

// fileSystem opens what a task sees, and tells its first process; of a task that does not run it opens what is left, and 0.
func (a *agent) fileSystem(ctx context.Context, r *node.Record, i int) (*files.Root, int, error) {
	id, t := r.Decided.ID, &r.App.Tasks[i]
	if i < len(r.Tasks) {
		c, err := a.keeper.client.Get(ctx, node.Run{ID: id, Task: t.Name, Attempt: r.Tasks[i].Attempt}.String())
		if err == nil && c.State == executor.StateRunning {
			root, err := files.OpenProcess(c.Pid, c.PidStart)
			return root, c.Pid, err
		}
	}
	written := a.folders.root(id, t.Name)
	if _, err := os.Stat(written); err != nil {
		return nil, 0, fmt.Errorf("of task %s of %s no files are left", t.Name, id)
	}
	layers := []string{written}
	img, err := a.taskImage(ctx, &r.Decided, t)
	if err != nil {
		return nil, 0, err
	}
	laid, err := a.keptArtifacts(id, t)
	if err != nil {
		return nil, 0, err
	}
	if img != nil { // of the node's root, the node's own programs are no files of the task
		laid = append([]image.Image{*img}, laid...)
	}
	userXattr := false
	for _, one := range slices.Backward(laid) {
		layers, userXattr = append(layers, one.Layers...), one.UserXattr
	}
	root, err := files.OpenLayers(layers, userXattr, a.folders.allocation(id))
	return root, 0, err
}

// ownerOf is the user and group of a process, as the node counts them.
func ownerOf(pid int) (uid, gid int, err error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, 0, fmt.Errorf("find the user of the task: %w", err)
	}
	found := 0
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] != "Uid:" && fields[0] != "Gid:" {
			continue
		}
		n, err := strconv.Atoi(fields[2]) // the effective one
		if err != nil {
			return 0, 0, fmt.Errorf("find the user of the task: %w", err)
		}
		if found++; fields[0] == "Uid:" {
			uid = n
		} else {
			gid = n
		}
	}
	if found != 2 {
		return 0, 0, errors.New("find the user of the task: the kernel does not tell")
	}
	return uid, gid, nil
}
