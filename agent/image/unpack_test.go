package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// testLimits are small, so that tests reach them.
var testLimits = Limits{
	LayerBytes: 1 << 20, LayerEntries: 100, LayerSteps: 2000, Layers: 10, Ratio: 20, RatioFloor: 64 << 10, NameBytes: 1000, NameDepth: 50,
	FolderNames: 4000, ArchiveBytes: 1 << 20, Document: 1 << 20,
}

// form is what this process can do.
func form(t testing.TB) overlayForm {
	t.Helper()
	f, err := probeForm()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// probeForm asks a store once.
var probeForm = sync.OnceValues(func() (overlayForm, error) {
	dir, err := os.MkdirTemp("", "form-")
	if err != nil {
		return overlayForm{}, err
	}
	defer os.RemoveAll(dir)
	s, err := Open(dir)
	if err != nil {
		return overlayForm{}, err
	}
	return s.form, s.Close()
})

// layerDir unpacks tar archives on top of each other, and returns the folder of the last one with the error.
func layerDir(t testing.TB, layers ...[]byte) (string, error) {
	t.Helper()
	f := form(t)
	var lowers []string
	var dir string
	for _, data := range layers {
		dir = filepath.Join(t.TempDir(), "layer")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := unpack(t.Context(), bytes.NewReader(data), dir, lowers, f, testLimits); err != nil {
			return dir, err
		}
		lowers = append([]string{dir}, lowers...)
	}
	return dir, nil
}

// show describes a layer, one line for each entry: kind, mode, path, and what it holds or where it leads.
func show(t testing.TB, dir string) string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(name)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, name)
		line := ""
		switch mode := info.Mode(); {
		case isWhiteout(info):
			line = "gone " + rel
		case mode.IsDir():
			var value [1]byte
			if n, err := unix.Lgetxattr(name, form(t).xattr, value[:]); err == nil && n == 1 && value[0] == 'y' {
				line = "opaque " + rel
			} else if rel != "." {
				line = "dir " + rel
			}
		case mode&fs.ModeSymlink != 0:
			target, _ := os.Readlink(name)
			line = "link " + rel + " > " + target
		case mode&fs.ModeNamedPipe != 0:
			line = "fifo " + rel
		default:
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			line = "file " + rel + " = " + string(data)
		}
		if line != "" {
			out = append(out, line)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, "\n")
}

