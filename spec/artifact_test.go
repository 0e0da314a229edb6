package spec

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

// FuzzCheckSource looks for URLs that are taken and lead elsewhere than they seem to, or cannot be asked for.
func FuzzCheckSource(f *testing.F) {
	for _, s := range []string{"https://example.com/a.tar.gz", "http://[::1]:80/x", "https://user@host/", "https://169.254.169.254/", "https://host/%zz", "file:///etc/passwd", "https:///x", "https://host\x00/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if CheckSource(text) != nil {
			return
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || len(text) > MaxSource {
			t.Fatalf("%q is taken: %+v, %v", text, u, err)
		}
		if _, err := http.NewRequest(http.MethodGet, text, nil); err != nil {
			t.Fatalf("%q is taken, and cannot be asked for: %v", text, err)
		}
		if name := BaseOf(text); strings.Contains(name, "/") {
			t.Fatalf("%q is called %q", text, name)
		}
	})
}

// TestNearAddressesInDisguise: an address of IPv4 is refused in all forms that a translator, a tunnel or the kernel takes it out of.
func TestNearAddressesInDisguise(t *testing.T) {
	for _, bad := range []string{
		"169.254.169.254", "fe80::1%eth0", "::", "0.0.0.0", "ff02::1", "fd00:ec2::254",
		"::ffff:169.254.169.254", "::169.254.169.254", "::ffff:0:169.254.169.254", "64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1",
		"64:ff9b:1::169.254.169.254", "64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:7a9:fe:a9fe::", "64:ff9b:1:7:a9:fea9:fe00:0", "64:ff9b:1::100.100.100.200",
	} {
		if !NearAddress(netip.MustParseAddr(bad)) {
			t.Errorf("%s is fetched from", bad)
		}
	}
	for _, good := range []string{
		"93.184.216.34", "10.0.0.1", "127.0.0.1", "::1", "2001:db8::1", "::ffff:93.184.216.34", "64:ff9b::93.184.216.34", "64:ff9b:1::93.184.216.34",
		"64:ff9b:1:5db8:d8:2200::", "2002:5db8:d822::1",
	} {
		if NearAddress(netip.MustParseAddr(good)) {
			t.Errorf("%s is refused", good)
		}
	}
	if CheckSource("https://[2002:a9fe:a9fe::1]/x") == nil {
		t.Error("a source that a tunnel leads to the link")
	}
}

func TestAnArtifactOfADriver(t *testing.T) {
	sum := "sha256:" + strings.Repeat("a", 64)
	good := Artifact{Destination: "/opt/x", Source: "https://example.com/x", Checksum: sum, Format: FormatFile, Deadline: Minute}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Artifact){
		"destination": func(a *Artifact) { a.Destination = "/opt/../etc" },
		"source":      func(a *Artifact) { a.Source = "file:///etc/shadow" },
		"checksum":    func(a *Artifact) { a.Checksum = "" },
		"capitals":    func(a *Artifact) { a.Checksum = strings.ToUpper(sum) },
		"plain":       func(a *Artifact) { a.Source, a.Checksum = "http://example.com/x", ChecksumNone },
		"plain list":  func(a *Artifact) { a.Checksum = "file:http://example.com/x" },
		"format":      func(a *Artifact) { a.Format = "rar" },
		"mode":        func(a *Artifact) { a.Mode = 0o4755 },
		"deadline":    func(a *Artifact) { a.Deadline = 0 },
	} {
		bad := good
		spoil(&bad)
		if err := bad.Check(); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}

func TestARepositoryOfADriver(t *testing.T) {
	commit := strings.Repeat("a", 40)
	good := Artifact{Destination: "/opt/x", Git: "https://example.com/x.git", Commit: commit, Ref: "v1.2", Folder: "site/a", Deadline: Minute}
	if err := good.Check(); err != nil || !good.Pinned() {
		t.Error(err)
	}
	branch := Artifact{Destination: "/opt/x", Git: "https://example.com/x.git", Checksum: ChecksumNone, Deadline: Minute}
	if err := branch.Check(); err != nil || branch.Pinned() {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Artifact){
		"url":     func(a *Artifact) { a.Git = "ssh://example.com/x" },
		"short":   func(a *Artifact) { a.Commit = "aaaa" },
		"nothing": func(a *Artifact) { a.Commit = "" },
		"plain":   func(a *Artifact) { a.Git, a.Commit, a.Checksum = "http://example.com/x", "", ChecksumNone },
		"both":    func(a *Artifact) { a.Source = "https://example.com/x" },
		"ref":     func(a *Artifact) { a.Ref = "--upload-pack=x" },
		"folder":  func(a *Artifact) { a.Folder = "../x" },
		"format":  func(a *Artifact) { a.Format = FormatTar },
	} {
		bad := good
		spoil(&bad)
		if err := bad.Check(); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
}

func TestAChangedArtifactIsAChangeOfTheTask(t *testing.T) {
	app := func(change func(*Artifact)) *App {
		a := Artifact{Destination: "/opt/x", Source: "https://example.com/x", Checksum: "none", Format: FormatFile, Deadline: Minute}
		change(&a)
		return &App{Name: "x", Tasks: []Task{{Name: "main", Artifacts: []Artifact{a}}}}
	}
	before := app(func(*Artifact) {})
	if other := app(func(a *Artifact) { a.Checksum = "sha256:" + strings.Repeat("a", 64) }); other.RuntimeHash() == before.RuntimeHash() {
		t.Error("another checksum replaces nothing")
	}
	if other := app(func(a *Artifact) { a.Deadline = Hour }); other.RuntimeHash() != before.RuntimeHash() || other.Hash() == before.Hash() {
		t.Error("another deadline is no change in place")
	}
	if before.Tasks[0].Artifacts[0].Deadline != Minute {
		t.Error("hashing changed the app")
	}
}
