package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stowage/stowage/spec"
)

// accepted are the documents that a registry may answer with.
var accepted = strings.Join([]string{
	string(types.OCIImageIndex), string(types.OCIManifestSchema1), string(types.DockerManifestList), string(types.DockerManifestSchema2),
}, ", ")

// MaxDocument bounds manifests, indexes and configurations, in bytes: what registries accept.
const MaxDocument = 4 << 20

// Resolve asks what an image means now, and returns the digest of its manifest or index. A reference with a digest is its own
// answer. Errors say what to do.
func (c *Client) Resolve(ctx context.Context, ref spec.ImageRef) (digest string, err error) {
	if ref.Digest != "" {
		return ref.Digest, nil
	}
	err = c.each(ctx, ref, func(p place, s *session) error {
		digest, err = s.resolve(ctx, p, ref.Tag)
		return err
	})
	if err != nil {
		return "", err
	}
	return digest, nil
}

func (s *session) resolve(ctx context.Context, p place, tag string) (string, error) {
	response, err := s.get(ctx, http.MethodHead, p, "manifests/"+tag, nil)
	if err == nil {
		response.Body.Close()
		digest := response.Header.Get("Docker-Content-Digest")
		if err := documentType(response); err != nil {
			return "", err
		}
		if spec.CheckDigest(digest) == nil {
			return digest, nil // what is fetched by it is verified: a lie shows then
		}
	}
	var refused *transport.Error
	if err != nil && (!errors.As(err, &refused) || refused.StatusCode != http.StatusMethodNotAllowed) {
		return "", err
	}
	// The registry does not tell the digest of what it has: it is that of the bytes.
	if response, err = s.get(ctx, http.MethodGet, p, "manifests/"+tag, nil); err != nil {
		return "", err
	}
	data, err := readDocument(response)
	if err != nil {
		return "", err
	}
	return digestOf(data), nil
}

// documentType refuses an answer that is something else than an image, such as the page of a proxy.
func documentType(response *http.Response) error {
	kind, _, _ := strings.Cut(response.Header.Get("Content-Type"), ";")
	if t := types.MediaType(strings.TrimSpace(kind)); kind != "" && !t.IsImage() && !t.IsIndex() {
		return fmt.Errorf("it answers with %q, which is no image that this program knows", kind)
	}
	return nil
}

// Document fetches a manifest, an index (both with manifest set) or a configuration of the image's repository, and verifies
// its digest.
func (c *Client) Document(ctx context.Context, ref spec.ImageRef, digest string, manifest bool) (data []byte, err error) {
	what := "blobs/"
	if manifest {
		what = "manifests/"
	}
	err = c.each(ctx, ref, func(p place, s *session) error {
		response, err := s.get(ctx, http.MethodGet, p, what+digest, nil)
		if err != nil {
			return err
		}
		if data, err = readDocument(response); err != nil {
			return err
		}
		if got := digestOf(data); got != digest {
			return fmt.Errorf("it answers with other bytes than asked for: their digest is %s, and %s was asked for", got, digest)
		}
		return nil
	})
	return data, err
}