func TestUnpack(t *testing.T) {
	etc := []entry{{name: "etc/"}, {name: "etc/a", body: "1"}, {name: "etc/sub/"}, {name: "etc/sub/b", body: "2"}}
	merged := []entry{{name: "usr/"}, {name: "usr/bin/", mode: 0o711}, {name: "bin", kind: tar.TypeSymlink, link: "usr/bin"}, {name: "abs", kind: tar.TypeSymlink, link: "/usr/bin"}}
	for name, c := range map[string]struct {
		lower, layer []entry
		want         string
	}{
		"leading slashes and dots":               {nil, []entry{{name: "/a", body: "1"}, {name: "./b/./c", body: "2"}, {name: "./"}}, "file a = 1\ndir b\nfile b/c = 2"},
		"a later entry replaces an earlier one":  {nil, []entry{{name: "a", body: "old"}, {name: "a", body: "new"}}, "file a = new"},
		"a file replaces a folder":               {nil, []entry{{name: "a/b/c", body: "1"}, {name: "a", body: "2"}}, "file a = 2"},
		"a folder replaces a file":               {nil, []entry{{name: "a", body: "2"}, {name: "a/"}, {name: "a/b", body: "1"}}, "dir a\nfile a/b = 1"},
		"a folder twice keeps what is in it":     {nil, []entry{{name: "a/"}, {name: "a/b", body: "1"}, {name: "a/"}}, "dir a\nfile a/b = 1"},
		"a folder replaces a link":               {nil, []entry{{name: "b/"}, {name: "a", kind: tar.TypeSymlink, link: "b"}, {name: "a/"}, {name: "a/x"}}, "dir a\nfile a/x = \ndir b"},
		"links are kept as they are":             {nil, []entry{{name: "a", kind: tar.TypeSymlink, link: "../../../etc/passwd"}, {name: "b", kind: tar.TypeSymlink, link: "/etc/passwd"}}, "link a > ../../../etc/passwd\nlink b > /etc/passwd"},
		"hard links":                             {nil, []entry{{name: "d/a", body: "1"}, {name: "b", kind: tar.TypeLink, link: "d/a"}, {name: "d/c", kind: tar.TypeLink, link: "/b"}}, "file b = 1\ndir d\nfile d/a = 1\nfile d/c = 1"},
		"a hard link to a symbolic link":         {nil, []entry{{name: "a", kind: tar.TypeSymlink, link: "/etc/passwd"}, {name: "b", kind: tar.TypeLink, link: "a"}}, "link a > /etc/passwd\nlink b > /etc/passwd"},
		"a hard link replaces a file":            {nil, []entry{{name: "a", body: "1"}, {name: "b", body: "2"}, {name: "b", kind: tar.TypeLink, link: "a"}}, "file a = 1\nfile b = 1"},
		"a fifo":                                 {nil, []entry{{name: "a/p", kind: tar.TypeFifo}}, "dir a\nfifo a/p"},
		"whiteouts of the lowest layer":          {nil, []entry{{name: ".wh.a"}, {name: "b/.wh..wh..opq"}, {name: ".wh..wh.plnk", body: "x"}}, "dir b"},
		"a whiteout":                             {etc, []entry{{name: "etc/.wh.a"}, {name: "etc/.wh.sub"}}, "dir etc\ngone etc/a\ngone etc/sub"},
		"a whiteout before and after its file":   {etc, []entry{{name: "etc/.wh.a"}, {name: "etc/a", body: "new"}, {name: "etc/.wh.a"}}, "dir etc\nfile etc/a = new"},
		"a whiteout, then a folder":              {etc, []entry{{name: "etc/.wh.sub"}, {name: "etc/sub/"}, {name: "etc/sub/c", body: "3"}}, "dir etc\nopaque etc/sub\nfile etc/sub/c = 3"},
		"a whiteout, then a file in the folder":  {etc, []entry{{name: "etc/.wh.sub"}, {name: "etc/sub/c", body: "3"}}, "dir etc\nopaque etc/sub\nfile etc/sub/c = 3"},
		"a folder, then a whiteout":              {etc, []entry{{name: "etc/sub/c", body: "3"}, {name: "etc/.wh.sub"}}, "dir etc\nopaque etc/sub\nfile etc/sub/c = 3"},
		"an opaque folder":                       {etc, []entry{{name: "etc/c", body: "3"}, {name: "etc/.wh..wh..opq"}}, "opaque etc\nfile etc/c = 3"},
		"an opaque root":                         {etc, []entry{{name: ".wh..wh..opq"}, {name: "a", body: "1"}}, "opaque .\nfile a = 1"},
		"a file below a link of a lower layer":   {merged, []entry{{name: "bin/sh", body: "sh"}, {name: "abs/ls", body: "ls"}}, "dir usr\ndir usr/bin\nfile usr/bin/ls = ls\nfile usr/bin/sh = sh"},
		"… unless the link is hidden":            {merged, []entry{{name: ".wh.bin"}, {name: "bin/sh", body: "sh"}}, "opaque bin\nfile bin/sh = sh"},
		"… or everything is":                     {merged, []entry{{name: ".wh..wh..opq"}, {name: "bin/sh", body: "sh"}}, "opaque .\ndir bin\nfile bin/sh = sh"},
		"links cannot leave the image":           {nil, []entry{{name: "out", kind: tar.TypeSymlink, link: "../../../../tmp"}, {name: "out/x", body: "1"}, {name: "in", kind: tar.TypeSymlink, link: "/"}, {name: "in/y", body: "2"}}, "link in > /\nlink out > ../../../../tmp\ndir tmp\nfile tmp/x = 1\nfile y = 2"},
		"a hard link through links stays inside": {nil, []entry{{name: "tmp/x", body: "1"}, {name: "out", kind: tar.TypeSymlink, link: "../../tmp"}, {name: "y", kind: tar.TypeLink, link: "out/x"}}, "link out > ../../tmp\ndir tmp\nfile tmp/x = 1\nfile y = 1"},
		"a folder that becomes a link":           {nil, []entry{{name: "a/"}, {name: "a/s/", mode: 0o700}, {name: "b/s/", mode: 0o755}, {name: "a", kind: tar.TypeSymlink, link: "b"}}, "link a > b\ndir b\ndir b/s"},
		"a global header":                        {nil, []entry{{kind: tar.TypeXGlobalHeader, pax: map[string]string{"comment": "x"}}, {name: "a", body: "1"}}, "file a = 1"},
	} {
		t.Run(name, func(t *testing.T) {
			layers := [][]byte{tarOf(t, c.layer...)}
			if c.lower != nil {
				layers = [][]byte{tarOf(t, c.lower...), tarOf(t, c.layer...)}
			}
			dir, err := layerDir(t, layers...)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(t, dir); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
		})
	}
}

