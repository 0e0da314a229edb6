package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/hcl"
)

// diagnostics prints complaints in their boxed form.
func (s *shell) diagnostics(w io.Writer, list []spec.Diagnostic) {
	p := s.page()
	hcl.Render(w, list, p.Colour)
}

// folderArg is the folder that a command works on: its argument, or the one it is called in.
func folderArg(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}

func (s *shell) validateCommand() *cobra.Command {
	return &cobra.Command{Use: "validate [FOLDER]", Short: "Check the HCL files of a folder, without a master", Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			folder := folderArg(args)
			if err := mustBeFolder(folder); err != nil {
				return err
			}
			cluster, list := hcl.Load(os.DirFS(folder), hcl.Options{})
			if s.json {
				if list == nil {
					list = []spec.Diagnostic{}
				}
				if err := s.printJSON(map[string]any{"valid": cluster != nil, "diagnostics": list}); err != nil {
					return err
				}
			} else {
				s.diagnostics(s.Stdout, list)
			}
			if cluster == nil {
				return exitCode(exitError)
			}
			if !s.json {
				allocations := 0
				for _, a := range cluster.Apps {
					allocations += a.Count
				}
				fmt.Fprintf(s.Stdout, "Cluster %q is valid: %s asking for %s.\n", cluster.Name, spec.Plural(len(cluster.Apps), "app"), spec.Plural(allocations, "allocation"))
			}
			return nil
		}}
}

func mustBeFolder(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		err = errors.New("it is a file; name the folder that holds the .hcl files")
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

func (s *shell) fmtCommand() *cobra.Command {
	var check bool
	c := &cobra.Command{Use: "fmt [FILE | FOLDER]…", Short: "Bring HCL files into the usual form", RunE: func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			args = []string{"."}
		}
		var files []string
		for _, arg := range args {
			more, err := hclFiles(arg)
			if err != nil {
				return err
			}
			files = append(files, more...)
		}
		changed, broken := 0, false
		for _, f := range files {
			if f == "-" {
				return s.formatStdin()
			}
			different, ok, err := s.formatFile(f, check)
			if err != nil {
				return err
			}
			if different {
				changed++
				fmt.Fprintln(s.Stdout, f)
			}
			broken = broken || !ok
		}
		if broken || check && changed > 0 {
			return exitCode(exitError)
		}
		return nil
	}}
	c.Flags().BoolVar(&check, "check", false, "change nothing; exit with 1 if a file would change")
	return c
}

// hclFiles lists the .hcl files at or below a path; "-" is standard input.
func hclFiles(path string) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && p != path && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.Type().IsRegular() && strings.HasSuffix(d.Name(), ".hcl"):
			files = append(files, p)
		}
		return nil
	})
	return files, err
}

func (s *shell) formatFile(path string, check bool) (different, ok bool, err error) {
	src, err := os.ReadFile(path)
	if err != nil {
		return false, false, err
	}
	out, list := hcl.Format(path, src)
	if spec.HasErrors(list) {
		s.diagnostics(s.Stderr, list)
		return false, false, nil
	}
	if bytes.Equal(src, out) {
		return false, true, nil
	}
	if check {
		return true, true, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return true, true, err
	}
	temporary := path + ".stowage-fmt"
	if err := os.WriteFile(temporary, out, info.Mode().Perm()); err != nil {
		return true, true, errors.Join(fmt.Errorf("write %s: %w; the file is as it was", path, err), os.Remove(temporary))
	}
	return true, true, os.Rename(temporary, path)
}

func (s *shell) formatStdin() error {
	src, err := io.ReadAll(s.Stdin)
	if err != nil {
		return err
	}
	out, list := hcl.Format("<stdin>", src)
	if spec.HasErrors(list) {
		s.diagnostics(s.Stderr, list)
		return exitCode(exitError)
	}
	_, err = s.Stdout.Write(out)
	return err
}

// starter is what stowage init writes.
var starter = []struct{ name, text string }{
	{"cluster.hcl", `cluster "NAME" {
  sync {
    approval  = "auto" # every good commit is applied; "manual": a commit becomes a plan that waits for stowage apply
    prune     = true   # apps that leave the repository are stopped …
    max_prune = "20%"  # … but never more than this at once without approval
  }
}
`},
	{"apps/hello.hcl", `# A service: three allocations, restarted when they exit. Without a policy or spread they fill one node after another.
app "hello" {
  count = 3

  task "greeter" {
    rootfs  = "host" # the node's own programs, read-only; or image = "oci:./path" for an image in this repository
    command = ["sh", "-c", "trap exit TERM; while true; do echo hello from slot $STOWAGE_SLOT; sleep 5 & wait; done"]
    cpu     = 0.1
    memory  = "32MiB"
  }
}
`},
	{".gitignore", "*.stowage-fmt\n"},
}

func (s *shell) initCommand() *cobra.Command {
	var name string
	c := &cobra.Command{Use: "init [FOLDER]", Short: "Write a starter repository", Args: cobra.MaximumNArgs(1), RunE: func(_ *cobra.Command, args []string) error {
		folder := folderArg(args)
		for _, f := range starter {
			path := filepath.Join(folder, filepath.FromSlash(f.name))
			if _, err := os.Stat(path); err == nil {
				fmt.Fprintf(s.Stdout, "  %s is there already and stays as it is\n", path)
				continue
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return fmt.Errorf("write starter: %w", err)
			}
			if err := os.WriteFile(path, []byte(strings.ReplaceAll(f.text, "NAME", name)), 0o644); err != nil {
				return fmt.Errorf("write starter: %w", err)
			}
			fmt.Fprintf(s.Stdout, "  %s\n", path)
		}
		fmt.Fprint(s.Stdout, "\nNext:\n")
		if filepath.Clean(folder) != "." {
			fmt.Fprintf(s.Stdout, "  cd %s\n", folder)
		}
		fmt.Fprint(s.Stdout, "  stowage validate\n  git init -b main && git add . && git commit -m 'first revision'\n  stowage dev\n")
		return nil
	}}
	c.Flags().StringVar(&name, "name", "home", "name of the cluster")
	return c
}
