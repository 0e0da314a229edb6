package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"
)

// archiveFS shows the regular files of an uncompressed tar archive as a file system, without unpacking it.
type archiveFS struct {
	file  *os.File
	files map[string]span
}

type span struct {
	offset, size int64
}

// maxArchiveEntries bounds the index of an archive: an image has a handful of documents and a blob for each layer.
const maxArchiveEntries = 10_000

// openArchive indexes an archive. It takes file over, also when it fails. A compressed archive is decompressed into a file
// in tmp, which is gone when the archive is closed.
func openArchive(ctx context.Context, file *os.File, tmp string, limits Limits) (_ *archiveFS, err error) {
	file, err = plainArchive(ctx, file, tmp, limits)
	if err != nil {
		return nil, err
	}
	a := &archiveFS{file: file, files: map[string]span{}}
	if err := a.index(); err != nil {
		file.Close()
		return nil, err
	}
	return a, nil
}

func (a *archiveFS) index() error {
	r := tar.NewReader(a.file)
	links := map[string]string{}
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			for name, target := range links {
				if s, ok := a.files[target]; ok {
					a.files[name] = s
				}
			}
			return nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return fmt.Errorf("read archive: %w", err)
		}
		if n >= maxArchiveEntries {
			return fmt.Errorf("read archive: more than %d entries: not an image archive", maxArchiveEntries)
		}
		name := path.Clean(h.Name)
		if !fs.ValidPath(name) {
			continue
		}
		switch h.Typeflag {
		case tar.TypeReg: // a sparse file would not lie at the offset: its digest will tell
			offset, err := a.file.Seek(0, io.SeekCurrent)
			if err != nil {
				return fmt.Errorf("read archive: %w", err)
			}
			a.files[name] = span{offset: offset, size: h.Size}
		case tar.TypeSymlink: // older versions of docker save write a layer that repeats as a link
			links[name] = path.Join(path.Dir(name), h.Linkname)
		case tar.TypeLink:
			links[name] = path.Clean(h.Linkname)
		}
	}
}

// plainArchive returns file itself, or a decompressed copy that has no name.
func plainArchive(ctx context.Context, file *os.File, tmp string, limits Limits) (*os.File, error) {
	in := &counter{reader: file, ctx: ctx}
	plain, closer, err := Decompress(in)
	if err != nil {
		file.Close()
		return nil, err
	}
	defer closer()
	magic := make([]byte, len(zstdMagic))
	n, _ := file.ReadAt(magic, 0)
	if !compressed(magic[:n]) {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			file.Close()
			return nil, fmt.Errorf("read archive: %w", err)
		}
		return file, nil
	}
	defer file.Close()
	guard := &ratioGuard{reader: plain, in: in, limits: limits}
	guard.limits.LayerBytes = limits.ArchiveBytes
	return spool(guard, tmp)
}

// spool copies r into a file in tmp that has no name any more, and returns it, rewound.
func spool(r io.Reader, tmp string) (*os.File, error) {
	f, err := os.CreateTemp(tmp, "archive-")
	if err != nil {
		return nil, fmt.Errorf("copy archive: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, fmt.Errorf("copy archive: %w", err)
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return nil, fmt.Errorf("copy archive: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		f.Close()
		return nil, fmt.Errorf("copy archive: %w", err)
	}
	return f, nil
}

// Open implements fs.FS for the files of the archive.
func (a *archiveFS) Open(name string) (fs.File, error) {
	s, ok := a.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &archiveFile{SectionReader: io.NewSectionReader(a.file, s.offset, s.size), name: path.Base(name)}, nil
}

// Close frees the archive.
func (a *archiveFS) Close() error { return a.file.Close() }

type archiveFile struct {
	*io.SectionReader
	name string
}

func (f *archiveFile) Close() error               { return nil }
func (f *archiveFile) Stat() (fs.FileInfo, error) { return f, nil }

// archiveFile is its own fs.FileInfo.
func (f *archiveFile) Name() string       { return f.name }
func (f *archiveFile) Mode() fs.FileMode  { return 0o444 }
func (f *archiveFile) ModTime() time.Time { return time.Time{} }
func (f *archiveFile) IsDir() bool        { return false }
func (f *archiveFile) Sys() any           { return nil }
