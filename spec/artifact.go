package spec

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Artifact is something that the node fetches and lays into the root file system of a task before it starts: a file, what is in an
// archive, or what a Git repository has at a commit.
type Artifact struct {
	// Destination is an absolute path in the task: of the file itself, or of the folder that what is unpacked goes into.
	Destination string `json:"destination"`
	// Source is the URL of a file or archive (https or http); "" with Git.
	Source string `json:"source,omitempty"`
	// Checksum is what the bytes behind Source must have: "sha256:HEX", "sha512:HEX", "file:URL" of a list of checksums, or ChecksumNone.
	Checksum string `json:"checksum,omitempty"`
	// Format of what is behind Source.
	Format ArtifactFormat `json:"format,omitempty"`
	// Strip is how many leading folders of the names in an archive are left out.
	Strip int `json:"strip,omitempty"`
	// Mode are the permissions of a single file; 0: 0644.
	Mode uint32 `json:"mode,omitempty"`
	// Headers of the requests for Source, to its own host only.
	Headers map[string]string `json:"headers,omitempty"`
	// Deadline of one attempt, everything included.
	Deadline Duration `json:"deadline"`

	// Git is the URL of a repository (https or http); "" with Source.
	Git string `json:"git,omitempty"`
	// Commit is what is checked out, in full; "": whatever Ref means, with the checksum ChecksumNone.
	Commit string `json:"commit,omitempty"`
	// Ref is a branch or tag of the repository; "": its default branch.
	Ref string `json:"ref,omitempty"`
	// Folder of the repository that is wanted, or "" for all of it.
	Folder string `json:"folder,omitempty"`
}

// ArtifactFormat says what is done with the bytes behind a URL.
type ArtifactFormat string

// The formats of artifacts. Tar archives may be plain or compressed by gzip or zstd; their first bytes tell.
const (
	FormatFile ArtifactFormat = "file" // kept as it is
	FormatTar  ArtifactFormat = "tar"
	FormatZip  ArtifactFormat = "zip"
	FormatGzip ArtifactFormat = "gz" // a single file, decompressed
)

// Single reports whether one file comes of it.
func (f ArtifactFormat) Single() bool { return f == FormatFile || f == FormatGzip }

// ChecksumNone says that any bytes are taken.
const ChecksumNone = "none"

// checksumFile precedes the URL of a list of checksums.
const checksumFile = "file:"

// DefaultArtifactMode are the permissions of a single file where none are written.
const DefaultArtifactMode = 0o644

// Unchecked reports whether any content is taken for the artifact.
func (a *Artifact) Unchecked() bool { return a.Checksum == ChecksumNone }

// Pinned reports whether the spec alone says which content it is.
func (a *Artifact) Pinned() bool {
	return a.Commit != "" || a.Git == "" && !a.Unchecked() && a.ChecksumURL() == ""
}

// ChecksumURL is where the list of checksums is, or "" if there is none.
func (a *Artifact) ChecksumURL() string {
	u, ok := strings.CutPrefix(a.Checksum, checksumFile)
	if !ok {
		return ""
	}
	return u
}

// Where is the URL that the artifact comes from.
func (a *Artifact) Where() string {
	if a.Git != "" {
		return a.Git
	}
	return a.Source
}

// unpacked are the ends of names that are unpacked, the longest first.
var unpacked = []struct {
	end    string
	format ArtifactFormat
}{
	{".tar.gz", FormatTar}, {".tar.zst", FormatTar}, {".tgz", FormatTar}, {".tzst", FormatTar}, {".tar", FormatTar}, {".zip", FormatZip}, {".gz", FormatGzip},
}

// foreign are the ends of names of archives that are not unpacked here.
var foreign = []string{".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tbz", ".xz", ".bz2", ".7z", ".rar", ".tar.lz", ".lz", ".zst"}

// FormatByName is the format that the last part of a URL's path tells. The error says what to do about archives that are not unpacked.
func FormatByName(source string) (ArtifactFormat, error) {
	name := strings.ToLower(BaseOf(source))
	for _, u := range unpacked {
		if strings.HasSuffix(name, u.end) {
			return u.format, nil
		}
	}
	for _, end := range foreign {
		if strings.HasSuffix(name, end) {
			return "", fmt.Errorf("%s is not unpacked here, only .tar, .tar.gz, .tar.zst, .zip and .gz are: offer one of these, or take it as it is with format = \"file\"", end)
		}
	}
	return FormatFile, nil
}

// BaseOf is the last part of a URL's path, which is "" if there is none.
func BaseOf(source string) string {
	u, err := url.Parse(source)
	if err != nil || u.Path == "" || strings.HasSuffix(u.Path, "/") {
		return ""
	}
	return path.Base(u.Path)
}

