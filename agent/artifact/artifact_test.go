package artifact

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// TestMain lets the test binary be a helper.
func TestMain(m *testing.M) {
	Serve()
	os.Exit(m.Run())
}

const plenty = 1 << 30

func spool(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "spool"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func content(t *testing.T, f *os.File) string {
	t.Helper()
	data, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func sum256(text string) string {
	s := sha256.Sum256([]byte(text))
	return hex.EncodeToString(s[:])
}

func at(source string) *spec.Artifact { return &spec.Artifact{Destination: "/x", Source: source} }

func TestDownload(t *testing.T) {
	body := strings.Repeat("what is fetched\n", 100_000)
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		asked = append(asked, fmt.Sprintf("%s %s %s:%s range %q", r.URL.Path, r.Header.Get("X-Own"), user, password, r.Header.Get("Range")))
		if r.URL.Path == "/missing" {
			http.NotFound(w, r)
			return
		}
		http.ServeContent(w, r, "", time.Unix(1, 0), strings.NewReader(body))
	}))
	defer server.Close()
	f := Fetcher{Credentials: func(_ context.Context, host string) (Credentials, error) {
		if host != strings.TrimPrefix(server.URL, "http://") {
			t.Errorf("credentials for %s", host)
		}
		return Credentials{User: "me", Password: "secret"}, nil
	}}
	a := at(server.URL + "/file")
	a.Headers = map[string]string{"X-Own": "yes"}
	wide := sha512.Sum512([]byte(body))
	for _, want := range []string{"sha256:" + sum256(body), "sha512:" + hex.EncodeToString(wide[:]), spec.ChecksumNone} {
		file := spool(t)
		got, err := f.Download(t.Context(), a, want, file, plenty, nil)
		if err != nil || got != sum256(body) || content(t, file) != body {
			t.Errorf("%s: %s, %v", want, got, err)
		}
	}
	if want := `/file yes me:secret range ""`; asked[0] != want {
		t.Errorf("asked %q, want %q", asked[0], want)
	}

	// What an earlier process left is gone on with, and thrown away where it was of something else.
	for _, before := range []string{body[:1000], body, "something else"} {
		asked = nil
		file := spool(t)
		_, _ = file.WriteString(before)
		if _, err := f.Download(t.Context(), a, "sha256:"+sum256(body), file, plenty, nil); err != nil || content(t, file) != body {
			t.Errorf("after %.10q: %v", before, err)
		}
		if want := fmt.Sprintf(`range "bytes=%d-"`, len(before)); !strings.HasSuffix(asked[0], want) {
			t.Errorf("asked %q, want %s", asked, want)
		}
	}
	file := spool(t)
	_, _ = file.WriteString("of yesterday")
	if got, err := f.Download(t.Context(), a, spec.ChecksumNone, file, plenty, nil); err != nil || got != sum256(body) {
		t.Errorf("any content, after what was left: %v", err)
	}

	for name, c := range map[string]struct {
		url, want, say string
		most           int64
	}{
		"another checksum": {"/file", "sha256:" + sum256("other"), "and sha256:" + sum256("other") + " is expected", plenty},
		"missing":          {"/missing", spec.ChecksumNone, "the server answers 404", plenty},
		"too large":        {"/file", spec.ChecksumNone, "write a larger disk", 1000},
	} {
		file := spool(t)
		if _, err := f.Download(t.Context(), at(server.URL+c.url), c.want, file, c.most, nil); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestBadServers: one that ends early, one that knows no ranges, one that has troubles for a while, one that hangs, one that is gone.
func TestBadServers(t *testing.T) {
	body := strings.Repeat("0123456789", 50_000)
	get := func(t *testing.T, handler http.HandlerFunc, want string) (*download, error) {
		server := httptest.NewServer(handler)
		defer server.Close()
		file := spool(t)
		d := newDownload(&request{URL: server.URL, Most: plenty}, file, func(int64, int64) {})
		d.gap, d.stall = time.Millisecond, 200*time.Millisecond
		err := d.run(t.Context())
		if err == nil && content(t, file) != want {
			t.Errorf("got %d bytes, want %d", len(content(t, file)), len(want))
		}
		return d, err
	}
	var parts atomic.Int64
	_, err := get(t, func(w http.ResponseWriter, r *http.Request) { // each answer ends after a part
		parts.Add(1)
		http.ServeContent(&short{ResponseWriter: w, left: 150_000}, r, "", time.Unix(1, 0), strings.NewReader(body))
	}, body)
	if err != nil || parts.Load() != 4 {
		t.Errorf("a server that ends early: %v, after %d answers", err, parts.Load())
	}
	parts.Store(0)
	_, err = get(t, func(w http.ResponseWriter, _ *http.Request) { // no ranges; the third answer is whole
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		if parts.Add(1) < 3 {
			_, _ = io.WriteString(w, body[:300_000])
			return
		}
		_, _ = io.WriteString(w, body)
	}, body)
	if err != nil {
		t.Errorf("a server without ranges: %v", err)
	}
	parts.Store(0)
	_, err = get(t, func(w http.ResponseWriter, _ *http.Request) {
		if parts.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, body)
	}, body)
	if err != nil {
		t.Errorf("a server with troubles for a while: %v", err)
	}
	changed := func(w http.ResponseWriter, r *http.Request) { // the file becomes another between two parts
		n := parts.Add(1)
		w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprint(min(n, 2))))
		text := strings.Repeat(fmt.Sprint(min(n, 2)), 400_000)
		http.ServeContent(&short{ResponseWriter: w, left: 150_000 * n}, r, "", time.Time{}, strings.NewReader(text))
	}
	parts.Store(0)
	if _, err = get(t, changed, strings.Repeat("2", 400_000)); err != nil {
		t.Errorf("a file that changes: %v", err)
	}
	if _, err = get(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}, ""); !errors.Is(err, errStalled) {
		t.Errorf("a server that hangs: %v", err)
	}
	if _, err = get(t, func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, ""); err == nil {
		t.Error("a server that closes every connection")
	}
}