func readDocument(response *http.Response) ([]byte, error) {
	defer response.Body.Close()
	var data bytes.Buffer
	n, err := io.Copy(&data, io.LimitReader(response.Body, MaxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("read its answer: %w", err)
	}
	if n > MaxDocument {
		return nil, fmt.Errorf("its answer is longer than %d bytes, which no manifest is", MaxDocument)
	}
	return data.Bytes(), nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Blob opens a blob from an offset on. The answer begins at from, which is 0 when the registry cannot begin elsewhere. Nothing of
// it is verified, and there is no bound: that is for who reads it. Close it.
func (c *Client) Blob(ctx context.Context, ref spec.ImageRef, digest string, offset int64) (body io.ReadCloser, from int64, err error) {
	err = c.each(ctx, ref, func(p place, s *session) error {
		body, from, err = s.blob(withoutBound(ctx), p, digest, offset)
		return err
	})
	return body, from, err
}

func (s *session) blob(ctx context.Context, p place, digest string, offset int64) (io.ReadCloser, int64, error) {
	header := http.Header{}
	if offset > 0 {
		header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-")
	}
	response, err := s.get(ctx, http.MethodGet, p, "blobs/"+digest, header)
	var refused *transport.Error
	if offset > 0 && errors.As(err, &refused) && refused.StatusCode == http.StatusRequestedRangeNotSatisfiable {
		return s.blob(ctx, p, digest, 0)
	}
	if err != nil {
		return nil, 0, err
	}
	if response.StatusCode != http.StatusPartialContent {
		return response.Body, 0, nil
	}
	// bytes FIRST-LAST/SIZE: what does not begin where asked is of no use.
	if !strings.HasPrefix(response.Header.Get("Content-Range"), "bytes "+strconv.FormatInt(offset, 10)+"-") {
		response.Body.Close()
		if offset == 0 {
			return nil, 0, errors.New("it answers with a part of a layer though all of it was asked for")
		}
		return s.blob(ctx, p, digest, 0)
	}
	return response.Body, offset, nil
}

// get asks for a part of a repository. An answer other than 200 or 206 is an error with what the registry says.
func (s *session) get(ctx context.Context, method string, p place, what string, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, s.base+"/v2/"+p.repository+"/"+what, nil)
	if err != nil {
		return nil, err
	}
	for key, values := range header {
		request.Header[key] = values
	}
	if strings.HasPrefix(what, "manifests/") {
		request.Header.Set("Accept", accepted)
	}
	response, err := s.http.Do(request)
	if err != nil {
		return nil, err
	}
	if err := transport.CheckError(response, http.StatusOK, http.StatusPartialContent); err != nil {
		response.Body.Close()
		return nil, err
	}
	return response, nil
}

func status(err error) int {
	var refused *transport.Error
	if errors.As(err, &refused) {
		return refused.StatusCode
	}
	return 0
}

func unauthorized(err error) bool {
	code := status(err)
	return code == http.StatusUnauthorized || code == http.StatusForbidden
}

// maxSaid is how much of what a registry says is repeated to people, in bytes.
const maxSaid = 400

// tidied is an error with the words of a registry in it: they come to people's terminals, so they are one line of bounded length
// without anything that a terminal obeys.
type tidied struct{ error }

// Error returns the text.
func (t *tidied) Error() string {
	text := strings.Join(strings.Fields(t.error.Error()), " ")
	if said := spec.Saying(text, maxSaid); len(said) < len(spec.Printable(text)) {
		return said + "…"
	}
	return spec.Printable(text)
}

// Unwrap returns the error itself.
func (t *tidied) Unwrap() error { return t.error }

// failure is that of all places of an image.
type failure struct{ of []error }

// Error returns all in a line.
func (f *failure) Error() string {
	words := make([]string, len(f.of))
	for i, err := range f.of {
		words[i] = err.Error()
	}
	return strings.Join(words, "; ")
}

// Unwrap returns the errors.
func (f *failure) Unwrap() []error { return f.of }

// explain says what to do about an error of a registry.
func explain(p place, err error) error {
	err = &tidied{err}
	var unknown x509.UnknownAuthorityError
	switch code := status(err); {
	case errors.As(err, &unknown):
		return fmt.Errorf("%s: %w: give the certificate of its authority with --registry-ca %s=FILE", p.host, err, p.host)
	case unauthorized(err):
		return fmt.Errorf("%s refuses %s (%d): give credentials that may read it, by docker login or --registry-credentials, or correct the name", p.host, p.repository, code)
	case code == http.StatusNotFound:
		return fmt.Errorf("%s has no such image in %s: correct the name or the tag, or push it", p.host, p.repository)
	case code == http.StatusTooManyRequests:
		return fmt.Errorf("%s wants to be asked less often (429): give credentials, or name a mirror with --registry-mirror", p.host)
	case code != 0:
		return fmt.Errorf("%s answers %d: %w", p.host, code, err)
	case errors.Is(err, errPlain):
		return fmt.Errorf("%s: %w: serve it over TLS, or allow that with --registry-http %s", p.host, err, p.host)
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return fmt.Errorf("%s speaks no TLS: serve it over TLS, or allow that with --registry-http %s", p.host, p.host)
	}
	return fmt.Errorf("%s: %w", p.host, err)
}
