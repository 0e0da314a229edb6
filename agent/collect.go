package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/stowage/stowage/spec"
)

// collectEvery is how often the disk is looked at; also after each image that was prepared, or could not be.
const collectEvery = time.Minute

// imagesFile is the name of the note in an allocation's folder on which images it uses. It is there before anything of the
// allocation runs, and goes with the folder.
const imagesFile = "images.json"

// noteImages adds images to what an allocation uses. It is not flushed to the disk: what a loss of power takes of it is noted again
// when the tasks, which went too, are started again.
func (f folders) noteImages(id spec.AllocationID, digests ...string) error {
	name := filepath.Join(f.allocation(id), imagesFile)
	all, err := readImages(name)
	missing := err != nil // also when the note is damaged
	for _, d := range digests {
		if !slices.Contains(all, d) {
			all, missing = append(all, d), true
		}
	}
	if !missing {
		return nil
	}
	data, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("note images: %w", err)
	}
	if err := writeWhole(name, data); err != nil {
		return fmt.Errorf("note images: %w", err)
	}
	return nil
}

// writeWhole writes a small file so that another process sees it as a whole or not at all, whenever this one is killed.
func writeWhole(name string, data []byte) error {
	part := name + ".part"
	if err := os.WriteFile(part, data, 0o600); err != nil {
		return err
	}
	return os.Rename(part, name)
}

func readImages(name string) ([]string, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	all := []string{}
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return all, nil
}

// usedImages are the images of all allocations whose folder is there: also of those that have ended, as long as the master may
// ask about them. Of one without a note nobody knows what it uses.
func (f folders) usedImages() (map[string]bool, error) {
	entries, err := os.ReadDir(filepath.Join(f.dir, "allocations"))
	if err != nil {
		return nil, err
	}
	use := map[string]bool{}
	for _, e := range entries {
		all, err := readImages(filepath.Join(f.dir, "allocations", e.Name(), imagesFile))
		if errors.Is(err, fs.ErrNotExist) {
			if _, gone := os.Lstat(filepath.Join(f.dir, "allocations", e.Name())); errors.Is(gone, fs.ErrNotExist) {
				continue
			}
			return nil, fmt.Errorf("which images %s uses is not noted: it was prepared by an earlier agent; its replacement is", e.Name())
		}
		if err != nil {
			return nil, err
		}
		for _, d := range all {
			use[d] = true
		}
	}
	return use, nil
}

// collectImages keeps the disk from filling up with images that nothing uses, until ctx ends.
func (a *agent) collectImages(ctx context.Context) error {
	trouble := ""
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-a.crowded:
		}
		done, err := a.images.Collect(ctx, a.cfg.ImageDisk, a.folders.usedImages)
		if done.Images+done.Layers+done.Downloads > 0 {
			a.log.Info("unused images removed", "images", done.Images, "layers", done.Layers, "downloads", done.Downloads)
		}
		what := ""
		if err != nil {
			what = err.Error()
		}
		if what != "" && what != trouble { // once, not every minute
			a.log.Warn("unused images are not removed", "error", err)
		}
		trouble = what
	}
}

// crowd has the disk looked at soon.
func (a *agent) crowd() {
	select {
	case a.crowded <- struct{}{}:
	default:
	}
}
