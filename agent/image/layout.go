package image

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// found is one image in a layout or archive, its documents read and verified, its layers not yet.
type found struct {
	digest string // sha256:HEX of the manifest, or of the configuration where there is no manifest
	config *v1.ConfigFile
	layers []blob // bottom first, one for each diff ID
}

// blob is the file of one layer.
type blob struct {
	files  fs.FS
	path   string
	sha256 string // hexadecimal, of the bytes as they lie there; empty where the archive does not tell
	size   int64  // -1 where the archive does not tell
}

// refName is the annotation that names an image within a layout.
const refName = "org.opencontainers.image.ref.name"

// find reads the documents of an image layout, or of an archive as written by docker save.
func find(files fs.FS, tag string, limits Limits) (found, error) {
	l := layout{files: files, limits: limits, arch: runtime.GOARCH}
	_, err := fs.Stat(files, "index.json")
	switch {
	case err == nil:
		return l.findOCI(tag)
	case !errors.Is(err, fs.ErrNotExist):
		return found{}, fmt.Errorf("read image: %w", err)
	}
	if _, err := fs.Stat(files, "manifest.json"); err == nil {
		return l.findDocker(tag)
	}
	return found{}, errors.New("read image: there is neither an index.json (OCI image layout) nor a manifest.json (docker save)")
}

type layout struct {
	files  fs.FS
	fetch  func(digest string, manifest bool) ([]byte, error) // in place of files: reads a document of a registry, and verifies it
	limits Limits
	arch   string
}

