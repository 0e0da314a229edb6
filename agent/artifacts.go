package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/sys/user"
	"github.com/stowage/stowage/agent/artifact"
	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/agent/files"
	"github.com/stowage/stowage/agent/image"
	"github.com/stowage/stowage/agent/registry"
	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// artifacts fetches what tasks ask for beside their image. Each becomes a layer of the image store, above those of the image and below the writable one, so
// that all allocations on the node share it and none can change it for another.
type artifacts struct {
	fetcher artifact.Fetcher
	slots   chan struct{} // held while fetching

	mu    sync.Mutex
	under map[string]artifact.Progress // downloads under way, by source and checksum
	notes sync.Mutex                   // held while a note is changed
}

// maxFetches bounds the artifacts that are fetched side by side, each by a process of its own. Servers may be slow, so it is far more than the
// agent has to do at once.
const maxFetches = 16

// newArtifacts returns what fetches with the credentials that registries are asked with.
func newArtifacts(client *registry.Client, agent string) *artifacts {
	return &artifacts{slots: make(chan struct{}, maxFetches), under: map[string]artifact.Progress{}, fetcher: artifact.Fetcher{UserAgent: agent, Credentials: func(ctx context.Context, host string) (artifact.Credentials, error) {
		c, err := client.Credentials(ctx, host)
		return artifact.Credentials{User: c.Username, Password: c.Password, Bearer: c.RegistryToken}, err
	}}}
}

// laid is an artifact as an allocation has it. It stays the same until the allocation ends, whatever the server has by then.
type laid struct {
	Digest  string `json:"digest"`  // of the layer
	Content string `json:"content"` // "sha256:HEX" or "sha512:HEX" of what was fetched, or "git:COMMIT"
	Path    string `json:"path"`    // in the root of the task, without links on the way
	UID     int    `json:"uid"`
	GID     int    `json:"gid"`
}

// artifactsFile is the name of the note in an allocation's folder on which artifacts its tasks have, in their order.
const artifactsFile = "artifacts.json"

func (f folders) artifactsOf(id spec.AllocationID) (map[spec.TaskName][]laid, error) {
	all := map[spec.TaskName][]laid{}
	data, err := os.ReadFile(filepath.Join(f.allocation(id), artifactsFile))
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	return all, err
}

// noteArtifact remembers the artifact of a task that follows those remembered.
func (a *agent) noteArtifact(id spec.AllocationID, task spec.TaskName, i int, one laid) error {
	a.artifacts.notes.Lock()
	defer a.artifacts.notes.Unlock()
	all, err := a.folders.artifactsOf(id)
	if err != nil { // there is none yet, or it is damaged: what it said is found out anew
		all = map[spec.TaskName][]laid{}
	}
	if len(all[task]) < i {
		return nil // one before it is not remembered
	}
	all[task] = append(all[task][:i:i], one)
	data, err := json.Marshal(all)
	if err == nil {
		err = writeWhole(filepath.Join(a.folders.allocation(id), artifactsFile), data)
	}
	if err != nil {
		return fmt.Errorf("note artifact: %w", err)
	}
	return nil
}

// taskArtifacts returns the layers of a task's artifacts, the lowest first, fetching what is not there. img is nil for a task on the host's root.
func (a *agent) taskArtifacts(ctx context.Context, allocation *spec.Allocation, t *spec.Task, img *image.Image) ([]image.Image, error) {
	if len(t.Artifacts) == 0 {
		return nil, nil
	}
	notes, err := a.folders.artifactsOf(allocation.ID)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Warn("which artifacts an allocation has is found out anew", "allocation", string(allocation.ID), "error", err)
	}
	var below []string
	if img != nil {
		below = img.Layers
	}
	left := image.DefaultLimits.LayerBytes
	if t.Disk > 0 {
		left = int64(t.Disk)
	}
	var all []image.Image
	for i := range t.Artifacts {
		w := want{agent: a, allocation: allocation, task: t, artifact: &t.Artifacts[i], below: below, image: img, left: left}
		if noted := notes[t.Name]; i < len(noted) {
			w.laid = &noted[i]
		}
		one, err := w.get(ctx)
		if err == nil {
			err = a.noteArtifact(allocation.ID, t.Name, i, *w.laid)
		}
		if err == nil {
			err = a.folders.noteImages(allocation.ID, one.Digest)
		}
		if err != nil {
			return nil, fmt.Errorf("artifact %s of task %s: %w", w.artifact.Destination, t.Name, err)
		}
		left -= one.Bytes
		below = append(slices.Clone(one.Layers), below...)
		all = append(all, one)
	}
	return all, nil
}

