package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stowage/stowage/spec"
)

// errNoRegistry is returned by a store that was opened without a client.
var errNoRegistry = errors.New("this image store pulls from no registry")

// preparePulled prepares an image of a registry, by digest.
func (s *Store) preparePulled(ctx context.Context, ref spec.ImageRef) (image Image, err error) {
	if ref.Digest == "" {
		return Image{}, errors.New("it has no digest: the master gives each tag one when it plans, so this is no image of a plan")
	}
	key := strings.TrimPrefix(ref.Digest, "sha256:")
	err = s.once(ctx, "archive "+key, func() error {
		if r, ok := s.archived(key); ok {
			image = s.image(r)
			return nil
		}
		if s.registry == nil {
			return errNoRegistry
		}
		if image, err = s.pull(ctx, ref); err != nil {
			return err
		}
		return s.writeFile(filepath.Join(s.dir, "archives", key), []byte(image.Digest))
	})
	return image, err
}

// pull fetches what is missing of an image and unpacks it: layers are downloaded side by side, and unpacked from the bottom up as
// they come.
func (s *Store) pull(ctx context.Context, ref spec.ImageRef) (Image, error) {
	f, err := s.pulled(ctx, ref)
	if err != nil {
		return Image{}, err
	}
	r := newRecord(f)
	s.pin(r.Layers, 1)
	defer s.pin(r.Layers, -1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := s.begin(ref.Digest, f, r)
	defer s.finish(ref.Digest, p)
	wait := s.downloadAll(ctx, cancel, ref, f, r, p)
	defer wait()
	for i, b := range f.layers {
		if err := p.arrived(ctx, i); err != nil {
			return Image{}, err
		}
		want := f.config.RootFS.DiffIDs[i].Hex
		err := s.once(ctx, "layer "+r.Layers[i], func() error { return s.unpackLayer(ctx, b, want, r.Layers[:i+1]) })
		if err != nil {
			if ctx.Err() == nil { // whatever was wrong with the file, the next attempt gets it anew
				_ = os.Remove(filepath.Join(s.downloads(), b.sha256))
			}
			return Image{}, err
		}
		p.unpacked(i)
	}
	if err := s.save(r); err != nil {
		return Image{}, err
	}
	return s.image(r), nil
}

// pulled reads the documents of an image of a registry.
func (s *Store) pulled(ctx context.Context, ref spec.ImageRef) (found, error) {
	l := layout{limits: s.limits, arch: runtime.GOARCH, fetch: func(digest string, manifest bool) ([]byte, error) {
		return s.registry.Document(ctx, ref, digest, manifest)
	}}
	desc, err := l.top(ref.Digest)
	if err != nil {
		return found{}, err
	}
	f, err := l.manifest(desc)
	if err != nil {
		return found{}, err
	}
	total := int64(0)
	for i := range f.layers {
		b := &f.layers[i]
		if b.size < 0 || b.size > s.limits.LayerBytes {
			return found{}, fmt.Errorf("read image: layer %d has %d bytes, and at most %d are taken", i+1, b.size, s.limits.LayerBytes)
		}
		if total += b.size; total > s.limits.ArchiveBytes {
			return found{}, fmt.Errorf("read image: its layers have more than %d bytes together", s.limits.ArchiveBytes)
		}
		b.files, b.path = os.DirFS(s.downloads()), b.sha256
	}
	return f, nil
}

// top finds out what a digest is of: the manifest for this node, or an index that leads to it. What could be taken for both
// is refused, as others may take it for the other one.
func (l layout) top(digest string) (v1.Descriptor, error) {
	hash, err := v1.NewHash(digest)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("read image: %w", err)
	}
	desc := v1.Descriptor{Digest: hash, Size: -1}
	data, err := l.blob(desc, true)
	if err != nil {
		return v1.Descriptor{}, err
	}
	var kind struct {
		MediaType types.MediaType   `json:"mediaType"`
		Manifests *[]v1.Descriptor  `json:"manifests"`
		Layers    *[]v1.Descriptor  `json:"layers"`
		FSLayers  []json.RawMessage `json:"fsLayers"` // of a manifest of schema 1
	}
	if err := json.Unmarshal(data, &kind); err != nil {
		return v1.Descriptor{}, fmt.Errorf("read manifest %s: %w", digest, err)
	}
	switch {
	case kind.Manifests != nil && kind.Layers != nil:
		return v1.Descriptor{}, fmt.Errorf("read manifest %s: it has both layers and manifests, and could be taken for either", digest)
	case kind.FSLayers != nil:
		return v1.Descriptor{}, fmt.Errorf("read manifest %s: it is of schema 1, which cannot be verified: push the image again with a tool of this decade", digest)
	case kind.Manifests != nil && !kind.MediaType.IsImage():
		return l.choose(*kind.Manifests, 1)
	case kind.Layers != nil && !kind.MediaType.IsIndex():
		return desc, nil
	}
	return v1.Descriptor{}, fmt.Errorf("read manifest %s: it is neither an image nor an index of images", digest)
}

// downloadAll begins to download the layers that are not unpacked yet, in order. The returned function waits until nothing is
// under way any more. The first error cancels the rest.
func (s *Store) downloadAll(ctx context.Context, cancel context.CancelCauseFunc, ref spec.ImageRef, f found, r record, p *progress) (wait func()) {
	held := map[string]bool{}
	for i := range f.layers {
		if _, err := os.Lstat(s.layer(r.Layers[i])); err == nil {
			p.skip(i)
		} else if b := f.layers[i]; !held[b.sha256] {
			held[b.sha256] = true
			s.hold(b.sha256, 1)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		running := make(chan struct{}, maxDownloads)
		for i, b := range f.layers {
			if p.has(i) {
				continue
			}
			select {
			case running <- struct{}{}:
			case <-ctx.Done():
			}
			if ctx.Err() != nil {
				break
			}
			p.wg.Go(func() {
				defer func() { <-running }()
				if err := s.download(ctx, ref, b, p.add); err != nil {
					cancel(fmt.Errorf("layer %d: %w", i+1, err))
					return
				}
				p.complete(i)
			})
		}
		p.wg.Wait()
	}()
	return func() {
		cancel(nil)
		<-done
		for digest := range held { // any order: independent of each other
			s.hold(digest, -1)
		}
	}
}

// maxDownloads is how many layers of one image are downloaded at a time: registries give one connection a part of the line only.
const maxDownloads = 4

// maxStore is how many layers are downloaded at a time for all images together.
const maxStore = 8

func (s *Store) downloads() string { return filepath.Join(s.dir, "downloads") }

// download brings one blob into the folder of downloads, going on where an earlier attempt, of this process or another, stopped. The
// file has the blob's digest when there is no error.
func (s *Store) download(ctx context.Context, ref spec.ImageRef, b blob, tell func(int64)) error {
	return s.once(ctx, "blob "+b.sha256, func() error {
		select {
		case s.lines <- struct{}{}:
			defer func() { <-s.lines }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		d := download{store: s, ref: ref, blob: b, tell: tell}
		return d.run(ctx)
	})
}

// hold counts the pulls that need a download; with the last one the file goes. A part of one stays for the next attempt.
func (s *Store) hold(digest string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holds[digest] += n; s.holds[digest] > 0 {
		return
	}
	delete(s.holds, digest)
	_ = os.Remove(filepath.Join(s.downloads(), digest)) // if it is there; what stays is collected
}
