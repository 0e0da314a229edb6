package image

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// record is what the store remembers of a prepared image.
type record struct {
	Digest string   `json:"digest"`
	Config Config   `json:"config"`
	Layers []string `json:"layers"`          // keys, bottom first
	Bytes  int64    `json:"bytes,omitempty"` // of the files of a Content
}

func newRecord(f found) record {
	c := f.config.Config
	r := record{
		Digest: f.digest,
		Config: Config{
			Entrypoint: c.Entrypoint, Command: c.Cmd, Env: c.Env, WorkDir: c.WorkingDir, User: c.User,
			StopSignal: c.StopSignal, Labels: c.Labels,
			Ports:   slices.Sorted(maps.Keys(c.ExposedPorts)),
			Volumes: slices.Sorted(maps.Keys(c.Volumes)),
		},
	}
	key := ""
	for _, id := range f.config.RootFS.DiffIDs {
		key = layerKey(key, id.Hex)
		r.Layers = append(r.Layers, key)
	}
	return r
}

func (s *Store) image(r record) Image {
	image := Image{Digest: r.Digest, Config: r.Config, Bytes: r.Bytes, UserXattr: strings.HasPrefix(s.form.xattr, "user.")}
	for _, key := range slices.Backward(r.Layers) {
		image.Layers = append(image.Layers, s.layer(key))
	}
	return image
}

func (s *Store) recordPath(digest string) string {
	return filepath.Join(s.dir, "images", strings.TrimPrefix(digest, "sha256:"))
}

// save writes the record of an image, or notes that it was used if it is there.
func (s *Store) save(r record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.load(r.Digest); err == nil {
		return s.touch(r.Digest)
	}
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("write image record: %w", err)
	}
	return s.writeFile(s.recordPath(r.Digest), data)
}

func (s *Store) load(digest string) (record, error) {
	data, err := os.ReadFile(s.recordPath(digest))
	if err != nil {
		return record{}, err
	}
	var r record
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, fmt.Errorf("read image record: %w", err)
	}
	return r, nil
}

// touch notes that an image was used now.
func (s *Store) touch(digest string) error {
	now := time.Now()
	return os.Chtimes(s.recordPath(digest), now, now)
}

// archived returns the image that an archive is known to hold, if all of it is still there, and notes that it was used.
func (s *Store) archived(key string) (record, bool) {
	digest, err := os.ReadFile(filepath.Join(s.dir, "archives", key))
	if err != nil || !isSHA256(strings.TrimPrefix(string(digest), "sha256:")) {
		return record{}, false
	}
	s.mu.Lock() // not while layers are being removed
	defer s.mu.Unlock()
	r, err := s.load(string(digest))
	if err != nil {
		return record{}, false
	}
	for _, layer := range r.Layers {
		if _, err := os.Lstat(s.layer(layer)); err != nil {
			return record{}, false
		}
	}
	return r, s.touch(r.Digest) == nil
}

// Known returns the digest of the image that a reference was seen to lead to, "" if that is not remembered. It does not count as a use.
func (s *Store) Known(ref Ref) string {
	key := strings.TrimPrefix(ref.Image.Digest, "sha256:")
	if ref.Image.Repository == "" {
		key = archiveKey(ref)
	}
	if key == "" {
		return ""
	}
	digest, err := os.ReadFile(filepath.Join(s.dir, "archives", key))
	if err != nil || !isSHA256(strings.TrimPrefix(string(digest), "sha256:")) {
		return ""
	}
	return string(digest)
}

// archiveKey names the note on which image is in an archive; "" if no checksum tells the archive from others.
func archiveKey(ref Ref) string {
	if ref.SHA256 == "" || ref.Tag == "" {
		return ref.SHA256
	}
	return ref.SHA256 + "-" + hashText(ref.Tag)
}

// Digests are those of all images that are there, in no order.
func (s *Store) Digests() ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "images"))
	if err != nil {
		return nil, err
	}
	digests := make([]string, len(entries))
	for i, e := range entries {
		digests[i] = "sha256:" + e.Name()
	}
	return digests, nil
}

// writeFile writes a small file so that it is there as a whole or not at all.
func (s *Store) writeFile(name string, data []byte) error {
	f, err := os.CreateTemp(s.tmp(), "file-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // in vain once renamed
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return syncDir(filepath.Dir(name))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// syncFS flushes the file system that dir is on: one call instead of one for each file of a layer.
func syncFS(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("flush layer to disk: %w", err)
	}
	return nil
}

// sweep moves the layers that are not needed into tmp, but for those that a Prepare counts on. The lock is held.
func (s *Store) sweep(used map[string]bool) (trash []string, layers int, err error) {
	all, err := os.ReadDir(filepath.Join(s.dir, "layers"))
	if err != nil {
		return nil, 0, err
	}
	for _, entry := range all {
		key := entry.Name()
		if used[key] || s.pins[key] > 0 {
			continue
		}
		target := filepath.Join(s.tmp(), "gone-"+key+"-"+fmt.Sprint(time.Now().UnixNano()))
		if err := os.Rename(s.layer(key), target); err != nil {
			return trash, layers, err
		}
		trash, layers = append(trash, target), layers+1
	}
	return trash, layers, s.forgetArchives()
}

// forgetArchives drops notes on archives whose image is gone.
func (s *Store) forgetArchives() error {
	dir := filepath.Join(s.dir, "archives")
	notes, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, note := range notes {
		name := filepath.Join(dir, note.Name())
		if digest, err := os.ReadFile(name); err == nil {
			if _, err := os.Lstat(s.recordPath(string(digest))); err == nil {
				continue
			}
		}
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}