// keptArtifacts is taskArtifacts for who only looks: what is not there is not fetched.
func (a *agent) keptArtifacts(id spec.AllocationID, t *spec.Task) ([]image.Image, error) {
	if len(t.Artifacts) == 0 {
		return nil, nil
	}
	notes, err := a.folders.artifactsOf(id)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("artifacts of task %s: %w", t.Name, err)
	}
	var all []image.Image
	for i := range t.Artifacts {
		one, ok := image.Image{}, false
		if noted := notes[t.Name]; i < len(noted) {
			one, ok = a.images.Kept(noted[i].Digest)
		}
		if !ok {
			return nil, fmt.Errorf("artifact %s of task %s is not here: it is fetched when the task starts", t.Artifacts[i].Destination, t.Name)
		}
		all = append(all, one)
	}
	return all, nil
}

// want is one artifact of one task.
type want struct {
	agent      *agent
	allocation *spec.Allocation
	task       *spec.Task
	artifact   *spec.Artifact
	below      []string // layers below it, the top first
	image      *image.Image
	left       int64 // bytes that the task has for it
	laid       *laid // nil: the allocation has none yet
}

// get returns the layer of the artifact.
func (w *want) get(ctx context.Context) (one image.Image, err error) {
	if w.laid == nil {
		if w.laid, err = w.place(); err != nil {
			return one, err
		}
	} else if _, err := os.Lstat(path.Join(w.root(), path.Dir(w.laid.Path))); errors.Is(err, fs.ErrNotExist) { // the writable layer was emptied
		if _, err := w.folders(w.laid.Path); err != nil {
			return one, err
		}
	}
	if w.artifact.Pinned() {
		if w.laid.Content = w.artifact.Checksum; w.artifact.Git != "" {
			w.laid.Content = gitContent + w.artifact.Commit
		}
	}
	one, ok := w.kept()
	if !ok {
		if aside(ctx, func() { one, err = w.inTime(ctx) }); err != nil {
			return one, fmt.Errorf("fetch %s: %w", w.artifact.Where(), err)
		}
	}
	if one.Bytes > w.left {
		return one, fmt.Errorf("its files have %s, and of the disk of the task %s are left: write a larger disk in the task", spec.Bytes(one.Bytes), spec.Bytes(w.left))
	}
	return one, nil
}

// inTime fetches it within its deadline, once there is a slot for it.
func (w *want) inTime(ctx context.Context) (one image.Image, err error) {
	select {
	case w.agent.artifacts.slots <- struct{}{}:
		defer func() { <-w.agent.artifacts.slots }()
	case <-ctx.Done():
		return one, context.Cause(ctx)
	}
	deadline := time.Duration(w.artifact.Deadline)
	ctx, cancel := context.WithTimeoutCause(ctx, deadline, fmt.Errorf("it takes longer than its deadline, %s", w.artifact.Deadline))
	defer cancel()
	return w.fetch(ctx)
}

// kept returns the layer if its content is known, and it is there.
func (w *want) kept() (image.Image, bool) {
	if w.laid.Content == "" {
		return image.Image{}, false
	}
	w.laid.Digest = w.digest()
	return w.agent.images.Kept(w.laid.Digest)
}

// gitContent precedes the commit of what was fetched from a repository.
const gitContent = "git:"