func TestUnpackRefusesHostileLayers(t *testing.T) {
	long := strings.Repeat("x", maxComponent+1)
	deep := strings.Repeat("d/", 60)
	many := func(n int, f func(i int) entry) (list []entry) {
		for i := range n {
			list = append(list, f(i))
		}
		return list
	}
	for name, c := range map[string]struct {
		entries []entry
		raw     []byte
		wrong   string
	}{
		"a name that climbs":            {entries: []entry{{name: "../x", body: "1"}}, wrong: `".."`},
		"a name that climbs inside":     {entries: []entry{{name: "a/../../x", body: "1"}}, wrong: `".."`},
		"an absolute name that climbs":  {entries: []entry{{name: "/../x", body: "1"}}, wrong: `".."`},
		"a folder that climbs":          {entries: []entry{{name: "../"}}, wrong: `".."`},
		"a hard link that climbs":       {entries: []entry{{name: "x", kind: tar.TypeLink, link: "../../etc/passwd"}}, wrong: `".."`},
		"a hard link to the host":       {entries: []entry{{name: "x", kind: tar.TypeLink, link: "/etc/passwd"}}, wrong: "not in this layer"},
		"… through a link":              {entries: []entry{{name: "l", kind: tar.TypeSymlink, link: "/etc"}, {name: "x", kind: tar.TypeLink, link: "l/passwd"}}, wrong: "not in this layer"},
		"… in the root":                 {entries: []entry{{name: "x", kind: tar.TypeLink, link: "passwd"}}, wrong: "not a file of this layer"},
		"a hard link to itself":         {entries: []entry{{name: "x", body: "1"}, {name: "x", kind: tar.TypeLink, link: "x"}}, wrong: "itself"},
		"a hard link to a folder":       {entries: []entry{{name: "d/"}, {name: "x", kind: tar.TypeLink, link: "d"}}, wrong: "not a file"},
		"a hard link into its own ruin": {entries: []entry{{name: "d/x", body: "1"}, {name: "d", kind: tar.TypeLink, link: "d/x"}}, wrong: "the folder that it replaces"},
		"a character device":            {entries: []entry{{name: "dev/null", kind: tar.TypeChar}}, wrong: "devices"},
		"a block device":                {entries: []entry{{name: "dev/sda", kind: tar.TypeBlock}}, wrong: "devices"},
		"an unknown kind":               {entries: []entry{{name: "x", kind: 'Z'}}, wrong: "not known"},
		"a root that is a link":         {entries: []entry{{name: "./", kind: tar.TypeSymlink, link: "/"}}, wrong: "must be a folder"},
		"a file below a file":           {entries: []entry{{name: "a", body: "1"}, {name: "a/b", body: "1"}}, wrong: "not a folder"},
		"links in a circle":             {entries: []entry{{name: "a", kind: tar.TypeSymlink, link: "b"}, {name: "b", kind: tar.TypeSymlink, link: "a"}, {name: "a/x"}}, wrong: "symbolic links on the way"},
		"links that multiply": {entries: append(many(45, func(i int) entry {
			return entry{name: fmt.Sprint("l", i), kind: tar.TypeSymlink, link: fmt.Sprintf("l%d/../l%d", i+1, i+1)}
		}), entry{name: "l0/x"}), wrong: "symbolic links on the way"},
		"an empty target":             {entries: []entry{{name: "a", kind: tar.TypeSymlink}}, wrong: "target of the link"},
		"a huge target":               {entries: []entry{{name: "a", kind: tar.TypeSymlink, link: strings.Repeat("y/", 600)}}, wrong: "target of the link"},
		"a long component":            {entries: []entry{{name: long}}, wrong: "longer than 255"},
		"a long component of a link":  {entries: []entry{{name: "a", kind: tar.TypeSymlink, link: long}, {name: "a/b"}}, wrong: "longer than 255"},
		"a long name":                 {entries: []entry{{name: strings.Repeat("y/", 600)}}, wrong: "longer than 1000"},
		"a deep name":                 {entries: []entry{{name: deep}}, wrong: "more than 50 components"},
		"too many entries":            {entries: many(101, func(i int) entry { return entry{name: fmt.Sprint(i)} }), wrong: "more than 100 entries"},
		"too many long folders":       {entries: many(90, func(i int) entry { return entry{name: fmt.Sprintf("%0100d/", i)} }), wrong: "names of folders"},
		"too many folders on the way": {entries: many(10, func(i int) entry { return entry{name: fmt.Sprint(i, "/", strings.Repeat("d/", 20), "x")} }), wrong: "more than 100 entries"},
		"a link that leads too deep":  {entries: []entry{{name: "a", kind: tar.TypeSymlink, link: strings.Repeat("d/", 45)}, {name: "b", kind: tar.TypeSymlink, link: "a/" + strings.Repeat("d/", 10)}, {name: "b/x"}}, wrong: "50 folders deep"},
		"links that lead around":      {entries: wander(), wrong: "lead around"},
		"a whiteout of nothing":       {entries: []entry{{name: ".wh."}}, wrong: "whiteout of nothing"},
		"a whiteout of the parent":    {entries: []entry{{name: "a/.wh..."}}, wrong: "whiteout of nothing"},
		"a whiteout of the folder":    {entries: []entry{{name: "a/.wh.."}}, wrong: "whiteout of nothing"},
		"an entry below a whiteout":   {entries: []entry{{name: ".wh.a/b"}}, wrong: "below a whiteout"},
		"too many bytes":              {raw: tarOf(t, entry{name: "a", body: strings.Repeat("x", 1<<20)}), wrong: "larger than"},
		"a gzip bomb":                 {raw: gzipped(t, tarOf(t, entry{name: "a", body: strings.Repeat("x", 1<<19)})), wrong: "bomb"},
		"a zstd bomb":                 {raw: zstded(t, tarOf(t, entry{name: "a", body: strings.Repeat("x", 1<<19)})), wrong: "bomb"},
		"a bomb behind the end":       {raw: gzipped(t, append(tarOf(t, entry{name: "a"}), make([]byte, 1<<19)...)), wrong: "bomb"},
		"a size that is a lie":        {raw: tarOf(t, entry{name: "a", body: strings.Repeat("x", 4096)})[:2048], wrong: "unexpected EOF"},
		"rubbish":                     {raw: bytes.Repeat([]byte("rubbish"), 400), wrong: "read layer"},
		"gzip rubbish":                {raw: append([]byte{0x1f, 0x8b}, bytes.Repeat([]byte("x"), 100)...), wrong: "gzip"},
		"a sparse bomb":               {raw: sparseBomb(), wrong: "larger than"},
		"an owner out of range":       {raw: oddOwner(t), wrong: "owner"},
	} {
		t.Run(name, func(t *testing.T) {
			raw := c.raw
			if raw == nil {
				raw = tarOf(t, c.entries...)
			}
			lower := tarOf(t, entry{name: "lower", body: "x"}) // so that whiteouts mean something
			_, err := layerDir(t, lower, raw)
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Fatalf("got %v, want an error with %q", err, c.wrong)
			}
			if len(err.Error()) > 500 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

// wander is a link that goes through many folders, and entries that follow it.
func wander() []entry {
	list := []entry{{name: "l", kind: tar.TypeSymlink, link: strings.Repeat("a/../b/../", 50)}}
	for i := range 80 {
		list = append(list, entry{name: fmt.Sprint("l/", i)})
	}
	return list
}

// sparseBomb is an archive of two blocks whose only file claims to have 1 TiB, by a PAX sparse map without data.
func sparseBomb() []byte {
	var out bytes.Buffer
	block := func(name string, kind byte, size int, body string) {
		var h [512]byte
		copy(h[0:], name)
		copy(h[100:], "0000644\x000000000\x000000000\x00")
		copy(h[124:], fmt.Sprintf("%011o\x00%011o\x00", size, 0))
		copy(h[148:], "        ")
		h[156] = kind
		copy(h[257:], "ustar\x0000")
		sum := 0
		for _, b := range h {
			sum += int(b)
		}
		copy(h[148:], fmt.Sprintf("%06o\x00 ", sum))
		out.Write(h[:])
		out.WriteString(body)
		out.Write(make([]byte, (512-len(body)%512)%512))
	}
	record := func(key, value string) string {
		n := len(key) + len(value) + 3
		for len(fmt.Sprint(n))+len(key)+len(value)+3 != n {
			n = len(fmt.Sprint(n)) + len(key) + len(value) + 3
		}
		return fmt.Sprintf("%d %s=%s\n", n, key, value)
	}
	pax := record("GNU.sparse.major", "1") + record("GNU.sparse.minor", "0") + record("GNU.sparse.name", "big") + record("GNU.sparse.realsize", "1099511627776")
	block("pax", tar.TypeXHeader, len(pax), pax)
	block("big", tar.TypeReg, 512, "1\n1099511627776\n0\n"+strings.Repeat("\x00", 494))
	out.Write(make([]byte, 1024))
	return out.Bytes()
}

// oddOwner is an archive with a file of an owner that Linux does not have.
func oddOwner(t testing.TB) []byte {
	return tarOf(t, entry{name: "a", uid: 1 << 33})
}

func TestUnpackKeepsMetadata(t *testing.T) {
	dir, err := layerDir(t,
		tarOf(t, entry{name: "./", mode: 0o711}, entry{name: "srv/", mode: 0o2750, uid: 33}),
		tarOf(t, entry{name: "srv/ping", body: "x", mode: 0o4755, uid: 33, pax: map[string]string{
			paxXattr + "user.note": "kept", paxXattr + "user.overlay.redirect": "/x", paxXattr + "trusted.overlay.redirect": "/x", paxXattr + "security.evil": "x",
		}}, entry{name: "srv/twice/", mode: 0o700}, entry{name: "srv/twice/a"}, entry{name: "srv/twice/", mode: 0o751},
			entry{name: "srv/read-only/", mode: 0o555}, entry{name: "srv/read-only/a"},
			entry{name: "srv/link", kind: tar.TypeSymlink, link: "ping", uid: 33}))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{
		".":             fs.ModeDir | 0o711, // from the layer below, as are
		"srv":           fs.ModeDir | fs.ModeSetgid | 0o750,
		"srv/ping":      fs.ModeSetuid | 0o755,
		"srv/twice":     fs.ModeDir | 0o751,
		"srv/read-only": fs.ModeDir | 0o555,
		"srv/link":      fs.ModeSymlink | 0o777,
	} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got := info.Mode()
		if os.Geteuid() != 0 && got.IsDir() {
			want |= 0o700
		}
		if got != want {
			t.Errorf("%s has mode %v, want %v", name, got, want)
		}
		if name != "." && name != "srv" && !info.ModTime().Equal(testTime) {
			t.Errorf("%s is of %v, want %v", name, info.ModTime(), testTime)
		}
		if uid := info.Sys().(*syscall.Stat_t).Uid; os.Geteuid() == 0 && strings.HasSuffix("srv/ping", name) && uid != 33 {
			t.Errorf("%s belongs to %d, want 33", name, uid)
		}
	}
	ping := filepath.Join(dir, "srv/ping")
	value := make([]byte, 16)
	if n, err := unix.Lgetxattr(ping, "user.note", value); err != nil || string(value[:n]) != "kept" {
		t.Errorf("user.note: %q, %v", value[:max(n, 0)], err)
	}
	for _, name := range []string{"user.overlay.redirect", "trusted.overlay.redirect", "security.evil"} {
		if _, err := unix.Lgetxattr(ping, name, value); err == nil {
			t.Errorf("the attribute %s was taken over from the image", name)
		}
	}
}

func TestUnpackOddTimes(t *testing.T) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i, at := range []time.Time{time.Unix(-1<<40, 0), time.Unix(1<<50, 0)} {
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprint(i), Format: tar.FormatPAX, ModTime: at, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := layerDir(t, out.Bytes()); err != nil {
		t.Error(err)
	}
}

// FuzzUnpack unpacks anything on top of a layer with links, and checks that nothing outside of the layer was touched.
func FuzzUnpack(f *testing.F) {
	f.Add(tarOf(f, entry{name: "a/b", body: "1"}, entry{name: "etc/.wh.a"}, entry{name: "bin/x"}, entry{name: ".wh..wh..opq"}))
	f.Add(tarOf(f, entry{name: "l", kind: tar.TypeSymlink, link: "../.."}, entry{name: "l/x", body: "1"}, entry{name: "h", kind: tar.TypeLink, link: "l/x"}))
	f.Add(tarOf(f, entry{name: "p", kind: tar.TypeFifo}, entry{name: "d", kind: tar.TypeChar}, entry{name: "../x"}))
	f.Add(gzipped(f, tarOf(f, entry{name: "a"})))
	f.Add(zstded(f, tarOf(f, entry{name: "a"})))
	f.Add(sparseBomb())
	f.Add([]byte("rubbish"))
	base := f.TempDir()
	form := form(f)
	lower := filepath.Join(base, "lower")
	canary := filepath.Join(base, "canary")
	for _, dir := range []string{lower, canary} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			f.Fatal(err)
		}
	}
	bottom := tarOf(f, entry{name: "etc/a", body: "1"}, entry{name: "bin", kind: tar.TypeSymlink, link: "/usr/bin"},
		entry{name: "up", kind: tar.TypeSymlink, link: "../canary"}, entry{name: "host", kind: tar.TypeSymlink, link: canary})
	if _, err := unpack(f.Context(), bytes.NewReader(bottom), lower, nil, form, testLimits); err != nil {
		f.Fatal(err)
	}
	before := show(f, base)
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := filepath.Join(base, "layer")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_, _ = unpack(t.Context(), bytes.NewReader(data), dir, []string{lower}, form, testLimits)
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if after := show(t, base); after != before {
			t.Fatalf("outside of the layer there is now\n%s\nand was\n%s", after, before)
		}
	})
}

// BenchmarkUnpack unpacks a layer like that of a small distribution: 4,000 files of 8 KiB in 400 folders, gzip.
func BenchmarkUnpack(b *testing.B) {
	var entries []entry
	body := strings.Repeat("0123456789abcdef\n", 482)
	for d := range 400 {
		entries = append(entries, entry{name: fmt.Sprintf("usr/share/doc/package%d/", d)})
		for i := range 10 {
			entries = append(entries, entry{name: fmt.Sprintf("usr/share/doc/package%d/file%d", d, i), body: body[i:]})
		}
	}
	plain := tarOf(b, entries...)
	data := gzipped(b, plain)
	form := form(b)
	b.SetBytes(int64(len(plain)))
	for i := 0; b.Loop(); i++ {
		dir := filepath.Join(b.TempDir(), fmt.Sprint(i))
		if err := os.Mkdir(dir, 0o700); err != nil {
			b.Fatal(err)
		}
		if _, err := unpack(b.Context(), bytes.NewReader(data), dir, nil, form, DefaultLimits); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := os.RemoveAll(dir); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N)*4400/b.Elapsed().Seconds(), "files/s")
}
