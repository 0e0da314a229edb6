package agent

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stowage/stowage/agent/image"
	"github.com/stowage/stowage/spec"
)

// sources brings images that lie in the followed repository to the node, through the master. What was brought stays until
// the agent starts again: an app's allocations share a commit.
type sources struct {
	dir      string
	identity *identity
	client   *http.Client

	mu   sync.Mutex
	each map[string]*sync.Mutex // by commit and path
}

// maxSource bounds what is taken from the repository for one image, in bytes.
const maxSource = 8 << 30

func newSources(dir string, id *identity) *sources {
	_ = os.RemoveAll(dir) // leftovers of an earlier agent; an error shows when the folder is made again
	return &sources{dir: dir, identity: id, each: map[string]*sync.Mutex{},
		client: &http.Client{Transport: &http.Transport{TLSClientConfig: id.tls(), ForceAttemptHTTP2: true, ResponseHeaderTimeout: 30 * time.Second}}}
}

// ref says where the image of a task is, after bringing it here if it lies in the repository.
func (s *sources) ref(ctx context.Context, commit spec.Commit, t *spec.Task) (image.Ref, error) {
	ref, err := image.ParseRef(t.Image, t.ImageSHA, os.DirFS("/"))
	if err != nil || ref.URL != "" || ref.Image.Repository != "" {
		return ref, err
	}
	local, err := s.bring(ctx, commit, ref.Path)
	ref.Repo, ref.Path = nil, local
	return ref, err
}

// bring returns a local copy of a file or folder of the repository.
func (s *sources) bring(ctx context.Context, commit spec.Commit, path string) (string, error) {
	sum := sha256.Sum256([]byte(string(commit) + "\x00" + path))
	key := hex.EncodeToString(sum[:8])
	s.mu.Lock()
	one := s.each[key]
	if one == nil {
		one = new(sync.Mutex)
		s.each[key] = one
	}
	s.mu.Unlock()
	one.Lock()
	defer one.Unlock()
	place := filepath.Join(s.dir, key)
	if _, err := os.Stat(place); err == nil {
		return filepath.Join(place, "content"), nil
	}
	if err := s.fetch(ctx, commit, path, place+".part"); err != nil {
		return "", errors.Join(fmt.Errorf("bring %s of commit %s: %w", path, commit.Short(), err), os.RemoveAll(place+".part"))
	}
	if err := os.Rename(place+".part", place); err != nil {
		return "", fmt.Errorf("bring %s: %w", path, err)
	}
	return filepath.Join(place, "content"), nil
}

func (s *sources) fetch(ctx context.Context, commit spec.Commit, path, place string) error {
	address := s.identity.now.Load().API + "/v1/repository/" + string(commit) + "/" + (&url.URL{Path: path}).EscapedPath()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return fmt.Errorf("ask master: %w", s.identity.explain(err))
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return fmt.Errorf("the master answers %s: %s", response.Status, strings.TrimSpace(string(text)))
	}
	if err := os.MkdirAll(place, 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(place)
	if err != nil {
		return err
	}
	defer root.Close()
	return unpack(tar.NewReader(io.LimitReader(response.Body, maxSource)), root)
}

// unpack writes the files of an archive below content/; the root keeps every name inside. A single file, whose name is
// ".", becomes content itself. Links are not followed and not made: an image layout has none.
func unpack(archive *tar.Reader, root *os.Root) error {
	for {
		h, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read archive: %w", err)
		}
		name := filepath.Join("content", filepath.FromSlash(h.Name))
		switch h.Typeflag {
		case tar.TypeDir:
			err = root.MkdirAll(name, 0o700)
		case tar.TypeReg:
			if err = root.MkdirAll(filepath.Dir(name), 0o700); err == nil {
				err = writeFile(root, name, archive)
			}
		}
		if err != nil {
			return fmt.Errorf("unpack %s: %w", h.Name, err)
		}
	}
}

func writeFile(root *os.Root, name string, r io.Reader) error {
	f, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