func (l layout) findOCI(tag string) (found, error) {
	data, err := l.document("index.json")
	if err != nil {
		return found{}, err
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(data, &index); err != nil {
		return found{}, fmt.Errorf("read index.json: %w", err)
	}
	named, err := byTag(index.Manifests, tag)
	if err != nil {
		return found{}, err
	}
	desc, err := l.choose(named, 0)
	if err != nil {
		return found{}, err
	}
	return l.manifest(desc)
}

// byTag narrows the images of a layout down to those called tag.
func byTag(all []v1.Descriptor, tag string) ([]v1.Descriptor, error) {
	var names []string
	for _, d := range all {
		if name := d.Annotations[refName]; name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if tag == "" {
		if len(names) < 2 {
			return all, nil
		}
		if tag = "latest"; !slices.Contains(names, tag) {
			return nil, fmt.Errorf("choose image: the layout holds %d; name one, as in oci:PATH:TAG: %s", len(names), shorten(strings.Join(names, ", ")))
		}
	}
	named := slices.DeleteFunc(slices.Clone(all), func(d v1.Descriptor) bool { return d.Annotations[refName] != tag })
	if len(named) == 0 {
		return nil, fmt.Errorf("choose image: there is none with the tag %q; there are: %s", tag, shorten(strings.Join(names, ", ")))
	}
	return named, nil
}

// choose picks the manifest for this node, looking into indexes.
func (l layout) choose(list []v1.Descriptor, depth int) (v1.Descriptor, error) {
	if depth > maxIndexDepth {
		return v1.Descriptor{}, fmt.Errorf("choose image: indexes are nested more than %d deep", maxIndexDepth)
	}
	var fit []v1.Descriptor
	var seen []string
	for _, d := range list {
		switch {
		case d.Platform == nil:
			fit = append(fit, d) // the configuration tells
		case d.Platform.OS == "linux" && d.Platform.Architecture == l.arch:
			fit = append(fit, d)
		default:
			seen = append(seen, d.Platform.OS+"/"+d.Platform.Architecture)
		}
	}
	if len(fit) == 0 {
		if len(list) == 0 {
			return v1.Descriptor{}, errors.New("choose image: the index is empty")
		}
		return v1.Descriptor{}, fmt.Errorf("choose image: there is none for linux/%s, only for %s", l.arch, shorten(strings.Join(seen, ", ")))
	}
	slices.SortStableFunc(fit, func(a, b v1.Descriptor) int { return rank(a) - rank(b) })
	best := fit[0]
	if !best.MediaType.IsIndex() {
		return best, nil
	}
	data, err := l.blob(best, true)
	if err != nil {
		return v1.Descriptor{}, err
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(data, &index); err != nil {
		return v1.Descriptor{}, fmt.Errorf("read index %s: %w", best.Digest, err)
	}
	return l.choose(index.Manifests, depth+1)
}

// rank puts what names its platform first, and of these the variant that every processor of the architecture runs.
func rank(d v1.Descriptor) int {
	switch {
	case d.Platform == nil:
		return 2
	case d.Platform.Variant == "" || d.Platform.Variant == "v8":
		return 0
	}
	return 1
}

func (l layout) manifest(desc v1.Descriptor) (found, error) {
	data, err := l.blob(desc, true)
	if err != nil {
		return found{}, err
	}
	var m v1.Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return found{}, fmt.Errorf("read manifest %s: %w", desc.Digest, err)
	}
	if err := checkKinds(&m); err != nil {
		return found{}, fmt.Errorf("read manifest %s: %w", desc.Digest, err)
	}
	data, err = l.blob(m.Config, false)
	if err != nil {
		return found{}, err
	}
	f := found{digest: desc.Digest.String()}
	for _, d := range m.Layers {
		name, err := blobPath(d)
		if err != nil {
			return found{}, err
		}
		f.layers = append(f.layers, blob{files: l.files, path: name, sha256: d.Digest.Hex, size: d.Size})
	}
	return f, l.configure(&f, data)
}

// dockerManifest is an element of manifest.json, as written by docker save.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (l layout) findDocker(tag string) (found, error) {
	data, err := l.document("manifest.json")
	if err != nil {
		return found{}, err
	}
	var all []dockerManifest
	if err := json.Unmarshal(data, &all); err != nil {
		return found{}, fmt.Errorf("read manifest.json: %w", err)
	}
	var names []string
	fit := slices.DeleteFunc(slices.Clone(all), func(m dockerManifest) bool {
		names = append(names, m.RepoTags...)
		return tag != "" && !slices.ContainsFunc(m.RepoTags, func(t string) bool {
			return t == tag || strings.HasSuffix(t, ":"+tag)
		})
	})
	if len(fit) != 1 {
		return found{}, fmt.Errorf("choose image: %d of the images in the archive fit; name one, as in oci:PATH:TAG: %s", len(fit), shorten(strings.Join(names, ", ")))
	}
	m := fit[0]
	if data, err = l.document(path.Clean(m.Config)); err != nil {
		return found{}, err
	}
	sum := sha256.Sum256(data)
	f := found{digest: "sha256:" + hex.EncodeToString(sum[:])}
	for _, name := range m.Layers {
		f.layers = append(f.layers, blob{files: l.files, path: path.Clean(name), size: -1})
	}
	return f, l.configure(&f, data)
}

// configure reads the configuration of an image and checks it against the layers.
func (l layout) configure(f *found, data []byte) error {
	var config v1.ConfigFile
	if err := json.Unmarshal(data, &config); err != nil {
		return fmt.Errorf("read image configuration: %w", err)
	}
	if config.OS != "" && config.OS != "linux" || config.Architecture != "" && config.Architecture != l.arch {
		return fmt.Errorf("choose image: it is for %s/%s, and this node is linux/%s", config.OS, config.Architecture, l.arch)
	}
	switch n := len(f.layers); {
	case n == 0:
		return errors.New("read image: it has no layers")
	case n > l.limits.Layers:
		return fmt.Errorf("read image: it has %d layers, and %d is the most: build it again with fewer", n, l.limits.Layers)
	case n != len(config.RootFS.DiffIDs):
		return fmt.Errorf("read image: the configuration speaks of %d layers, the manifest of %d", len(config.RootFS.DiffIDs), n)
	}
	for _, id := range config.RootFS.DiffIDs {
		if id.Algorithm != "sha256" {
			return fmt.Errorf("read image: the diff ID %q is not a SHA-256", id)
		}
	}
	for _, list := range [][]string{config.Config.Env, config.Config.Entrypoint, config.Config.Cmd} {
		for _, text := range list {
			if strings.IndexByte(text, 0) >= 0 {
				return fmt.Errorf("read image configuration: %q contains a zero byte", shorten(text))
			}
		}
	}
	f.config = &config
	return nil
}

func blobPath(d v1.Descriptor) (string, error) {
	if d.Digest.Algorithm != "sha256" { // also an absent one
		return "", fmt.Errorf("read image: the digest %q is not a SHA-256", d.Digest)
	}
	return "blobs/sha256/" + d.Digest.Hex, nil
}

// checkKinds refuses what registries and layouts hold besides images: charts, signatures, modules.
func checkKinds(m *v1.Manifest) error {
	if t := m.Config.MediaType; t != "" && !t.IsConfig() {
		return fmt.Errorf("it is no image but something else: its configuration is of type %q", shorten(string(t)))
	}
	for i, d := range m.Layers {
		if d.MediaType != "" && !d.MediaType.IsLayer() && !strings.Contains(string(d.MediaType), ".tar") {
			return fmt.Errorf("layer %d is no file system but of type %q", i+1, shorten(string(d.MediaType)))
		}
	}
	return nil
}

// blob reads a manifest or index (manifest), or a configuration by its digest, and verifies it.
func (l layout) blob(d v1.Descriptor, manifest bool) ([]byte, error) {
	name, err := blobPath(d)
	if err != nil {
		return nil, err
	}
	if l.fetch != nil {
		data, err := l.fetch(d.Digest.String(), manifest)
		if err == nil && d.Size >= 0 && int64(len(data)) != d.Size {
			return nil, fmt.Errorf("read image: %s has %d bytes, and %d are announced: the image is damaged", d.Digest, len(data), d.Size)
		}
		if int64(len(data)) > l.limits.Document {
			return nil, fmt.Errorf("read image: %s is larger than %d bytes", d.Digest, l.limits.Document)
		}
		return data, err
	}
	data, err := l.document(name)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != d.Digest.Hex {
		return nil, fmt.Errorf("read image: the content of %s does not have that digest: the image is damaged", name)
	}
	return data, nil
}

// document reads a whole file of bounded size.
func (l layout) document(name string) ([]byte, error) {
	f, err := l.files.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	defer f.Close()
	var data bytes.Buffer
	n, err := io.Copy(&data, io.LimitReader(f, l.limits.Document+1))
	if err != nil {
		return nil, fmt.Errorf("read image: %w", err)
	}
	if n > l.limits.Document {
		return nil, fmt.Errorf("read image: %s is larger than %d bytes", name, l.limits.Document)
	}
	return data.Bytes(), nil
}