// ParseChecksum reads the checksum of an artifact and returns it as an Artifact holds it. The error says what to write.
func ParseChecksum(text string) (string, error) {
	if text == ChecksumNone {
		return text, nil
	}
	if where, ok := strings.CutPrefix(text, checksumFile); ok {
		if err := CheckSource(where); err != nil {
			return "", fmt.Errorf("after %q there is no URL of a list of checksums: %w", checksumFile, err)
		}
		return text, nil
	}
	kind, digits, named := strings.Cut(strings.ToLower(text), ":")
	if !named {
		digits = kind
		kind = map[int]string{64: "sha256", 128: "sha512"}[len(digits)]
	}
	want := map[string]int{"sha256": 64, "sha512": 128}[kind]
	switch {
	case kind == "md5" || kind == "sha1":
		return "", fmt.Errorf("%s can be forged: write sha256: and what sha256sum FILE prints", kind)
	case want == 0:
		return "", errors.New("it begins with neither sha256:, sha512: nor file: write sha256: and what sha256sum FILE prints")
	case len(digits) != want || strings.Trim(digits, "0123456789abcdef") != "":
		return "", fmt.Errorf("%s has %d hexadecimal digits, and here are %d characters: print them with %ssum FILE", kind, want, len(digits), kind)
	}
	return kind + ":" + digits, nil
}

// MaxSource bounds the URL of an artifact, in bytes.
const MaxSource = 4096

// CheckSource reports why a node would not fetch from a URL. The error says what to write instead.
func CheckSource(text string) error {
	u, err := url.Parse(text)
	if err != nil {
		var why *url.Error
		if errors.As(err, &why) {
			err = why.Err
		}
		return fmt.Errorf("it is no URL: %w", err)
	}
	switch {
	case len(text) > MaxSource:
		return fmt.Errorf("it has more than %d bytes", MaxSource)
	case u.Scheme == "file":
		return errors.New("files of the node are not given to tasks by a commit: offer it by https")
	case u.Scheme == "ssh" || u.Scheme == "git" || strings.HasPrefix(text, "git@") || strings.HasPrefix(text, "git::"):
		return errors.New("repositories are fetched by https: write git = \"https://HOST/PATH.git\"; what only some may read is named in the node's credentials")
	case u.Scheme == "":
		return errors.New("it has no scheme: write https://HOST/PATH")
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("the scheme %s is not known: there are https and http", u.Scheme)
	case u.Hostname() == "":
		return errors.New("it names no host: write https://HOST/PATH")
	case u.User != nil:
		return errors.New("it has a user name or password in it, which everybody would see who sees the repository: name them in the credentials of the node")
	case u.Fragment != "":
		return errors.New("what follows \"#\" is never sent to a server: remove it")
	}
	if ip, err := netip.ParseAddr(strings.Trim(u.Hostname(), "[]")); err == nil && NearAddress(ip) {
		return fmt.Errorf("%s is an address of the link or of the platform that the node runs on, and not fetched from", ip)
	}
	return nil
}