// short ends an answer after some bytes.
type short struct {
	http.ResponseWriter
	left int64
}

func (s *short) Write(p []byte) (int, error) {
	if int64(len(p)) > s.left {
		_, _ = s.ResponseWriter.Write(p[:s.left])
		s.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	s.left -= int64(len(p))
	return s.ResponseWriter.Write(p)
}

func TestWhereRequestsGo(t *testing.T) {
	var got http.Header
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		_, _ = io.WriteString(w, "elsewhere")
	}))
	defer other.Close()
	target := other.URL + "/"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target, http.StatusFound) }))
	defer server.Close()
	f := Fetcher{Credentials: func(context.Context, string) (Credentials, error) { return Credentials{Bearer: "secret"}, nil }}
	a := at(server.URL)
	a.Headers = map[string]string{"Private-Token": "secret"}
	if _, err := f.Download(t.Context(), a, spec.ChecksumNone, spool(t), plenty, nil); err != nil || got.Get("Private-Token") != "" || got.Get("Authorization") != "" {
		t.Errorf("%v: another host was told %v", err, got)
	}
	for _, bad := range []string{"http://169.254.169.254/latest/meta-data/", "file:///etc/shadow", "http://[fe80::1]/", "http://[fd00:ec2::254]/", "http://[64:ff9b::a9fe:a9fe]/", "http://[::ffff:169.254.169.254]/", "http://0.0.0.0/"} {
		target = bad
		if _, err := f.Download(t.Context(), a, spec.ChecksumNone, spool(t), plenty, nil); err == nil || !strings.Contains(err.Error(), "nothing is fetched from") && !strings.Contains(err.Error(), "not followed") {
			t.Errorf("a redirect to %s: %v", bad, err)
		}
	}
	outside := &guard{first: must(t, "https://example.com/")}
	inside := &guard{first: must(t, "http://127.0.0.1:80/")}
	for address, want := range map[string][2]bool{"127.0.0.1:7471": {false, true}, "[::1]:80": {false, true}, "[::ffff:127.0.0.1]:80": {false, true}, "10.1.2.3:80": {true, true}, "169.254.1.1:80": {false, false},
		"[64:ff9b::127.0.0.1]:80": {false, true}, "[::127.0.0.1]:80": {false, true}, "[2002:7f00:1::]:80": {false, true}, "[64:ff9b:1::127.0.0.1]:80": {false, true},
		"93.184.216.34:443": {true, true}} {
		if o, i := outside.judge(address) == nil, inside.judge(address) == nil; o != want[0] || i != want[1] {
			t.Errorf("%s: %v from outside, %v from inside", address, o, i)
		}
	}
	if !spec.NearAddress(netip.MustParseAddr("fe80::1%eth0")) {
		t.Error("an address of a link with its zone")
	}
	from, to := httptest.NewRequest(http.MethodGet, "https://a.example/", nil), httptest.NewRequest(http.MethodGet, "http://a.example/", nil)
	if err := outside.redirect(to, []*http.Request{from}); err == nil {
		t.Error("from TLS to plain text")
	}
}