// digest is of all that decides what is in the layer.
func (w *want) digest() string {
	x := w.artifact
	name := ""
	if x.Format.Single() {
		name = path.Base(x.Destination)
	}
	data, err := json.Marshal([]any{"artifact 1", w.laid.Content, x.Format, x.Strip, x.Mode, name, w.laid.Path, w.laid.UID, w.laid.GID, x.Git, x.Folder})
	if err != nil {
		panic("agent: a list of plain values does not encode: " + err.Error())
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// place finds out where the artifact goes and whose it will be.
func (w *want) place() (*laid, error) {
	at, err := w.folders(w.artifact.Destination)
	if err != nil {
		return nil, err
	}
	one := &laid{Path: at}
	one.UID, one.GID, err = w.agent.ownerOfTask(w.allocation.ID, w.task, w.image)
	return one, err
}

func (w *want) root() string { return w.agent.folders.root(w.allocation.ID, w.task.Name) }

// folders makes the folders on the way to a path in the writable layer, and returns where that leads.
func (w *want) folders(name string) (string, error) {
	at, err := w.agent.images.Places(w.root(), w.below, name)
	if err == nil && w.image == nil {
		err = shareTemporary(w.root(), at)
	}
	return at, err
}

// shareTemporary gives folders for temporary files, which the layers that the agent sees of a host root do not have, the permissions that they have there.
func shareTemporary(root, at string) error {
	for _, dir := range []string{"tmp", "var/tmp"} {
		if strings.HasPrefix(at, dir+"/") {
			return os.Chmod(filepath.Join(root, dir), 0o777|fs.ModeSticky)
		}
	}
	return nil
}

// fetch brings the content and makes the layer of it. Another allocation that waits for the same finds it made.
func (w *want) fetch(ctx context.Context) (one image.Image, err error) {
	if w.artifact.Git != "" {
		return w.clone(ctx)
	}
	a, x := w.agent, w.artifact
	spool, sum := x.Source+" "+x.Checksum, x.Checksum
	if !x.Pinned() { // it is another for each who asks
		spool += " " + string(w.allocation.ID) + " " + string(w.task.Name) + " " + x.Destination
	}
	if x.ChecksumURL() != "" {
		err := a.images.Spool(ctx, "list "+spool, func(file *os.File) (err error) {
			sum, err = a.artifacts.fetcher.Listed(ctx, x, file)
			return err
		})
		if err != nil {
			return one, err
		}
	}
	if before := w.laid.Content; before != "" && !x.Pinned() {
		sum = before // what this allocation began with
	}
	if sum != spec.ChecksumNone {
		w.laid.Content = sum
	}
	key := downloadKey(x)
	defer a.artifacts.told(key)
	err = a.images.Spool(ctx, spool, func(file *os.File) error {
		var ok bool
		if one, ok = w.kept(); ok {
			return nil
		}
		got, err := a.artifacts.fetcher.Download(ctx, x, sum, file, w.mostPacked(), func(p artifact.Progress) { a.artifacts.tell(key, p) })
		if err != nil {
			return err
		}
		if w.laid.Content == "" {
			w.laid.Content = "sha256:" + got
		}
		w.laid.Digest = w.digest()
		one, err = w.keep(ctx, file)
		return err
	})
	return one, err
}

// clone is fetch for a commit of a repository. A pack cannot be gone on with, and whose it is does not matter: the files are those of the commit.
func (w *want) clone(ctx context.Context) (one image.Image, err error) {
	a, x, key := w.agent, w.artifact, downloadKey(w.artifact)
	defer a.artifacts.told(key)
	err = a.images.Spool(ctx, key+" "+x.Folder, func(file *os.File) error {
		var ok bool
		if one, ok = w.kept(); ok {
			return nil
		}
		commit := strings.TrimPrefix(w.laid.Content, gitContent)
		got, err := a.artifacts.fetcher.Clone(ctx, x, commit, file, w.mostPacked(), func(p artifact.Progress) { a.artifacts.tell(key, p) })
		if err != nil {
			return err
		}
		w.laid.Content = gitContent + got
		if one, ok = w.kept(); ok {
			return nil
		}
		one, err = w.keep(ctx, file)
		return err
	})
	return one, err
}

// mostPacked bounds what is downloaded: bytes that do not get fewer by compression, and what is beside the files, included.
func (w *want) mostPacked() int64 { return w.left + w.left/8 + 1<<20 }

// downloadKey is what the download of an artifact is known by.
func downloadKey(x *spec.Artifact) string {
	return strings.Join([]string{x.Where(), x.Checksum, x.Commit, x.Ref}, " ")
}

// keep makes the layer of what was fetched.
func (w *want) keep(ctx context.Context, file *os.File) (image.Image, error) {
	x, base, name := w.artifact, w.laid.Path, ""
	if x.Format.Single() {
		base, name = path.Dir(base), path.Base(base)
	}
	c := image.Content{Digest: w.laid.Digest, Path: base, UID: w.laid.UID, GID: w.laid.GID, Most: w.left}
	return w.agent.images.Keep(ctx, c, func(ctx context.Context, take func(io.Reader) error) error {
		if commit, ok := strings.CutPrefix(w.laid.Content, gitContent); ok {
			return w.agent.artifacts.fetcher.CheckOut(ctx, x, commit, file, w.left, take)
		}
		return w.agent.artifacts.fetcher.Unpack(ctx, x, name, file, w.left, take)
	})
}

// tell notes how far a download is, and told that it is over.
func (s *artifacts) tell(key string, p artifact.Progress) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.under[key] = p
}

func (s *artifacts) told(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.under, key)
}

