package hcl

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/stowage/stowage/spec"
)

// source is one file of the commit.
type source struct {
	name string // as shown: relative to the followed folder
	real string // its path in the repository, links resolved
	text []byte
	body *hclsyntax.Body // nil when it could not be parsed
}

var (
	errLeaves = errors.New("the link leaves the repository")
	errLoop   = errors.New("the links lead round in a circle")
)

// resolve follows the links in a path of the repository and returns the path without them, never one outside.
func resolve(fsys fs.FS, name string) (string, fs.FileInfo, error) {
	const mostLinks = 40
	rest, done := strings.Split(path.Clean(name), "/"), "."
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if done == "." {
				return "", nil, errLeaves
			}
			done = path.Dir(done)
			continue
		}
		next := path.Join(done, part)
		info, err := fs.Lstat(fsys, next)
		if err != nil {
			return "", nil, err
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			done = next
			continue
		}
		if links++; links > mostLinks {
			return "", nil, errLoop
		}
		target, err := fs.ReadLink(fsys, next)
		if err != nil {
			return "", nil, err
		}
		if path.IsAbs(target) || len(target) > 4096 {
			return "", nil, errLeaves
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	info, err := fs.Lstat(fsys, done)
	return done, info, err
}

// finder collects the *.hcl files below the followed folder. Every folder and file is read once, however many links
// lead to it, so that links can neither loop nor multiply.
type finder struct {
	fsys     fs.FS
	root     string
	complain *complaints
	visited  map[string]bool
	entries  int
	full     bool
	found    []*source
}

// find returns the sources below root, sorted by name, without their text. Names are shown relative to base, or to root
// when base is "". The last value is false when the folder
// cannot be read at all.
func find(fsys fs.FS, root, base string, complain *complaints) ([]*source, bool) {
	f := &finder{fsys: fsys, complain: complain, visited: map[string]bool{}}
	real, info, err := resolve(fsys, root)
	if err == nil && !info.IsDir() {
		err = errors.New("it is no folder")
	}
	if err != nil {
		complain.add(spec.Diagnostic{
			Severity: spec.SeverityError, Summary: "Folder not readable",
			Detail: fmt.Sprintf("The folder %q of the repository cannot be read: %v. Give another one with -path.", root, err),
		})
		return nil, false
	}
	if f.root = base; base == "" {
		f.root = real
	}
	f.folder(real, 0)
	slices.SortFunc(f.found, func(a, b *source) int { return strings.Compare(a.name, b.name) })
	return f.found, true
}

func (f *finder) fail(name, summary, detail string) {
	f.complain.add(spec.Diagnostic{
		Severity: spec.SeverityError, Summary: summary, Detail: detail, Pos: spec.Pos{File: f.shown(name)},
	})
}

// shown is the path relative to the followed folder, or from the repository's root when it is outside of that.
func (f *finder) shown(name string) string {
	if f.root == "." {
		return name
	}
	if s, ok := strings.CutPrefix(name, f.root+"/"); ok {
		return s
	}
	return "/" + name
}

func (f *finder) folder(name string, depth int) {
	if f.visited[name] || f.full {
		return
	}
	f.visited[name] = true
	if depth > MaxFolderDepth {
		f.fail(name, "Folders nested too deeply", fmt.Sprintf("Folders may nest at most %d deep. Move this one up.", MaxFolderDepth))
		return
	}
	entries, err := fs.ReadDir(f.fsys, name)
	if err != nil {
		f.fail(name, "Folder not readable", fmt.Sprintf("The folder cannot be read: %v.", cause(err)))
		return
	}
	slices.SortStableFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	var links []string
	for _, e := range entries {
		if f.entries++; f.entries > MaxFiles {
			f.full = true
			f.fail(name, "Too many files", fmt.Sprintf("The folder holds more than %d files. Follow a subfolder, with -path.", MaxFiles))
			return
		}
		child := path.Join(name, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case e.Type()&fs.ModeSymlink != 0:
			links = append(links, child)
		case e.IsDir():
			f.folder(child, depth+1)
		case strings.HasSuffix(e.Name(), ".hcl"):
			f.file(child, child, e.Type())
		}
	}
	for _, l := range links {
		f.link(l, depth)
	}
}

// link follows a link to a folder, or one called *.hcl to a file. Other links are none of our business.
func (f *finder) link(name string, depth int) {
	real, info, err := resolve(f.fsys, name)
	switch {
	case errors.Is(err, errLeaves):
		f.fail(name, "Link leaves the repository", "This link points outside of the repository, where a commit has no say. Put a copy of the file into the repository.")
	case err != nil && (strings.HasSuffix(name, ".hcl") || errors.Is(err, errLoop)):
		f.fail(name, "Broken link", fmt.Sprintf("This link cannot be followed: %v. Mend or remove it.", cause(err)))
	case err != nil:
	case info.IsDir():
		f.folder(real, depth+1)
	case strings.HasSuffix(name, ".hcl"):
		f.file(name, real, info.Mode().Type())
	}
}

func (f *finder) file(name, real string, kind fs.FileMode) {
	if f.visited[real] {
		return
	}
	f.visited[real] = true
	if !kind.IsRegular() {
		f.fail(name, "Not a file", "This is a device, pipe or socket. Remove it, or give it another ending than .hcl.")
		return
	}
	f.found = append(f.found, &source{name: f.shown(name), real: real})
}

// cause leaves out the operation and path that fs errors repeat.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// read returns the bytes of a regular file, at most limit of them and one more.
func read(fsys fs.FS, name string, limit int64) ([]byte, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, limit+1))
}
