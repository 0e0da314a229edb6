package artifact

import (
	"archive/tar"
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/stowage/stowage/agent/artifact/git"
	"github.com/stowage/stowage/agent/image"
	"github.com/stowage/stowage/spec"
)

// maxTarget bounds the target of a link in a zip archive, in bytes: PATH_MAX.
const maxTarget = 4096

// maxRatio is how often more a file may be than what it was compressed to, counted from ratioFloor bytes on.
const (
	maxRatio   = 200
	ratioFloor = 256 << 20
)

// packer writes what is in an artifact as a plain tar archive: folders, files and links, with names that stay below the destination.
type packer struct {
	to      *tar.Writer
	strip   int
	most    int64 // bytes of files
	packed  int64 // bytes of the file that it comes from
	bytes   int64 // of files, so far
	plain   int64 // bytes that were decompressed, so far
	entries int
	links   map[string]bool // names of symbolic links
}

// unpack reads a file and writes a tar archive of what is in it. Its first entry is the folder that everything is in.
func unpack(r *request, file *os.File, w io.Writer) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	p := &packer{to: tar.NewWriter(w), strip: r.Strip, most: r.Most, packed: info.Size(), links: map[string]bool{}}
	switch {
	case r.Format.Single():
		err = p.single(r, file)
	default:
		if err := p.to.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}); err != nil {
			return err
		}
		switch r.Format {
		case spec.FormatZip:
			err = p.zip(file)
		case formatPack:
			err = git.Read(file, r.Commit, r.Folder, p.checkedOut)
		default:
			err = p.tar(file)
		}
	}
	if err != nil {
		return err
	}
	return p.to.Close()
}

// single packs one file. What it has when decompressed is counted first, as an archive tells sizes in front.
func (p *packer) single(r *request, file *os.File) error {
	open := func() (io.Reader, func(), error) {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			return nil, nil, err
		}
		if r.Format == spec.FormatFile {
			return file, func() {}, nil
		}
		return p.decompress(file)
	}
	content, closer, err := open()
	if err != nil {
		return err
	}
	size, err := io.Copy(io.Discard, &bounded{from: content, p: p})
	closer()
	if err != nil {
		return err
	}
	p.bytes, p.plain = 0, 0
	if content, closer, err = open(); err != nil {
		return err
	}
	defer closer()
	return p.add(&tar.Header{Typeflag: tar.TypeReg, Name: r.Name, Mode: int64(r.Mode), Size: size}, content)
}

func (p *packer) tar(file *os.File) error {
	plain, closer, err := p.decompress(file)
	if err != nil {
		return err
	}
	defer closer()
	r := tar.NewReader(plain)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			if p.entries == 0 {
				return errors.New("there is no archive in it, or an empty one")
			}
			return nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // names are judged here
			return fmt.Errorf("read archive: %w", err)
		}
		if err := p.add(h, r); err != nil {
			return named(h.Name, err)
		}
	}
}

func (p *packer) zip(file *os.File) error {
	r, err := zip.NewReader(file, p.packed)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return fmt.Errorf("read archive: %w", err)
	}
	for _, f := range r.File {
		if err := p.zipped(f); err != nil {
			return named(f.Name, err)
		}
	}
	return nil
}

// checkedOut packs an entry of a commit.
func (p *packer) checkedOut(e git.Entry) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: e.Name, Mode: 0o644, Size: e.Size}
	switch e.Kind {
	case git.Folder:
		h.Typeflag, h.Mode = tar.TypeDir, 0o755
	case git.Program:
		h.Mode = 0o755
	case git.Link:
		target, err := io.ReadAll(io.LimitReader(e.Content, maxTarget+1))
		if err != nil {
			return err
		}
		h.Typeflag, h.Size, h.Linkname = tar.TypeSymlink, 0, string(target)
	}
	if err := p.add(h, e.Content); err != nil {
		return named(e.Name, err)
	}
	return nil
}

// Systems that a zip archive says it was made on (APPNOTE.TXT, 4.4.2): these have permissions.
const (
	madeOnUnix = 3
	madeOnMac  = 19
)