// fetching says how far the downloads are that an app waits for.
func (s *artifacts) fetching(app *spec.App) (parts []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range app.Tasks {
		for _, x := range app.Tasks[i].Artifacts {
			if p, ok := s.under[downloadKey(&x)]; ok {
				parts = append(parts, "fetching artifact "+x.Destination+": "+p.String())
			}
		}
	}
	return parts
}

// maxPasswd bounds the files in which the users of an image are looked up, in bytes.
const maxPasswd = 4 << 20

// ownerOfTask is the user of a task, as the node counts users.
func (a *agent) ownerOfTask(id spec.AllocationID, t *spec.Task, img *image.Image) (uid, gid int, err error) {
	name := t.User
	if name == "" && img != nil {
		name = img.Config.User
	}
	if name != "" {
		passwd, err := a.accounts(id, img, "/etc/passwd")
		if err != nil {
			return 0, 0, err
		}
		group, err := a.accounts(id, img, "/etc/group")
		if err != nil {
			return 0, 0, err
		}
		who, err := user.GetExecUser(name, nil, passwd, group)
		if err != nil {
			return 0, 0, fmt.Errorf("its owner is the user %q of the task: %w", name, err)
		}
		uid, gid = who.Uid, who.Gid
	}
	if t.UserNS {
		uid, gid = uid+executor.FirstMappedID, gid+executor.FirstMappedID
	}
	return uid, gid, nil
}

// accounts reads a file with the users of an image, or of the node; an image that has none is no error.
func (a *agent) accounts(id spec.AllocationID, img *image.Image, name string) (io.Reader, error) {
	root, err := files.OpenFolder("/")
	if img != nil {
		root, err = files.OpenLayers(img.Layers, img.UserXattr, a.folders.allocation(id))
	}
	if err != nil {
		return nil, err
	}
	defer root.Close()
	var text limited
	if err := root.Read(name, &text); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
		return nil, fmt.Errorf("read %s of the task: %w", name, err)
	}
	return bytes.NewReader(text.Bytes()), nil
}

// limited takes as much as a file with users has.
type limited struct{ bytes.Buffer }

// Write fails once there is more.
func (l *limited) Write(p []byte) (int, error) {
	if l.Len()+len(p) > maxPasswd {
		return 0, fmt.Errorf("it has more than %d bytes", maxPasswd)
	}
	return l.Buffer.Write(p)
}

// lay puts the layers of artifacts above those that a container has. In a root that nobody writes to, what would be the writable layer has the folders
// on the way to them.
func (f folders) lay(c *executor.Spec, id spec.AllocationID, task spec.TaskName, all []image.Image) {
	for _, one := range all {
		layers := slices.Clone(one.Layers)
		slices.Reverse(layers)
		c.Root.Layers, c.Root.UserXattr = append(c.Root.Layers, layers...), one.UserXattr
	}
	if len(all) > 0 && c.Root.Writable == "" {
		c.Root.Layers = append(c.Root.Layers, f.root(id, task))
	}
}