// platform are addresses at which clouds offer credentials to whoever asks from the machine, beside those of the link (169.254.0.0/16 and fe80::/10).
var platform = []netip.Addr{netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200"), netip.MustParseAddr("168.63.129.16")}

// carriers are the prefixes of IPv6 whose addresses stand for one of IPv4, and at which of their bytes it may be.
var carriers = []struct {
	prefix netip.Prefix
	at     [][4]int
}{
	{netip.MustParsePrefix("::/96"), last},                                                                       // IPv4-compatible, RFC 4291
	{netip.MustParsePrefix("::ffff:0:0:0/96"), last},                                                             // IPv4-translated, RFC 2765
	{netip.MustParsePrefix("64:ff9b::/96"), last},                                                                // NAT64, RFC 6052
	{netip.MustParsePrefix("64:ff9b:1::/48"), [][4]int{{6, 7, 9, 10}, {7, 9, 10, 11}, {9, 10, 11, 12}, last[0]}}, // RFC 8215: prefixes of /48, /56, /64 and /96 in it
	{netip.MustParsePrefix("2002::/16"), [][4]int{{2, 3, 4, 5}}},                                                 // 6to4, RFC 3056
}

var last = [][4]int{{12, 13, 14, 15}}

// Ends are the addresses that what is sent to an address may end at: itself, and those of IPv4 that it may stand for where a translator is on the way.
func Ends(ip netip.Addr) []netip.Addr {
	ip = ip.Unmap().WithZone("")
	ends := []netip.Addr{ip}
	if !ip.Is6() || ip.IsUnspecified() || ip.IsLoopback() {
		return ends
	}
	b := ip.As16()
	for _, c := range carriers {
		if !c.prefix.Contains(ip) {
			continue
		}
		for _, at := range c.at {
			four := netip.AddrFrom4([4]byte{b[at[0]], b[at[1]], b[at[2]], b[at[3]]})
			if len(c.at) == 1 || b[at[0]] != 0 { // the bytes beside the real place are zeros, and 0.0.0.0/8 is no host
				ends = append(ends, four)
			}
		}
	}
	return ends
}

// NearAddress reports whether an address is one that nothing is fetched from: it is of the link, of the platform that the machine runs on,
// or names no machine, in whatever way it is written (see Ends). Loopback is not among them.
func NearAddress(ip netip.Addr) bool {
	return slices.ContainsFunc(Ends(ip), func(ip netip.Addr) bool {
		return slices.Contains(platform, ip) || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || !ip.IsValid()
	})
}

// refForm is a name of a branch or tag, as far as git-check-ref-format(1) lets it be written without quotes.
var refForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._/+-]{0,199}$`)

// CheckRef reports what is wrong with the name of a branch or tag.
func CheckRef(name string) error {
	if !refForm.MatchString(name) || strings.Contains(name, "..") || strings.Contains(name, "//") || strings.HasSuffix(name, "/") || strings.HasSuffix(name, ".lock") {
		return errors.New("it is no name of a branch or tag: write one such as \"main\" or \"v1.2\"")
	}
	return nil
}

var commitForm = regexp.MustCompile(`^[0-9a-f]{40}$`)

// CheckCommit reports what is wrong with the hash of a commit.
func CheckCommit(hash string) error {
	if !commitForm.MatchString(hash) {
		return errors.New("it is not all of a commit's hash: write its 40 hexadecimal digits, as git rev-parse prints them")
	}
	return nil
}

// checkGit is the part of Check for a repository.
func (a *Artifact) checkGit() error {
	switch {
	case a.Source != "" || a.Format != "" || a.Strip != 0 || a.Mode != 0 || len(a.Headers) > 0 || a.Checksum != "" && !a.Unchecked():
		return errors.New("it has what only files and archives have")
	case a.Commit == "" && !a.Unchecked():
		return errors.New("it has no commit")
	case a.Commit != "" && CheckCommit(a.Commit) != nil:
		return CheckCommit(a.Commit)
	case a.Ref != "" && CheckRef(a.Ref) != nil:
		return CheckRef(a.Ref)
	case a.Folder != "" && (path.Clean(a.Folder) != a.Folder || path.IsAbs(a.Folder) || a.Folder == "." || strings.HasPrefix(a.Folder, "..")):
		return errors.New("its folder is none of the repository")
	}
	return nil
}

// Check reports what is wrong with an artifact that no person wrote: a driver made it.
func (a *Artifact) Check() error {
	if !CleanTarget(a.Destination) || len(a.Destination) > MaxRepository {
		return fmt.Errorf("an artifact cannot go to %q", a.Destination)
	}
	if err := CheckSource(a.Where()); err != nil {
		return fmt.Errorf("the artifact at %s cannot be fetched: %w", a.Destination, err)
	}
	if a.Git != "" {
		if err := a.checkGit(); err != nil {
			return fmt.Errorf("the artifact at %s cannot be fetched: %w", a.Destination, err)
		}
	} else if sum, err := ParseChecksum(a.Checksum); err != nil || sum != a.Checksum {
		return fmt.Errorf("the artifact at %s has a checksum that is none: %q", a.Destination, a.Checksum)
	}
	plain := strings.HasPrefix(a.Where(), "http://")
	switch {
	case plain && a.Unchecked() || strings.HasPrefix(a.ChecksumURL(), "http://"):
		return fmt.Errorf("the artifact at %s comes over http, and the commit does not say which bytes it has", a.Destination)
	case a.Git == "" && a.Format != FormatFile && a.Format != FormatTar && a.Format != FormatZip && a.Format != FormatGzip:
		return fmt.Errorf("the artifact at %s has the format %q, which is not known", a.Destination, a.Format)
	case a.Strip < 0 || a.Strip > MaxArtifactStrip || a.Mode > 0o777 || a.Deadline <= 0 || len(a.Headers) > MaxCheckHeaders:
		return fmt.Errorf("the artifact at %s has a strip, mode, deadline or number of headers that is not taken", a.Destination)
	}
	return nil
}

// Fetches reports whether any of the app's tasks has an artifact.
func (a *App) Fetches() bool {
	return slices.ContainsFunc(a.Tasks, func(t Task) bool { return len(t.Artifacts) > 0 })
}
