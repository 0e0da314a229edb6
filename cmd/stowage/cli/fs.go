package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/stowage/stowage/cmd/stowage/view"
	"github.com/stowage/stowage/master/api/client"
	"github.com/stowage/stowage/spec"
)

// remotePath splits WHAT:PATH. What begins with a slash or a dot is a path here, whatever colons it has.
func remotePath(text string) (what, path string, ok bool) {
	if strings.HasPrefix(text, "/") || strings.HasPrefix(text, ".") {
		return "", "", false
	}
	what, path, ok = strings.Cut(text, ":")
	return what, path, ok && what != ""
}

// filePath finds the file of a task that a person means.
func (s *shell) filePath(cmd *cobra.Command, c *client.Client, text, task string) (p client.FilePath, err error) {
	what, path, ok := remotePath(text)
	if !ok || path == "" {
		return p, fmt.Errorf("%s names no file of a task: write it as shop/web[0]:/path", text)
	}
	id, err := s.target(cmd, c, what)
	return client.FilePath{Allocation: id, Task: spec.TaskName(task), Path: path}, err
}

func (s *shell) fsCommand() *cobra.Command {
	c := &cobra.Command{Use: "fs", Short: "Look at files of tasks, also of those that have ended and are kept"}
	var task string
	c.PersistentFlags().StringVar(&task, "task", "", "whose files; without it, the only main task's")
	ask := func(cmd *cobra.Command, c *client.Client, args []string) (*spec.File, error) {
		p, err := s.filePath(cmd, c, args[0], task)
		if err != nil {
			return nil, err
		}
		return c.File(cmd.Context(), p)
	}
	c.AddCommand(look(s, "ls WHAT:PATH", "List a folder", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) (*spec.File, error) {
		f, err := ask(cmd, c, args)
		if err == nil && f.Kind == spec.FileLink && !strings.HasSuffix(args[0], "/") {
			return ask(cmd, c, []string{args[0] + "/"}) // as ls(1) does not, but as people mean it
		}
		return f, err
	}, func(p *view.Page, f *spec.File) { p.Folder(f) }))
	c.AddCommand(look(s, "stat WHAT:PATH", "Describe a file, folder or link", cobra.ExactArgs(1), func(cmd *cobra.Command, c *client.Client, args []string) (*spec.File, error) {
		f, err := ask(cmd, c, args)
		if err == nil {
			f.Entries, f.More = nil, false
		}
		return f, err
	}, func(p *view.Page, f *spec.File) { p.File(f) }))
	c.AddCommand(&cobra.Command{Use: "cat WHAT:PATH", Short: "Print what is in a file", Args: cobra.ExactArgs(1), RunE: func(cmd *cobra.Command, args []string) error {
		if s.json {
			return errors.New("fs cat prints what is in the file, and that is no JSON: leave out --json")
		}
		c, err := s.client()
		if err != nil {
			return err
		}
		p, err := s.filePath(cmd, c, args[0], task)
		if err != nil {
			return err
		}
		return c.Content(cmd.Context(), p, s.Stdout)
	}})
	return c
}
