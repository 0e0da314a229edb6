package cli

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/stowage/stowage/agent/files"
	"github.com/stowage/stowage/master/api/client"
	"github.com/stowage/stowage/spec"
)

func (s *shell) cpCommand() *cobra.Command {
	var task string
	c := &cobra.Command{Use: "cp FROM TO", Short: "Copy a file or folder out of a task or into one", Args: cobra.ExactArgs(2),
		Long: "One of FROM and TO is here, the other in a task: shop/web[0]:/path. If TO is a folder, the copy becomes an entry of it; else it gets that name.\n" +
			"Permissions are kept. In a task all belongs to the task's user. Links are copied as links; those that lead out of what is copied are refused.",
		Example: "  stowage cp 'shop/web[0]:/var/log/app' ./log\n  stowage cp page.html 'shop/web[0]:/srv/www/'",
		RunE: func(cmd *cobra.Command, args []string) error {
			_, _, out := remotePath(args[0])
			_, _, in := remotePath(args[1])
			if out == in {
				return errors.New("one of FROM and TO is here and the other in a task, as in stowage cp 'shop/web[0]:/path' ./here; a path here that has a colon begins with ./")
			}
			c, err := s.client()
			if err != nil {
				return err
			}
			refused := &refusals{to: s.Stderr}
			if out {
				p, err := s.filePath(cmd, c, args[0], task)
				if err != nil {
					return err
				}
				err = copyOut(cmd.Context(), c, p, args[1], refused)
				return errors.Join(err, refused.sum())
			}
			p, err := s.filePath(cmd, c, args[1], task)
			if err != nil {
				return err
			}
			err = copyIn(cmd.Context(), c, args[0], p, refused)
			return errors.Join(err, refused.sum())
		}}
	c.Flags().StringVar(&task, "task", "", "whose files; without it, the only main task's")
	return c
}

// refusals tells what was left out, as it happens.
type refusals struct {
	mu sync.Mutex
	to io.Writer
	n  int
}

func (r *refusals) add(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n++
	fmt.Fprintf(r.to, "left out: %s\n", spec.Printable(what)) // names are the task's choice
}

// sum is the error that something was left out.
func (r *refusals) sum() error {
	if r.n == 0 {
		return nil
	}
	return fmt.Errorf("%d left out, all else is copied", r.n)
}

// copyOut copies out of a task. The archive is made by a machine that may be hostile.
func copyOut(ctx context.Context, c *client.Client, from client.FilePath, to string, refused *refusals) error {
	reader, writer := io.Pipe()
	warnings := &lineWriter{each: refused.add}
	sent := make(chan error, 1)
	go func() {
		err := c.Pack(ctx, from, writer, warnings)
		writer.CloseWithError(err)
		sent <- err
	}()
	err := unpackHere(reader, from.Path, to, refused)
	if err == nil {
		_, err = io.Copy(io.Discard, reader)
	}
	reader.CloseWithError(errors.New("stopped reading"))
	if cause := <-sent; err == nil {
		err = cause
	}
	return err
}

// maxWarning bounds a line that is handed on, in bytes.
const maxWarning = 8 << 10

// lineWriter hands on whole lines; of one that is longer than maxWarning, its beginning.
type lineWriter struct {
	each func(string)
	held []byte
}

// Write implements io.Writer.
func (l *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		line, rest, ended := bytes.Cut(p, []byte{'\n'})
		l.held = append(l.held, line[:min(len(line), maxWarning-len(l.held))]...)
		if !ended {
			return n, nil
		}
		l.each(string(l.held))
		l.held, p = l.held[:0], rest
	}
}

// unpackHere writes an archive of a task's file or folder to a path of this machine. Into a folder it goes under the name that was asked for, not
// under one that the node chose.
func unpackHere(archive io.Reader, asked, to string, refused *refusals) error {
	dir, name := to, path.Base(path.Join("/", asked))
	if name == "/" {
		name = "root"
	}
	if info, err := os.Stat(to); err != nil || !info.IsDir() {
		if strings.HasSuffix(to, "/") {
			return fmt.Errorf("there is no folder %s", to)
		}
		dir, name = filepath.Dir(to), filepath.Base(to)
	}
	return files.UnpackHere(dir, name, archive, refused.add)
}

// copyIn copies into a task.
func copyIn(ctx context.Context, c *client.Client, from string, to client.FilePath, refused *refusals) error {
	if _, err := os.Stat(from); err != nil {
		return err
	}
	reader, writer := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := packHere(writer, from, refused)
		writer.CloseWithError(err)
		packed <- err
	}()
	done, err := c.Unpack(ctx, to, reader)
	reader.CloseWithError(errors.New("stopped"))
	if cause := <-packed; err != nil && cause != nil && !strings.Contains(cause.Error(), "stopped") {
		err = cause
	}
	if err != nil {
		return err
	}
	for _, what := range done.Refused {
		refused.add(what)
	}
	return nil
}

// packHere writes a file or folder of this machine as an archive. A link at the end of the path is followed.
func packHere(w io.Writer, from string, refused *refusals) error {
	absolute, err := filepath.Abs(from)
	if err != nil {
		return err
	}
	base := filepath.Base(absolute)
	if absolute, err = filepath.EvalSymlinks(absolute); err != nil {
		return err
	}
	if base == "/" {
		base = "root"
	}
	t := tar.NewWriter(w)
	err = filepath.WalkDir(absolute, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(absolute, name)
		if err != nil {
			return err
		}
		return packOne(t, name, path.Join(base, filepath.ToSlash(below)), d, refused)
	})
	return errors.Join(err, closeIf(err == nil, t))
}

func closeIf(whole bool, t *tar.Writer) error {
	if whole {
		return t.Close()
	}
	return nil
}

func packOne(t *tar.Writer, from, name string, d fs.DirEntry, refused *refusals) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	h := &tar.Header{Format: tar.FormatPAX, Name: name, Mode: int64(info.Mode().Perm()), ModTime: info.ModTime()}
	switch {
	case info.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		return t.WriteHeader(h)
	case info.Mode()&fs.ModeSymlink != 0:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = os.Readlink(from); err != nil {
			return err
		}
		if !files.Inside(name, h.Linkname) {
			refused.add(fmt.Sprintf("%s leads to %s, out of what is copied", from, h.Linkname))
			return nil
		}
		return t.WriteHeader(h)
	case !info.Mode().IsRegular():
		refused.add(from + " is a device, a pipe or a socket")
		return nil
	}
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	h.Typeflag, h.Size = tar.TypeReg, info.Size()
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	if n, err := io.Copy(t, io.LimitReader(f, h.Size)); err != nil || n < h.Size {
		return fmt.Errorf("read %s: %w", from, errors.Join(err, errShrank(n < h.Size)))
	}
	return nil
}

func errShrank(yes bool) error {
	if yes {
		return errors.New("it became shorter while it was copied: try again")
	}
	return nil
}
