package image

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/stowage/stowage/agent/registry"
	"golang.org/x/sys/unix"
)

// Image is a prepared image: everything that is needed to run a task from it.
type Image struct {
	Digest string   // sha256:HEX of the manifest; of the configuration for an archive by docker save
	Config Config   // what the image wants to run, and how
	Layers []string // absolute paths of read-only folders, in the order of overlayfs' lowerdir: top first
	// UserXattr tells that overlay attributes are "user.overlay.*": mount with the option "userxattr".
	UserXattr bool
	Bytes     int64 // of its files, where it is a Content
}

// Config is what an image says about running it. All of it can be overridden by the task.
type Config struct {
	Entrypoint []string          `json:"entrypoint,omitempty"`
	Command    []string          `json:"command,omitempty"`
	Env        []string          `json:"env,omitempty"` // NAME=value
	WorkDir    string            `json:"workDir,omitempty"`
	User       string            `json:"user,omitempty"`       // name or number, and perhaps :group
	StopSignal string            `json:"stopSignal,omitempty"` // "SIGTERM" or a number
	Ports      []string          `json:"ports,omitempty"`      // "80/tcp", sorted
	Volumes    []string          `json:"volumes,omitempty"`    // folders that the image wants to be writable, sorted
	Labels     map[string]string `json:"labels,omitempty"`
}

// Store is a node's image store. It is safe for concurrent use.
type Store struct {
	dir    string
	form   overlayForm
	limits Limits
	lock   *os.File

	registry *registry.Client // nil: nothing is pulled

	slots chan struct{} // held while unpacking
	lines chan struct{} // held while downloading a layer

	mu    sync.Mutex
	busy  map[string]chan struct{} // what is being made, by key; closed when done
	pins  map[string]int           // layers that a running Prepare counts on
	holds map[string]int           // downloads that a running Prepare needs, by digest
	pulls map[string]*progress     // pulls under way, by the digest that was asked for
}

// ErrInUse is returned by Open when another process has the store open.
var ErrInUse = errors.New("another process uses this image store")

// maxUnpacks is how many layers are unpacked at the same time: more would only compete for the disk, and decoding one may take as much as
// zstdWindow of memory.
const maxUnpacks = 2

// format is the version of the store on disk.
const format = "1"

// Open opens the store in dir, making it if needed, and removes what an earlier process left unfinished.
// Only one process can have it open. Close it.
func Open(dir string) (*Store, error) { return OpenWith(dir, DefaultLimits, nil) }

// OpenWith is Open with other limits than the default ones, and with a client that images are pulled with (nil: none are).
func OpenWith(dir string, limits Limits, client *registry.Client) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open image store: %w", err)
	}
	s := &Store{
		dir: dir, limits: limits, registry: client, busy: map[string]chan struct{}{}, pins: map[string]int{}, holds: map[string]int{},
		pulls: map[string]*progress{}, slots: make(chan struct{}, maxUnpacks), lines: make(chan struct{}, maxStore),
	}
	if err := s.open(); err != nil {
		if s.lock != nil {
			s.lock.Close()
		}
		return nil, fmt.Errorf("open image store %s: %w", dir, explain(err, dir))
	}
	return s, nil
}

func (s *Store) open() (err error) {
	for _, sub := range []string{"", "layers", "images", "archives", "downloads"} {
		if err := os.MkdirAll(filepath.Join(s.dir, sub), 0o700); err != nil {
			return err
		}
	}
	if s.lock, err = os.OpenFile(filepath.Join(s.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return ErrInUse
		}
		return fmt.Errorf("lock: %w", err)
	}
	if err := os.RemoveAll(s.tmp()); err != nil {
		return err
	}
	if err := os.Mkdir(s.tmp(), 0o700); err != nil {
		return err
	}
	return s.checkFormat()
}

