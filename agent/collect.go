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

	"github.com/stowage/stowage/agent/image"
	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
)

// collectEvery is how often the disk is looked at; also after each image that was prepared, or could not be.
const collectEvery = time.Minute

// imagesFile is the name of the note in an allocation's folder on which images it uses. It is there before anything of the
// allocation runs, and goes with the folder.
const imagesFile = "images.json"

// unsure stands in a note for images that nobody knows any more.
const unsure = "?"

// noteImages makes sure of an allocation's note before its images are prepared, and adds to what it uses. It is not flushed to the disk: of what a
// loss of power takes, the next agent notes what it can.
func (f folders) noteImages(id spec.AllocationID, digests ...string) error {
	all, err := f.imagesOf(id)
	missing := err != nil // also when the note is damaged
	if missing && len(digests) > 0 {
		all = []string{unsure} // what its other tasks use is not noted
	}
	for _, d := range digests {
		if !slices.Contains(all, d) {
			all, missing = append(all, d), true
		}
	}
	if !missing {
		return nil
	}
	return f.writeNote(id, all)
}

func (f folders) writeNote(id spec.AllocationID, all []string) error {
	data, err := json.Marshal(all)
	if err == nil {
		err = writeWhole(filepath.Join(f.allocation(id), imagesFile), data)
	}
	if err != nil {
		return fmt.Errorf("note images: %w", err)
	}
	return nil
}

func (f folders) imagesOf(id spec.AllocationID) ([]string, error) {
	return readImages(filepath.Join(f.allocation(id), imagesFile))
}

// restoreNotes writes the notes that are missing or damaged, as those of an earlier agent's allocations are and some after a loss of power, from what
// is remembered of the allocations. known is the digest that an image of a task is known to have, or "".
func (f folders) restoreNotes(records []node.Record, known func(*spec.Task) string) error {
	var failed error
	for i := range records {
		id := records[i].Decided.ID
		if _, err := f.imagesOf(id); err == nil || records[i].App == nil {
			continue
		}
		if _, err := os.Lstat(f.allocation(id)); errors.Is(err, fs.ErrNotExist) {
			continue // it is not prepared yet, or removed
		}
		all := []string{}
		for j := range records[i].App.Tasks {
			if t := &records[i].App.Tasks[j]; t.Image != "" {
				digest := known(t)
				if digest == "" {
					digest = unsure
				}
				all = append(all, digest)
			}
		}
		laid, err := f.artifactsOf(id)
		if err != nil && records[i].App.Fetches() {
			all = append(all, unsure)
		}
		for _, task := range laid { // any order: it is a set
			for _, one := range task {
				all = append(all, one.Digest)
			}
		}
		failed = errors.Join(failed, f.writeNote(id, all))
	}
	return failed
}

// knownImage is the digest of a task's image if the store remembers it: not of one in the repository, which its commit names and no digest.
func (a *agent) knownImage(t *spec.Task) string {
	ref, err := image.ParseRef(t.Image, t.ImageSHA, os.DirFS("/"))
	if err != nil {
		return ""
	}
	return a.images.Known(ref)
}

// rememberImages notes which images what was there before this agent uses, as far as that can be known.
func (a *agent) rememberImages(records []node.Record) {
	var err error
	if a.earlier, err = a.images.Digests(); err != nil {
		a.log.Error("cannot list images", "error", err)
	}
	if err := a.folders.restoreNotes(records, a.knownImage); err != nil {
		a.log.Error("cannot note which images are in use", "error", err)
	}
}

// imagesInUse are the images that must stay. While there is an allocation of which not all is known, every image stays that was there when
// this agent began: what such an allocation runs on is one of them.
func (a *agent) imagesInUse() (map[string]bool, error) {
	use, unknown, err := a.folders.usedImages()
	if err == nil && unknown {
		if a.earlier == nil {
			return nil, errors.New("which images are in use is not noted: restart the agent")
		}
		for _, d := range a.earlier {
			use[d] = true
		}
	}
	return use, err
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
// ask about them. With unknown there is one whose note is missing, damaged or unsure.
func (f folders) usedImages() (use map[string]bool, unknown bool, err error) {
	entries, err := os.ReadDir(filepath.Join(f.dir, "allocations"))
	if err != nil {
		return nil, false, err
	}
	use = map[string]bool{}
	for _, e := range entries {
		dir := filepath.Join(f.dir, "allocations", e.Name())
		all, err := readImages(filepath.Join(dir, imagesFile))
		if err != nil {
			if _, gone := os.Lstat(dir); !errors.Is(gone, fs.ErrNotExist) {
				unknown = true
			}
			continue
		}
		for _, d := range all {
			use[d] = true
		}
	}
	unknown = unknown || use[unsure]
	delete(use, unsure)
	return use, unknown, nil
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
		done, err := a.images.Collect(ctx, a.cfg.ImageDisk, a.imagesInUse)
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
