package spec

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// DefaultRegistry is meant by an image that names no registry, as in "nginx:1.25".
const DefaultRegistry = "docker.io"

// MaxRepository bounds the name of a repository within its registry, in bytes: what registries accept.
const MaxRepository = 255

// ImageRef is an image of a registry, taken apart.
type ImageRef struct {
	Registry   string // host name or address, perhaps with a port
	Repository string // "library/nginx"
	Tag        string // "latest" when neither tag nor digest was written; "" beside a digest
	Digest     string // sha256:HEX of a manifest or an index; "": whatever the tag means
}

// The grammar of references is that of the OCI distribution specification, section "Pulling manifests", with the host in front as
// docker writes it.
var (
	imageHost   = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:]+\])(:[0-9]{1,5})?$`)
	imagePath   = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	imageTag    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	imageDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// ParseImage reads an image of a registry: NAME, NAME:TAG, NAME@sha256:HEX or NAME:TAG@sha256:HEX, where NAME may begin with
// a host. The error says what to write instead.
func ParseImage(text string) (ImageRef, error) {
	var r ImageRef
	name, digest, pinned := strings.Cut(text, "@")
	if pinned {
		if r.Digest = digest; !imageDigest.MatchString(digest) {
			return ImageRef{}, fmt.Errorf("%q has a digest that is none: write @sha256: and its 64 hexadecimal digits", text)
		}
	}
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		if name, r.Tag = name[:i], name[i+1:]; !imageTag.MatchString(r.Tag) {
			return ImageRef{}, fmt.Errorf("%q has a tag that is none: at most 128 letters, digits, dots, dashes and underscores follow the colon", text)
		}
	}
	if r.Tag == "" && r.Digest == "" {
		r.Tag = "latest"
	}
	r.Registry, r.Repository = DefaultRegistry, name
	if host, rest, ok := strings.Cut(name, "/"); ok && (strings.ContainsAny(host, ".:") || host == "localhost") {
		r.Registry, r.Repository = host, rest
	}
	if !imageHost.MatchString(r.Registry) {
		return ImageRef{}, fmt.Errorf("%q names a registry that is no host: write it as HOST/NAME:TAG or HOST:PORT/NAME:TAG", text)
	}
	if r.Registry == DefaultRegistry || r.Registry == "index.docker.io" || r.Registry == "registry-1.docker.io" {
		r.Registry = DefaultRegistry
		if !strings.Contains(r.Repository, "/") {
			r.Repository = "library/" + r.Repository
		}
	}
	if !imagePath.MatchString(r.Repository) || len(r.Repository) > MaxRepository {
		return ImageRef{}, fmt.Errorf("%q has a name that is none: lower-case letters and digits, divided by single dots, dashes, underscores and slashes, as in nginx:1.25 or registry.example.com/team/web:2", text)
	}
	return r, nil
}

// String prints the reference in full, with its registry.
func (r ImageRef) String() string {
	s := r.Registry + "/" + r.Repository
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// FromRegistry reports whether a task's image comes from a registry: it is neither in the repository nor behind a URL.
func FromRegistry(image string) bool {
	for _, other := range []string{"oci:", "archive:", "https://", "http://"} {
		if strings.HasPrefix(image, other) {
			return false
		}
	}
	return image != ""
}

// Unpinned reports whether a task's image may mean another one tomorrow: it comes from a registry, and only by its tag.
func Unpinned(image string) bool { return FromRegistry(image) && !strings.Contains(image, "@") }

// Pin adds the digest to an image that is named by a tag: "nginx:1.25@sha256:…".
func Pin(image, digest string) string { return image + "@" + digest }

// CheckDigest reports what is wrong with the digest of an image.
func CheckDigest(digest string) error {
	if !imageDigest.MatchString(digest) {
		return fmt.Errorf("%q is no digest: sha256: and 64 hexadecimal digits", digest)
	}
	return nil
}

// Unpinned are the images of the app's tasks that only their tags name, each once, in the order of the tasks.
func (a *App) Unpinned() []string {
	var list []string
	for i := range a.Tasks {
		if image := a.Tasks[i].Image; Unpinned(image) && !slices.Contains(list, image) {
			list = append(list, image)
		}
	}
	return list
}

// Pulled are the images of registries that the app's tasks run, each once, in the order of the tasks.
func (a *App) Pulled() []string {
	var list []string
	for i := range a.Tasks {
		if image := a.Tasks[i].Image; FromRegistry(image) && !slices.Contains(list, image) {
			list = append(list, image)
		}
	}
	return list
}

// shortDigest is how many digits of a digest people are shown.
const shortDigest = 12

// ShortDigest cuts a digest down to what people tell two apart by: sha256:0123456789ab.
func ShortDigest(digest string) string {
	if CheckDigest(digest) != nil {
		return digest
	}
	return digest[:len("sha256:")+shortDigest]
}

// PinImages returns the app with each image by tag pinned to its digest, as far as that is known: itself when nothing
// changes, or a copy.
func (a *App) PinImages(digests map[string]string) *App {
	pinned := a
	for i := range a.Tasks {
		digest := digests[a.Tasks[i].Image]
		if digest == "" || !Unpinned(a.Tasks[i].Image) {
			continue
		}
		if pinned == a {
			c := *a
			c.Tasks = slices.Clone(a.Tasks)
			pinned = &c
		}
		pinned.Tasks[i].Image = Pin(a.Tasks[i].Image, digest)
	}
	return pinned
}
