package artifact

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/stowage/stowage/spec"
)

// Credentials are what a host is told about who asks.
type Credentials struct {
	User, Password string
	Bearer         string // in their place
}

// Fetcher fetches artifacts. It is safe for concurrent use.
type Fetcher struct {
	// Credentials looks up what the node has for a host, with its port if the URL has one; none is no error.
	Credentials func(ctx context.Context, host string) (Credentials, error)
	// UserAgent of requests.
	UserAgent string
}

// Progress is how far a download is, in bytes. Total 0: the server does not say.
type Progress struct{ Have, Total int64 }

// String says so in a few words.
func (p Progress) String() string {
	if p.Total <= 0 || p.Have > p.Total {
		return rough(p.Have)
	}
	return fmt.Sprintf("%s of %s (%d %%)", rough(p.Have), rough(p.Total), p.Have*100/p.Total)
}

// Download writes what an artifact's source has into a file, at most that many bytes, and returns its SHA-256 in hexadecimal. Where want (see
// ArtifactChecksum of spec.Artifact) is a checksum, what the file has already is taken for the beginning, and another content is an error; with
// spec.ChecksumNone any will do.
func (f *Fetcher) Download(ctx context.Context, a *spec.Artifact, want string, file *os.File, most int64, tell func(Progress)) (sum string, err error) {
	checked := want != spec.ChecksumNone
	for resume := checked; ; resume = false {
		info, err := file.Stat()
		if err != nil {
			return "", err
		}
		resumed := resume && info.Size() > 0
		if err := f.download(ctx, a.Source, a.Headers, file, most, resume, tell); err != nil {
			return "", err
		}
		got, own, err := sumOf(ctx, file, want)
		switch {
		case err != nil:
			return "", err
		case !checked || own == want:
			return got, nil
		case !resumed: // the beginning may have been of something else
			return "", errors.Join(fmt.Errorf("its checksum is %s, and %s is expected: correct the checksum if the file changed on purpose", own, want), file.Truncate(0))
		}
	}
}

func (f *Fetcher) download(ctx context.Context, source string, headers map[string]string, file *os.File, most int64, resume bool, tell func(Progress)) error {
	r := &request{Deed: deedDownload, URL: source, Headers: headers, Agent: f.UserAgent, Resume: resume, Most: most}
	if err := f.identify(ctx, r); err != nil {
		return err
	}
	_, err := run(ctx, r, file, discard, progress(tell))
	return err
}

func progress(tell func(Progress)) func(report) {
	return func(now report) {
		if tell != nil {
			tell(Progress{now.Have, now.Total})
		}
	}
}

// Clone writes a pack with a commit of an artifact's repository into a file, at most that many bytes, and returns the commit: the one that is
// asked for, or with "" what the artifact's branch or tag means.
func (f *Fetcher) Clone(ctx context.Context, a *spec.Artifact, commit string, file *os.File, most int64, tell func(Progress)) (string, error) {
	r := &request{Deed: deedClone, URL: a.Git, Commit: commit, Ref: a.Ref, Agent: f.UserAgent, Most: most}
	if err := f.identify(ctx, r); err != nil {
		return "", err
	}
	last, err := run(ctx, r, file, discard, progress(tell))
	return last.Commit, err
}

// CheckOut hands the files of a commit to take as a plain tar archive, out of the pack that Clone wrote. Whatever wrote it: they are those that the
// hash of the commit says.
func (f *Fetcher) CheckOut(ctx context.Context, a *spec.Artifact, commit string, file *os.File, most int64, take func(io.Reader) error) error {
	return f.unpack(ctx, &request{Deed: deedUnpack, Format: formatPack, Commit: commit, Folder: a.Folder, Most: most}, file, take)
}