// checkFormat finds out where overlay attributes can be kept, and whether the store agrees.
func (s *Store) checkFormat() error {
	// In a user namespace root can only give files to users that are mapped. An image's may be any.
	s.form = overlayForm{xattr: "user.overlay.opaque", owners: os.Lchown(s.tmp(), 1<<15, 1<<15) == nil}
	if s.form.owners {
		if err := os.Lchown(s.tmp(), os.Geteuid(), os.Getegid()); err != nil {
			return err
		}
	}
	kind := "user"
	if unix.Setxattr(s.tmp(), "trusted.overlay.opaque", []byte("n"), 0) == nil {
		s.form.xattr, kind = "trusted.overlay.opaque", "trusted"
	}
	if err := unix.Removexattr(s.tmp(), "trusted.overlay.opaque"); err != nil && kind == "trusted" {
		return err
	}
	want := format + " " + kind + "\n"
	name := filepath.Join(s.dir, "format")
	have, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return s.writeFile(name, []byte(want))
	case err != nil:
		return err
	case string(have) != want:
		return fmt.Errorf("its format is %q and this agent, as the user it runs as, needs %q: stop the agent, remove the folder, and images are unpacked anew",
			strings.TrimSpace(string(have)), strings.TrimSpace(want))
	}
	return nil
}

// Close releases the store. No Prepare may be running. Prepared images stay usable.
func (s *Store) Close() error { return s.lock.Close() }

func (s *Store) tmp() string             { return filepath.Join(s.dir, "tmp") }
func (s *Store) layer(key string) string { return filepath.Join(s.dir, "layers", key) }

// Prepare makes an image ready to be mounted, and returns it. What is there already is not read again. Preparing the same
// image at the same time does the work once. Errors say what to do where a person can do something.
func (s *Store) Prepare(ctx context.Context, ref Ref) (Image, error) {
	image, err := s.prepare(ctx, ref)
	if err != nil {
		return Image{}, fmt.Errorf("prepare image %s: %w", ref, explain(err, s.dir))
	}
	return image, nil
}

func (s *Store) prepare(ctx context.Context, ref Ref) (Image, error) {
	if ref.Image.Repository != "" {
		return s.preparePulled(ctx, ref.Image)
	}
	if ref.SHA256 == "" {
		if ref.URL != "" {
			return Image{}, errors.New("an image from a URL needs its sha256")
		}
		return s.prepareFrom(ctx, ref)
	}
	var image Image
	err := s.once(ctx, "archive "+ref.SHA256, func() (err error) {
		key := archiveKey(ref)
		if r, ok := s.archived(key); ok {
			image = s.image(r)
			return nil
		}
		if image, err = s.prepareFrom(ctx, ref); err != nil {
			return err
		}
		return s.writeFile(filepath.Join(s.dir, "archives", key), []byte(image.Digest))
	})
	return image, err
}

// prepareFrom opens what ref leads to and unpacks the image in it.
func (s *Store) prepareFrom(ctx context.Context, ref Ref) (Image, error) {
	files, closer, err := s.source(ctx, ref)
	if err != nil {
		return Image{}, err
	}
	defer closer()
	f, err := find(files, ref.Tag, s.limits)
	if err != nil {
		return Image{}, err
	}
	r := newRecord(f)
	s.pin(r.Layers, 1)
	defer s.pin(r.Layers, -1)
	for i, b := range f.layers {
		want := f.config.RootFS.DiffIDs[i].Hex
		err := s.once(ctx, "layer "+r.Layers[i], func() error { return s.unpackLayer(ctx, b, want, r.Layers[:i+1]) })
		if err != nil {
			return Image{}, err
		}
	}
	if err := s.save(r); err != nil {
		return Image{}, err
	}
	return s.image(r), nil
}

// source opens a reference as a file system with the documents and blobs of an image.
func (s *Store) source(ctx context.Context, ref Ref) (fs.FS, func() error, error) {
	nothing := func() error { return nil }
	if ref.URL != "" {
		file, err := fetch(ctx, ref, s.tmp(), s.limits)
		if err != nil {
			return nil, nothing, err
		}
		return s.archive(ctx, file)
	}
	if ref.Repo == nil {
		info, err := os.Stat(ref.Path)
		if err != nil {
			return nil, nothing, err
		}
		if info.IsDir() {
			root, err := os.OpenRoot(ref.Path)
			if err != nil {
				return nil, nothing, err
			}
			return root.FS(), root.Close, nil
		}
		ref.Repo, ref.Path = os.DirFS(filepath.Dir(ref.Path)), filepath.Base(ref.Path)
	}
	info, err := fs.Stat(ref.Repo, ref.Path)
	if err != nil {
		return nil, nothing, err
	}
	if info.IsDir() {
		if ref.SHA256 != "" {
			return nil, nothing, errors.New("a folder has no sha256: remove the checksum, the commit pins the folder")
		}
		sub, err := fs.Sub(ref.Repo, ref.Path)
		return sub, nothing, err
	}
	file, err := s.copyArchive(ctx, ref)
	if err != nil {
		return nil, nothing, err
	}
	return s.archive(ctx, file)
}