func (p *packer) zipped(f *zip.File) error {
	mode := f.Mode()
	if system := f.CreatorVersion >> 8; system != madeOnUnix && system != madeOnMac {
		mode &^= 0o022 // without permissions everything would be anybody's to write
	}
	if f.UncompressedSize64 > 1<<62 {
		return errors.New("its size is out of range")
	}
	h := &tar.Header{Name: f.Name, Mode: int64(mode.Perm()), ModTime: f.Modified}
	switch {
	case mode.IsDir():
		h.Typeflag = tar.TypeDir
		return p.add(h, nil)
	case mode.IsRegular(), mode&fs.ModeType == fs.ModeSymlink:
	default:
		return errors.New("it is neither a file, a folder nor a link")
	}
	content, err := f.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	if mode.IsRegular() {
		h.Typeflag, h.Size = tar.TypeReg, int64(f.UncompressedSize64)
		return p.add(h, &inflated{content, p})
	}
	target, err := io.ReadAll(io.LimitReader(content, maxTarget+1))
	if err != nil {
		return err
	}
	h.Typeflag, h.Linkname = tar.TypeSymlink, string(target)
	return p.add(h, nil)
}

// add packs one entry, or leaves it out where its name has no more than the folders that are stripped.
func (p *packer) add(h *tar.Header, content io.Reader) error {
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink, tar.TypeGNUSparse:
	default:
		return errors.New("it is neither a file, a folder nor a link")
	}
	if p.entries++; p.entries > maxEntries {
		return fmt.Errorf("the archive has more than %d entries", maxEntries)
	}
	name, err := p.place(h.Name)
	if err != nil || name == "" {
		return err
	}
	out := &tar.Header{Typeflag: h.Typeflag, Name: name, Mode: h.Mode & 0o777, ModTime: h.ModTime, Format: tar.FormatPAX}
	delete(p.links, name)
	switch h.Typeflag {
	case tar.TypeDir:
		out.Name += "/"
	case tar.TypeSymlink:
		if h.Linkname == "" || len(h.Linkname) >= maxTarget || strings.IndexByte(h.Linkname, 0) >= 0 {
			return errors.New("the target of the link is empty, too long, or contains a zero byte")
		}
		out.Linkname, p.links[name] = h.Linkname, true // it is resolved inside the task
	case tar.TypeLink:
		if out.Linkname, err = p.place(h.Linkname); err != nil {
			return fmt.Errorf("it is a link: %w", err)
		}
		if out.Linkname == "" {
			return fmt.Errorf("it is a link to %q, which is not unpacked", h.Linkname)
		}
	default:
		out.Typeflag, out.Size = tar.TypeReg, h.Size
		if h.Size < 0 || h.Size > p.most-p.bytes {
			return tooMuch(p.most)
		}
	}
	if err := p.to.WriteHeader(out); err != nil {
		return err
	}
	if out.Typeflag != tar.TypeReg {
		return nil
	}
	_, err = io.Copy(p.to, &bounded{from: content, p: p})
	return err
}

// place is the name of an entry below the destination, "" for one that is stripped.
func (p *packer) place(name string) (string, error) {
	if strings.IndexByte(name, 0) >= 0 {
		return "", errors.New("the name contains a zero byte")
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "..":
			return "", errors.New(`the name contains ".."`)
		case "", ".":
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) <= p.strip {
		return "", nil
	}
	parts = parts[p.strip:]
	for i := range parts[1:] {
		if p.links[path.Join(parts[:i+1]...)] {
			return "", errors.New("the name leads through a link of the archive")
		}
	}
	return path.Join(parts...), nil
}

// decompress reads what a file has when it is decompressed.
func (p *packer) decompress(file *os.File) (io.Reader, func(), error) {
	plain, closer, err := image.Decompress(file)
	return &inflated{plain, p}, closer, err
}

// inflated counts what was decompressed, also what is left out, against what it was compressed to.
type inflated struct {
	io.Reader
	p *packer
}

func (i *inflated) Read(buffer []byte) (int, error) {
	n, err := i.Reader.Read(buffer)
	if i.p.plain += int64(n); i.p.plain > ratioFloor && i.p.plain/maxRatio > i.p.packed {
		return n, fmt.Errorf("it expands more than %d times: this looks like a decompression bomb", maxRatio)
	}
	return n, err
}

// bounded counts the bytes of files against what the task has for them.
type bounded struct {
	from io.Reader
	p    *packer
}

func (b *bounded) Read(buffer []byte) (int, error) {
	n, err := b.from.Read(buffer)
	if b.p.bytes += int64(n); b.p.bytes > b.p.most {
		return n, tooMuch(b.p.most)
	}
	return n, err
}

// named says of which entry an error is.
func named(name string, err error) error {
	const most = 120
	if len(name) > most {
		name = name[:most] + "…"
	}
	return fmt.Errorf("entry %q: %w", name, err)
}
