package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Watermarks say when unused images go, in percent of the disk that the store is on, as df counts.
type Watermarks struct {
	High int // from here on images go
	Low  int // until no more of the disk is used than this
}

// DefaultWatermarks leave room for what tasks write and for the next images.
var DefaultWatermarks = Watermarks{High: 85, Low: 75}

// Check says what is wrong with them.
func (w Watermarks) Check() error {
	if w.Low < 1 || w.High > 100 || w.Low > w.High {
		return fmt.Errorf("images go when %d %% of the disk are used, until %d %% are: the first must be at most 100, and the second from 1 to the first", w.High, w.Low)
	}
	return nil
}

// justUsed is how long an image stays that was prepared: who prepared it has to have the time to say that it is in use.
const justUsed = 10 * time.Minute

// staleDownload is how long a part of a download stays for which nobody comes back, as long as there is room.
const staleDownload = 24 * time.Hour

// Collected is what a collection removed.
type Collected struct {
	Images, Layers, Downloads int
}

// Collect removes what nobody uses while the disk is fuller than the high mark, the longest unused first, until it is down to the
// low mark or nothing is left to remove. use is asked which images are in use (by digest) when that has to be known; they stay, as do those prepared a moment ago and everything that a Prepare
// counts on. It may be killed at any moment: what it has not removed by then, the next one does.
func (s *Store) Collect(ctx context.Context, marks Watermarks, use func() (map[string]bool, error)) (Collected, error) {
	return s.collect(ctx, marks, use, time.Now(), s.used)
}

// used is how much of the disk is, in percent.
func (s *Store) used() (int, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		return 0, fmt.Errorf("measure disk: %w", err)
	}
	taken := st.Blocks - st.Bfree
	if taken+st.Bavail == 0 {
		return 0, nil
	}
	return int((taken*100 + taken + st.Bavail - 1) / (taken + st.Bavail)), nil
}

func (s *Store) collect(ctx context.Context, marks Watermarks, use func() (map[string]bool, error), now time.Time, used func() (int, error)) (done Collected, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("remove unused images: %w", err)
		}
	}()
	full, err := used()
	if err != nil {
		return done, err
	}
	keep := staleDownload
	if full >= marks.High {
		keep = 0
	}
	if done.Downloads, err = s.dropDownloads(now.Add(-keep)); err != nil || full < marks.High {
		return done, err
	}
	inUse, err := use()
	if err != nil {
		return done, err
	}
	candidates, err := s.unused(inUse, now.Add(-justUsed))
	if err != nil {
		return done, err
	}
	// First what no image needs: layers that a killed collection left, or a Prepare that failed.
	for _, next := range append([]string{""}, candidates...) {
		if full, err = used(); err != nil || full <= marks.Low || ctx.Err() != nil {
			return done, err
		}
		trash, layers, removed, err := s.drop(next, now.Add(-justUsed))
		done.Layers += layers
		if removed {
			done.Images++
		}
		for _, dir := range trash {
			err = errors.Join(err, os.RemoveAll(dir))
		}
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// unused lists the images that are not in use and were last prepared before a moment, the longest unused first.
func (s *Store) unused(use map[string]bool, before time.Time) ([]string, error) {
	type candidate struct {
		digest string
		last   time.Time
	}
	var list []candidate
	entries, err := os.ReadDir(filepath.Join(s.dir, "images"))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		digest := "sha256:" + e.Name()
		info, err := e.Info()
		if err != nil {
			return nil, err
		}
		if _, err := s.load(digest); err != nil && use[digest] {
			return nil, fmt.Errorf("image %s is in use, and which layers it has cannot be read: %w", digest, err)
		}
		if !use[digest] && info.ModTime().Before(before) {
			list = append(list, candidate{digest, info.ModTime()})
		}
	}
	slices.SortFunc(list, func(a, b candidate) int { return cmp.Or(a.last.Compare(b.last), cmp.Compare(a.digest, b.digest)) })
	digests := make([]string, len(list))
	for i, c := range list {
		digests[i] = c.digest
	}
	return digests, nil
}

// drop forgets an image ("": none), unless somebody prepared it meanwhile, and moves the layers that no image needs any more into
// tmp. The record goes first: whatever happens then, a record that is there has all its layers.
func (s *Store) drop(digest string, before time.Time) (trash []string, layers int, removed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if digest != "" {
		info, err := os.Stat(s.recordPath(digest))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, 0, false, nil
		case err != nil:
			return nil, 0, false, err
		case !info.ModTime().Before(before):
			return nil, 0, false, nil
		}
		if err := os.Remove(s.recordPath(digest)); err != nil {
			return nil, 0, false, err
		}
		if err := syncDir(filepath.Join(s.dir, "images")); err != nil {
			return nil, 0, true, err
		}
	}
	needed, err := s.needed()
	if err != nil {
		return nil, 0, digest != "", err
	}
	trash, layers, err = s.sweep(needed)
	return trash, layers, digest != "", err
}

// needed are the layers of all images. A record that cannot be read keeps everything from being removed. The lock is held.
func (s *Store) needed() (map[string]bool, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "images"))
	if err != nil {
		return nil, err
	}
	needed := map[string]bool{}
	for _, e := range entries {
		r, err := s.load("sha256:" + e.Name())
		if err != nil {
			return nil, err
		}
		for _, key := range r.Layers {
			needed[key] = true
		}
	}
	return needed, nil
}

// dropDownloads removes blobs and parts of them that nobody waits for and that were last written to before a moment.
func (s *Store) dropDownloads(before time.Time) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, err := os.ReadDir(s.downloads())
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return n, err
		}
		if s.holds[strings.TrimSuffix(e.Name(), partSuffix)] > 0 || !info.ModTime().Before(before) {
			continue
		}
		if err := os.Remove(filepath.Join(s.downloads(), e.Name())); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