func must(t *testing.T, text string) (u *url.URL) {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// TestHelperIsConfined looks at a helper from outside while it waits for a server.
func TestHelperIsConfined(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("another user is given by root only")
	}
	asked := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { close(asked); <-r.Context().Done() }))
	defer server.Close()
	t.Setenv("OWN_SECRET", "of the agent")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		f := Fetcher{}
		_, err := f.Download(ctx, at(server.URL), spec.ChecksumNone, spool(t), plenty, nil)
		ended <- err
	}()
	<-asked
	pid := helperOf(t, os.Getpid())
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		t.Fatal(err)
	}
	var id string
	if at := strings.Index(string(status), "Uid:\t"); at >= 0 {
		var n uint32
		if _, err := fmt.Sscan(string(status[at+len("Uid:\t"):]), &n); err != nil || n < helperID || n >= helperID+helperIDs {
			t.Errorf("its user is %d, %v", n, err)
		}
		id = fmt.Sprint(n)
	}
	for _, want := range []string{"Uid:\t" + id + "\t" + id, "Gid:\t" + id + "\t" + id, "NoNewPrivs:\t1", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "Groups:\t \n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in\n%s", want, status)
		}
	}
	env, _ := os.ReadFile("/proc/" + pid + "/environ")
	if bytes.Contains(env, []byte("OWN_SECRET")) {
		t.Errorf("it has the variables of the agent: %q", env)
	}
	for _, space := range []string{"pid", "ipc"} {
		own, _ := os.Readlink("/proc/self/ns/" + space)
		if its, err := os.Readlink("/proc/" + pid + "/ns/" + space); err != nil || its == own {
			t.Errorf("its %s namespace is %s, and the agent's %s, %v", space, its, own, err)
		}
	}
	limits, _ := os.ReadFile("/proc/" + pid + "/limits")
	if !strings.Contains(string(limits), fmt.Sprint(helperMemory)) {
		t.Errorf("its memory has no limit:\n%s", limits)
	}
	if tree, unified := memoryTree(); tree != "" {
		file := filepath.Join(tree, groupName, map[bool]string{false: "memory.limit_in_bytes", true: "memory.max"}[unified])
		bound, err := os.ReadFile(file)
		if groups, _ := os.ReadFile("/proc/" + pid + "/cgroup"); err == nil && (!strings.Contains(string(groups), "/"+groupName+"\n") || strings.TrimSpace(string(bound)) != fmt.Sprint(groupMemory)) {
			t.Errorf("%s has %s; the helper is in\n%s", file, bound, groups)
		} else if err != nil && !unified { // of v2 the memory may be out of reach, where the tree above has processes
			t.Error(err)
		}
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("a download that was ended is no error")
	}
	if _, err := os.Stat("/proc/" + pid); err == nil {
		t.Error("the helper is still there")
	}
}

// TestHelperDiesWithItsParent: a parent that is killed leaves no helper behind.
func TestHelperDiesWithItsParent(t *testing.T) {
	const variable = "STOWAGE_TEST_PARENT"
	if url := os.Getenv(variable); url != "" {
		f := Fetcher{}
		_, _ = f.Download(t.Context(), at(url), spec.ChecksumNone, spool(t), plenty, nil)
		return
	}
	asked, gone := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { close(asked); <-r.Context().Done(); close(gone) }))
	defer server.Close()
	parent := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	parent.Env = append(os.Environ(), variable+"="+server.URL)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	pid := helperOf(t, parent.Process.Pid)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	<-gone // its connection ended with it
	if name, err := os.ReadFile("/proc/" + pid + "/cmdline"); err == nil && string(name) == helperName+"\x00" {
		t.Errorf("the helper %s is still there", pid)
	}
}

// helperOf finds the helper that a process started.
func helperOf(t *testing.T, parent int) string {
	t.Helper()
	all := helpersOf(t, parent)
	if len(all) == 0 {
		t.Fatal("there is no helper")
	}
	return all[0]
}