func discard(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// identify adds the credentials that the node has for the host. They do not go over plain text, but to this machine itself.
func (f *Fetcher) identify(ctx context.Context, r *request) error {
	u, err := url.Parse(r.URL)
	if err != nil {
		return err
	}
	if f.Credentials == nil || u.Scheme != "https" && !loopback(u.Hostname()) {
		return nil
	}
	c, err := f.Credentials(ctx, u.Host)
	if err != nil {
		return fmt.Errorf("credentials for %s: %w", u.Host, err)
	}
	r.User, r.Password, r.Bearer = c.User, c.Password, c.Bearer
	return nil
}

// sumOf hashes a file: by SHA-256, and by the algorithm that a checksum names, with its name in front.
func sumOf(ctx context.Context, file *os.File, like string) (sum, own string, err error) {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", "", err
	}
	always := sha256.New()
	kind, _, _ := strings.Cut(like, ":")
	var named hash.Hash = always
	to := io.Writer(always)
	if kind == "sha512" {
		named = sha512.New()
		to = io.MultiWriter(always, named)
	} else {
		kind = "sha256"
	}
	if _, err := io.Copy(to, &patient{file, ctx}); err != nil {
		return "", "", err
	}
	return hex.EncodeToString(always.Sum(nil)), kind + ":" + hex.EncodeToString(named.Sum(nil)), nil
}

// patient stops reading when its context ends.
type patient struct {
	io.Reader
	ctx context.Context
}

func (p *patient) Read(b []byte) (int, error) {
	if p.ctx.Err() != nil {
		return 0, context.Cause(p.ctx)
	}
	return p.Reader.Read(b)
}

// maxList bounds a list of checksums, in bytes.
const maxList = 1 << 20

// Listed fetches the list that an artifact names as its checksum, and returns the checksum of the artifact in it.
func (f *Fetcher) Listed(ctx context.Context, a *spec.Artifact, file *os.File) (string, error) {
	where := a.ChecksumURL()
	if err := f.download(ctx, where, nil, file, maxList, false, nil); err != nil {
		return "", fmt.Errorf("list of checksums %s: %w", where, err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	data, err := io.ReadAll(io.LimitReader(file, maxList))
	if err != nil {
		return "", err
	}
	sum, err := findSum(string(data), spec.BaseOf(a.Source))
	if err != nil {
		return "", fmt.Errorf("list of checksums %s: %w", where, err)
	}
	return sum, nil
}

// findSum finds the checksum of a file in what sha256sum and sha512sum print, with or without --tag, or takes the only one there is.
func findSum(list, name string) (string, error) {
	only, lines := "", 0
	for line := range strings.Lines(list) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "-----") {
			continue
		}
		digits, of := line, ""
		if head, rest, ok := strings.Cut(line, " ("); ok && (head == "SHA256" || head == "SHA512") {
			i := strings.LastIndex(rest, ") = ")
			if i < 0 {
				continue
			}
			of, digits = rest[:i], rest[i+len(") = "):]
		} else if first, rest, ok := strings.Cut(line, " "); ok {
			digits, of = first, strings.TrimPrefix(strings.TrimPrefix(strings.TrimLeft(rest, " "), "*"), "./")
		}
		sum, err := spec.ParseChecksum(digits)
		if err != nil || strings.HasPrefix(sum, "file:") || sum == spec.ChecksumNone {
			continue
		}
		if of == name && name != "" {
			return sum, nil
		}
		if lines++; of == "" {
			only = sum
		}
	}
	if lines == 1 && only != "" {
		return only, nil
	}
	return "", fmt.Errorf("it has no SHA-256 or SHA-512 of %q", name)
}

// Unpack hands what is in a file to take as a plain tar archive, whose files have at most that many bytes.
func (f *Fetcher) Unpack(ctx context.Context, a *spec.Artifact, name string, file *os.File, most int64, take func(io.Reader) error) error {
	r := &request{Deed: deedUnpack, Format: a.Format, Strip: a.Strip, Name: name, Mode: a.Mode, Most: most}
	if r.Mode == 0 {
		r.Mode = spec.DefaultArtifactMode
	}
	return f.unpack(ctx, r, file, take)
}

// unpacking has one element for each helper that unpacks, of all fetchers of this process.
var unpacking = make(chan struct{}, unpackers)

func (f *Fetcher) unpack(ctx context.Context, r *request, file *os.File, take func(io.Reader) error) error {
	select {
	case unpacking <- struct{}{}:
		defer func() { <-unpacking }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// Another description of the file, that can only be read.
	content, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", file.Fd()))
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = run(ctx, r, content, take, nil)
	return err
}
