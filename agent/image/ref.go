package image

import (
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"strings"

	"github.com/stowage/stowage/spec"
)

// Ref says where an image comes from: a registry (Image), a path (Path, within Repo if that is set) or a URL.
type Ref struct {
	Image  spec.ImageRef // pinned by its digest
	Repo   fs.FS         // the content of the commit; nil means that Path is a path of this machine
	Path   string        // folder or archive
	Tag    string        // which image of a layout with several; empty: the only one, or the one named "latest"
	URL    string        // http, https or file
	SHA256 string        // hexadecimal checksum of the archive; required with URL, checked for an archive by path where given
}

// scheme of images that lie in the repository.
const pathScheme = "oci:"

// archiveScheme says the same of an archive; which of the two it is shows when it is opened.
const archiveScheme = "archive:"

// ParseRef reads a reference as it stands in a task of a plan: an image of a registry with its digest, "oci:PATH",
// "oci:PATH:TAG" (or with "archive:" for "oci:"), or a URL with a checksum. With a repo the
// path is taken within it and cannot leave it; with nil it is a path of this machine.
func ParseRef(text, sha256 string, repo fs.FS) (Ref, error) {
	sha256 = strings.ToLower(strings.TrimPrefix(sha256, "sha256:"))
	if sha256 != "" && !isSHA256(sha256) {
		return Ref{}, fmt.Errorf("read image reference %q: the checksum %q is not a SHA-256: give its 64 hexadecimal digits", text, sha256)
	}
	for _, scheme := range []string{pathScheme, archiveScheme} {
		if rest, ok := strings.CutPrefix(text, scheme); ok {
			return parsePath(text, rest, sha256, repo)
		}
	}
	if !strings.Contains(text, "://") {
		r, err := spec.ParseImage(text)
		if err != nil {
			return Ref{}, fmt.Errorf("read image reference: %w", err)
		}
		return Ref{Image: r}, nil
	}
	u, err := url.Parse(text)
	if err != nil {
		return Ref{}, fmt.Errorf("read image reference %q: %w", text, err)
	}
	switch u.Scheme {
	case "http", "https":
		if u.Host == "" {
			return Ref{}, fmt.Errorf("read image reference %q: the URL names no host", text)
		}
	case "file":
		if u.Host != "" && u.Host != "localhost" || !path.IsAbs(u.Path) {
			return Ref{}, fmt.Errorf("read image reference %q: write a file of the node as file:///absolute/path", text)
		}
	default:
		return Ref{}, fmt.Errorf("read image reference %q: the scheme %q is not known; there are http, https and file", text, u.Scheme)
	}
	if sha256 == "" {
		return Ref{}, fmt.Errorf("read image reference %q: an image from a URL needs its sha256 (sha256sum FILE prints it)", text)
	}
	return Ref{URL: text, SHA256: sha256}, nil
}

func parsePath(text, rest, sha256 string, repo fs.FS) (Ref, error) {
	tag := ""
	if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
		rest, tag = rest[:i], rest[i+1:]
	}
	if rest == "" {
		return Ref{}, fmt.Errorf("read image reference %q: there is no path; write oci:PATH", text)
	}
	name := path.Clean(rest)
	if repo != nil && !fs.ValidPath(name) {
		return Ref{}, fmt.Errorf("read image reference %q: the path must lie within the repository, and be relative to its root", text)
	}
	return Ref{Repo: repo, Path: name, Tag: tag, SHA256: sha256}, nil
}

// String prints the reference as it was written.
func (r Ref) String() string {
	switch {
	case r.Image.Repository != "":
		return r.Image.String()
	case r.URL != "":
		return r.URL
	case r.Tag != "":
		return pathScheme + r.Path + ":" + r.Tag
	}
	return pathScheme + r.Path
}

func isSHA256(text string) bool {
	return len(text) == 64 && strings.Trim(text, "0123456789abcdef") == ""
}