// helpersOf finds all helpers that a process started.
func helpersOf(t *testing.T, parent int) (pids []string) {
	t.Helper()
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range all {
		name, _ := os.ReadFile(file)
		status, _ := os.ReadFile(filepath.Dir(file) + "/status")
		if string(name) == helperName+"\x00" && strings.Contains(string(status), fmt.Sprintf("PPid:\t%d\n", parent)) {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}

// listing unpacks a file and lists what comes: "name mode content", "name/ mode", "name -> target", "name = other name".
func listing(t *testing.T, a *spec.Artifact, file []byte, most int64) ([]string, error) {
	t.Helper()
	f := spool(t)
	if _, err := f.Write(file); err != nil {
		t.Fatal(err)
	}
	var all []string
	err := new(Fetcher).Unpack(t.Context(), a, filepath.Base(a.Destination), f, most, func(from io.Reader) error {
		r := tar.NewReader(from)
		for {
			h, err := r.Next()
			if err == io.EOF {
				_, err := io.Copy(io.Discard, from)
				return err
			}
			if err != nil {
				return err
			}
			line := fmt.Sprintf("%s %04o", h.Name, h.Mode)
			switch h.Typeflag {
			case tar.TypeReg:
				data, err := io.ReadAll(r)
				if err != nil {
					return err
				}
				line += fmt.Sprintf(" %.20s", data)
			case tar.TypeSymlink:
				line = h.Name + " -> " + h.Linkname
			case tar.TypeLink:
				line = h.Name + " = " + h.Linkname
			}
			all = append(all, line)
		}
	})
	return all, err
}

// TestArchivesOfOtherTools unpacks what GNU tar, gzip, zstd and zip make.
func TestArchivesOfOtherTools(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.MkdirAll(dir+"/app-1.2/bin", 0o755), os.WriteFile(dir+"/app-1.2/bin/tool", []byte("run"), 0o755), os.WriteFile(dir+"/app-1.2/motd", []byte("hello"), 0o640),
		os.Symlink("bin/tool", dir+"/app-1.2/link"), os.Chmod(dir+"/app-1.2/bin/tool", 0o755|fs.ModeSetuid)); err != nil {
		t.Fatal(err)
	}
	for name, command := range map[string]string{
		"a.tar": "tar -cf a.tar app-1.2", "a.tar.gz": "tar -czf a.tar.gz ./app-1.2", "a.tar.zst": "tar -cf - app-1.2 | zstd -q > a.tar.zst", "old.tar": "tar --format=v7 -cf old.tar app-1.2",
		"pax.tar": "tar --format=posix -cf pax.tar app-1.2", "a.zip": "zip -qry a.zip app-1.2",
	} {
		cmd := exec.Command("sh", "-c", command)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", command, err, out)
			continue
		}
		file, err := os.ReadFile(dir + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		format, err := spec.FormatByName("https://example.com/" + name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := listing(t, &spec.Artifact{Destination: "/opt/app", Format: format, Strip: 1}, file, plenty)
		slices.Sort(got)
		want := []string{"./ 0755", "bin/ 0755", "bin/tool 0755 run", "link -> bin/tool", "motd 0640 hello"}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %q", name, err, got)
		}
		if got, err := listing(t, &spec.Artifact{Destination: "/opt/app", Format: format}, file, 7); err == nil {
			t.Errorf("%s: 8 bytes where 7 are allowed: %q", name, got)
		}
	}
	packed := gz(t, "the file")
	if got, err := listing(t, &spec.Artifact{Destination: "/etc/f", Format: spec.FormatGzip, Mode: 0o600}, packed, plenty); err != nil || !slices.Equal(got, []string{"f 0600 the file"}) {
		t.Errorf("a single file: %q, %v", got, err)
	}
	if got, err := listing(t, &spec.Artifact{Destination: "/etc/f", Format: spec.FormatFile}, packed, plenty); err != nil || !strings.HasPrefix(got[0], "f 0644 \x1f\x8b") {
		t.Errorf("a file as it is: %q, %v", got, err)
	}
}

func gz(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func archive(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == 0 {
			h.Typeflag, h.Size = tar.TypeReg, 4
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			_, _ = io.WriteString(w, "evil")
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestHostileArchives(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: "top", Typeflag: tar.TypeReg, Size: 300 << 20}); err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range 300 {
		_, _ = w.Write(zeros)
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file  []byte
		strip int
		say   string
	}{
		"above":              {archive(t, tar.Header{Name: "../x"}), 0, `contains ".."`},
		"above inside":       {archive(t, tar.Header{Name: "a/../../x"}), 0, `contains ".."`},
		"device":             {archive(t, tar.Header{Name: "x", Typeflag: tar.TypeChar}), 0, "neither a file"},
		"pipe":               {archive(t, tar.Header{Name: "x", Typeflag: tar.TypeFifo}), 0, "neither a file"},
		"through a link":     {archive(t, tar.Header{Name: "x", Typeflag: tar.TypeSymlink, Linkname: "/etc"}, tar.Header{Name: "x/passwd"}), 0, "through a link"},
		"linked from above":  {archive(t, tar.Header{Name: "x", Typeflag: tar.TypeLink, Linkname: "../../etc/shadow"}), 0, `contains ".."`},
		"linked to stripped": {archive(t, tar.Header{Name: "top"}, tar.Header{Name: "top/x", Typeflag: tar.TypeLink, Linkname: "top"}), 1, "not unpacked"},
		"bomb":               {bomb.Bytes(), 0, "decompression bomb"},
		"bomb left out":      {bomb.Bytes(), 1, "decompression bomb"},
		"no archive":         {[]byte("hello"), 0, "read archive"},
		"nothing":            {nil, 0, "no archive in it"},
	} {
		got, err := listing(t, &spec.Artifact{Destination: "/opt", Format: spec.FormatTar, Strip: c.strip}, c.file, plenty)
		if err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %q, %v, want %q", name, got, err, c.say)
		}
	}
	got, err := listing(t, &spec.Artifact{Destination: "/opt", Format: spec.FormatTar}, archive(t, tar.Header{Name: "/abs", Mode: 0o7777, Uid: 4711}, tar.Header{Name: ".wh.x", Mode: 0o644}, tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "/abs"}), plenty)
	if err != nil || !slices.Equal(got, []string{"./ 0755", "abs 0777 evil", ".wh.x 0644 evil", "l = abs"}) {
		t.Errorf("%q, %v", got, err)
	}
	var b bytes.Buffer
	zw := zip.NewWriter(&b)
	for _, n := range []string{"../x"} {
		if _, err := zw.Create(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := listing(t, &spec.Artifact{Destination: "/opt", Format: spec.FormatZip}, b.Bytes(), plenty); err == nil {
		t.Errorf("zip: %q", got)
	}
}

func TestListsOfChecksums(t *testing.T) {
	one, two := strings.Repeat("1", 64), strings.Repeat("2", 64)
	wide := strings.Repeat("3", 128)
	for list, want := range map[string]string{
		one + "  a.tar\n" + two + "  b.tar\n":                   "sha256:" + two,
		one + " *./b.tar\n":                                     "sha256:" + one,
		wide + "  b.tar":                                        "sha512:" + wide,
		"SHA256 (a.tar) = " + one + "\nSHA256 (b.tar) = " + two: "sha256:" + two,
		"# comment\n\n" + two + "\n":                            "sha256:" + two,
		two + "\n" + one + "\n":                                 "",
		one + "  a.tar\n":                                       "",
		"none  b.tar\nfile:x  b.tar\n":                          "",
		strings.Repeat("1", 32) + "  b.tar\n":                   "",
	} {
		if got, err := findSum(list, "b.tar"); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", list, got, err)
		}
	}
}

// FuzzUnpack looks for archives that make a name leave the destination, or the helper fall.
func FuzzUnpack(f *testing.F) {
	f.Add([]byte("hello"), "tar", 1)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	_ = w.WriteHeader(&tar.Header{Name: "a/b", Typeflag: tar.TypeSymlink, Linkname: "../.."})
	_ = w.WriteHeader(&tar.Header{Name: "a/b/c", Typeflag: tar.TypeReg, Size: 0})
	_ = w.Close()
	f.Add(b.Bytes(), "tar", 0)
	var z bytes.Buffer
	zw := zip.NewWriter(&z)
	_, _ = zw.Create("a/../b")
	_ = zw.Close()
	f.Add(z.Bytes(), "zip", 0)
	f.Fuzz(func(t *testing.T, data []byte, format string, strip int) {
		if format != "tar" && format != "zip" && format != "gz" || strip < 0 {
			return
		}
		fd, err := unix.MemfdCreate("fuzz", unix.MFD_CLOEXEC) // a file on the disk takes longer than all that is looked at
		if err != nil {
			t.Fatal(err)
		}
		file := os.NewFile(uintptr(fd), "fuzz")
		defer file.Close()
		_, _ = file.Write(data)
		_, _ = file.Seek(0, io.SeekStart)
		const most = 1 << 20
		var out bytes.Buffer
		if err := unpack(&request{Format: spec.ArtifactFormat(format), Strip: strip, Name: "n", Mode: 0o644, Most: most}, file, &out); err != nil {
			return
		}
		r, size, links := tar.NewReader(&out), int64(0), map[string]bool{}
		for {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			name := strings.TrimSuffix(h.Name, "/")
			if name != "." && !filepath.IsLocal(name) || h.Mode&^0o777 != 0 || h.Typeflag == tar.TypeLink && !filepath.IsLocal(h.Linkname) {
				t.Fatalf("%+v", h)
			}
			for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
				if links[dir] {
					t.Fatalf("%s goes through the link %s", name, dir)
				}
			}
			links[name] = h.Typeflag == tar.TypeSymlink
			if size += h.Size; size > most {
				t.Fatalf("%d bytes", size)
			}
		}
	})
}