func (s *Store) archive(ctx context.Context, file *os.File) (fs.FS, func() error, error) {
	a, err := openArchive(ctx, file, s.tmp(), s.limits)
	if err != nil {
		return nil, func() error { return nil }, err
	}
	return a, a.Close, nil
}

// copyArchive makes a file of an archive that lies in a file system that need not have seekable files, and verifies its
// checksum if there is one. A file of this machine without checksum is used as it is.
func (s *Store) copyArchive(ctx context.Context, ref Ref) (*os.File, error) {
	f, err := ref.Repo.Open(ref.Path)
	if err != nil {
		return nil, err
	}
	if plain, ok := f.(*os.File); ok && ref.SHA256 == "" {
		return plain, nil
	}
	defer f.Close()
	sum := sha256.New()
	capped := &capped{reader: &counter{reader: f, ctx: ctx}, left: s.limits.ArchiveBytes}
	file, err := spool(io.TeeReader(capped, sum), s.tmp())
	if err != nil {
		return nil, err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); ref.SHA256 != "" && got != ref.SHA256 {
		file.Close()
		return nil, fmt.Errorf("its sha256 is %s, and %s is expected", got, ref.SHA256)
	}
	return file, nil
}

// unpackLayer makes the layer keys[len-1], whose lower layers keys[:len-1] exist, bottom first.
func (s *Store) unpackLayer(ctx context.Context, b blob, diffID string, keys []string) error {
	key := keys[len(keys)-1]
	if _, err := os.Lstat(s.layer(key)); err == nil {
		return nil
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	var lowers []string
	for _, k := range slices.Backward(keys[:len(keys)-1]) {
		lowers = append(lowers, s.layer(k))
	}
	dir, err := os.MkdirTemp(s.tmp(), "layer-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := s.unpackBlob(ctx, b, diffID, dir, lowers); err != nil {
		return fmt.Errorf("layer %d: %w", len(keys), err)
	}
	return s.finishLayer(dir, key)
}

// unpackBlob unpacks a blob and verifies both of its digests.
func (s *Store) unpackBlob(ctx context.Context, b blob, diffID, dir string, lowers []string) error {
	f, err := b.files.Open(b.path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	in := &capped{reader: io.TeeReader(f, sum), left: s.limits.ArchiveBytes}
	if b.size >= 0 {
		in.left = b.size
	}
	got, err := unpack(ctx, in, dir, lowers, s.form, s.limits)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	if blobSum := hex.EncodeToString(sum.Sum(nil)); b.sha256 != "" && blobSum != b.sha256 {
		return fmt.Errorf("the content of %s does not have that digest: the image is damaged", b.path)
	}
	if got != diffID {
		return fmt.Errorf("the diff ID is sha256:%s, and the configuration says sha256:%s: the image is damaged", got, diffID)
	}
	return nil
}

// once runs f while no other call with the same key runs, waiting for it if need be.
func (s *Store) once(ctx context.Context, key string, f func() error) error {
	for {
		s.mu.Lock()
		running, ok := s.busy[key]
		if !ok {
			done := make(chan struct{})
			s.busy[key] = done
			s.mu.Unlock()
			defer func() {
				s.mu.Lock()
				delete(s.busy, key)
				s.mu.Unlock()
				close(done)
			}()
			return f()
		}
		s.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// pin keeps layers from being removed while they are counted on.
func (s *Store) pin(keys []string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, key := range keys {
		if s.pins[key] += n; s.pins[key] == 0 {
			delete(s.pins, key)
		}
	}
}

// layerKey names the folder of a layer, given the key of the one below and its own diff ID. It is a 128-bit hash in 26
// characters: short, as all of them must fit into the options of one mount.
func layerKey(below, diffID string) string {
	sum := sha256.Sum256([]byte(below + " " + diffID))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:16]))
}

func hashText(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:16])
}

// explain adds what to do to errors of the machine.
func explain(err error, dir string) error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: the disk that holds %s is full; nothing was kept of the attempt: make room, and it is tried again", err, dir)
	}
	return err
}
