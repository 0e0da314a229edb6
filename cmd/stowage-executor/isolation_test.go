package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/sys/unix"
)

// inside runs a script and fails unless it succeeds.
func (n *node) inside(spec executor.Spec) string {
	n.t.Helper()
	c, out := n.run(spec)
	if !c.Exit.Success() {
		n.t.Fatalf("%v\nstdout: %s\nstderr: %s", c.Exit, out, n.log(spec.ID, "stderr"))
	}
	return out
}

func fields(out string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		all[key] = strings.TrimSpace(value)
	}
	return all
}

func TestStatusOfTask(t *testing.T) {
	n := newNode(t)
	got := fields(n.inside(n.host("status", "cat /proc/self/status; echo Slack: $(cat /proc/self/timerslack_ns)")))
	// chown, dac_override, fowner, fsetid, kill, setgid, setuid, setpcap, net_bind_service, sys_chroot
	const caps = "00000000000405fb"
	want := map[string]string{
		"Seccomp": "2", "Seccomp_filters": "1", "NoNewPrivs": "1", "CapInh": "0000000000000000", "CapAmb": "0000000000000000",
		"Slack": "50000", "CapBnd": caps, "CapPrm": caps, "CapEff": caps,
	}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s is %s, want %s", key, got[key], value)
		}
	}
}

func TestNamespacesDiffer(t *testing.T) {
	n := newNode(t)
	out := n.inside(n.host("ns", "for i in mnt pid ipc uts net user cgroup; do echo $i: $(readlink /proc/self/ns/$i); done; echo pid: $$; hostname"))
	got := fields(out)
	for _, name := range []string{"mnt", "ipc", "uts", "net", "cgroup"} {
		here, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if got[name] == here || got[name] == "" {
			t.Errorf("namespace %s of the task is %q, ours %q", name, got[name], here)
		}
	}
	if here, _ := os.Readlink("/proc/self/ns/user"); got["user"] != here {
		t.Errorf("user namespace %s, want ours %s", got["user"], here)
	}
	if got["pid"] != "1" {
		t.Errorf("pid inside is %s, want 1", got["pid"])
	}
	if !strings.HasSuffix(out, "ns\n") {
		t.Errorf("hostname: %q", out)
	}
}

func TestNetworks(t *testing.T) {
	n := newNode(t)
	if out := n.inside(n.host("none", "tail -n +3 /proc/net/dev | cut -d: -f1; cat /sys/class/net/lo/operstate")); strings.Fields(out)[0] != "lo" || len(strings.Fields(out)) != 2 {
		t.Errorf("network none has %q", out)
	}
	spec := n.host("host", "readlink /proc/self/ns/net")
	spec.Network = executor.NetworkHost
	here, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	if out := n.inside(spec); strings.TrimSpace(out) != here {
		t.Errorf("network host is %q, want %q", out, here)
	}
}

func TestNetworkByPath(t *testing.T) {
	n := newNode(t)
	// The network of another container stands in for one that the agent made.
	if _, err := n.client.Start(t.Context(), n.host("first", "exec sleep 1000")); err != nil {
		t.Fatal(err)
	}
	c, err := n.client.Get(t.Context(), "first")
	if err != nil {
		t.Fatal(err)
	}
	path := "/proc/" + strconv.Itoa(c.Pid) + "/ns/net"
	want, err := os.Readlink(path)
	if err != nil {
		t.Fatal(err)
	}
	spec := n.host("second", "readlink /proc/self/ns/net")
	spec.Network = path
	if out := n.inside(spec); strings.TrimSpace(out) != want {
		t.Errorf("network is %q, want %q", out, want)
	}
}

func TestNothingOfTheNodeVisible(t *testing.T) {
	n := newNode(t)
	out := n.inside(n.host("files", `
for i in / /etc /var /var/lib /home /root /run /srv /opt /mnt /tmp; do echo "$i: $(ls -A $i | tr '\n' ' ')"; done
test ! -e /etc/shadow && test ! -e /etc/ssl/private && test ! -e /etc/ssh && echo "secrets: none"
grep -c . /etc/passwd >/dev/null && echo "passwd: there"
touch /usr/x 2>/dev/null || echo "usr: read-only"
touch /x 2>/dev/null || echo "root: read-only"
touch /etc/x 2>/dev/null || echo "etc: read-only"
touch /tmp/x && echo "tmp: writable"
touch /dev/x 2>/dev/null || echo "dev: read-only"`))
	got := fields(out)
	for _, dir := range []string{"/home", "/root", "/run", "/srv", "/opt", "/mnt", "/var/lib", "/tmp"} {
		if v, ok := got[dir]; !ok || v != "" {
			t.Errorf("%s holds %q, want nothing", dir, v)
		}
	}
	if got["/var"] != "cache lib log spool tmp" {
		t.Errorf("/var holds %q", got["/var"])
	}
	want := map[string]string{"secrets": "none", "passwd": "there", "usr": "read-only", "root": "read-only", "etc": "read-only",
		"tmp": "writable", "dev": "read-only"}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s: %q, want %q\n%s", key, got[key], value, out)
		}
	}
	for _, name := range strings.Fields(got["/"]) {
		known := []string{"bin", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "media", "mnt", "opt", "proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var"}
		if !slices.Contains(known, name) {
			t.Errorf("/%s is visible", name)
		}
	}
	mounts := n.inside(n.host("mounts", "cut -d' ' -f4,5 /proc/self/mountinfo"))
	if strings.Contains(mounts, n.dir+"/logs") || strings.Contains(mounts, "/containers") {
		t.Errorf("mounts show the executor's data:\n%s", mounts)
	}
}

func TestMaskedAndReadOnlyPaths(t *testing.T) {
	n := newNode(t)
	out := n.inside(n.host("masks", `
for i in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts /proc/sched_debug; do test -e $i && echo "$i: $(head -c 100 $i | wc -c)"; done
for i in /sys/firmware /proc/scsi /proc/acpi; do test -e $i && echo "$i: $(ls -A $i | wc -l)"; done
(echo 1 > /proc/sys/kernel/domainname) 2>/dev/null || echo "sysctl: refused"
(echo b > /proc/sysrq-trigger) 2>/dev/null || echo "sysrq: refused"
mkdir /sys/fs/cgroup/x 2>/dev/null || echo "cgroup: refused"
true`))
	got := fields(out)
	for key, value := range got {
		if strings.HasPrefix(key, "/") && value != "0" {
			t.Errorf("%s shows %s", key, value)
		}
	}
	if got["sysctl"] != "refused" || got["sysrq"] != "refused" || got["cgroup"] != "refused" {
		t.Errorf("kernel settings can be written: %s", out)
	}
	if _, ok := got["/proc/keys"]; !ok {
		t.Errorf("nothing was looked at: %s", out)
	}
}

func TestSeccompRefuses(t *testing.T) {
	n := newNode(t)
	spec := n.host("deny", `unshare -U true 2>&1; mount -t tmpfs x /tmp 2>&1; true`)
	spec.Capabilities = []string{"CAP_SYS_ADMIN"} // the kernel would let it; CAP_SYS_ADMIN opens the filter
	opened := n.inside(spec)
	if strings.Contains(opened, "mount:") {
		t.Errorf("with CAP_SYS_ADMIN mount is refused: %s", opened)
	}
	closed := n.inside(n.host("closed", `unshare -U true 2>&1 || echo unshare refused; mount -t tmpfs x /tmp >/dev/null 2>&1 || echo mount refused; dmesg >/dev/null 2>&1 || echo dmesg refused`))
	for _, want := range []string{"unshare refused", "mount refused", "dmesg refused"} {
		if !strings.Contains(closed, want) {
			t.Errorf("not %s: %s", want, closed)
		}
	}
	off := n.host("off", "cat /proc/self/status")
	off.Unconfined = true
	if got := fields(n.inside(off)); got["Seccomp"] != "0" {
		t.Errorf("unconfined task has seccomp %s", got["Seccomp"])
	}
}

func TestLimitsInCgroup(t *testing.T) {
	n := newNode(t)
	f, err := n.client.Ping(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	spec := n.host("limits", "exec sleep 1000")
	spec.CPUMillis, spec.CPUMaxMillis, spec.MemoryBytes, spec.MemoryMaxBytes, spec.PidsMax = 500, 1500, 32<<20, 48<<20, 77
	spec.CgroupParent = "group"
	if _, err := n.client.Start(t.Context(), spec); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"cpu/cpu.shares": "512", "cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000",
		"memory/memory.limit_in_bytes": "50331648", "memory/memory.soft_limit_in_bytes": "33554432", "pids/pids.max": "77",
	}
	if f.Cgroup == 2 {
		want = map[string]string{
			"cpu.weight": "50", "cpu.max": "150000 100000", "memory.max": "50331648", "memory.low": "33554432", "memory.swap.max": "0",
			"memory.oom.group": "1", "pids.max": "77", "cgroup.type": "domain",
		}
	}
	for file, value := range want {
		controller, name := filepath.Split(file)
		data, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", controller, n.parent, "group", "limits", name))
		if err != nil || strings.TrimSpace(string(data)) != value {
			t.Errorf("%s is %q, want %s (%v)", file, data, value, err)
		}
	}
	if f.Cgroup == 1 { // with v2 it is a program, and TestDevicesRefused tries what it does
		data, err := os.ReadFile(filepath.Join("/sys/fs/cgroup/devices", n.parent, "group/limits/devices.list"))
		if err != nil || strings.HasPrefix(string(data), "a ") {
			t.Errorf("devices allowed: %q (%v)", data, err)
		}
	}
	if f.Cgroup == 2 { // memory.low counts only as far as the cgroups above have it
		more := n.host("more", "exec sleep 1000")
		more.MemoryBytes, more.MemoryMaxBytes = 16<<20, 48<<20
		low := func(dir, want string) {
			t.Helper()
			if data, err := os.ReadFile(filepath.Join("/sys/fs/cgroup", n.parent, dir, "memory.low")); err != nil || strings.TrimSpace(string(data)) != want {
				t.Errorf("memory.low of %q is %q, want %s (%v)", dir, data, want, err)
			}
		}
		if _, err := n.client.Start(t.Context(), more); err != nil {
			t.Fatal(err)
		}
		low("group", "33554432")
		low("", "50331648")
		if err := n.client.Delete(t.Context(), "more"); err != nil {
			t.Fatal(err)
		}
		low("", "33554432")
	}
	stats, err := n.client.Stats(t.Context(), "limits")
	if err != nil || stats.Pids != 1 || stats.MemoryLimit != 48<<20 || stats.CPUNanos == 0 || stats.MemoryBytes == 0 {
		t.Errorf("stats %+v (%v)", stats, err)
	}
	if err := n.client.Delete(t.Context(), "limits"); err != nil {
		t.Fatal(err)
	}
	if left := n.cgroups(); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// Even a container that may make devices gets none but the harmless ones: v1 has a list for that, v2 a program.
func TestDevicesRefused(t *testing.T) {
	n := newNode(t)
	spec := n.host("mknod", "mknod /tmp/null c 1 3; mknod /tmp/memory c 1 1; echo x >/dev/null && echo null is there")
	spec.Capabilities, spec.Unconfined = []string{"CAP_MKNOD"}, true
	_, out := n.run(spec)
	if got := n.log("mknod", "stderr"); strings.Count(got, "Operation not permitted") != 2 || out != "null is there\n" {
		t.Errorf("stdout %q, stderr %q", out, got)
	}
}

func TestPidsLimitHoldsForks(t *testing.T) {
	n := newNode(t)
	spec := n.host("forks", "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1000 & done; echo unreachable")
	spec.PidsMax = 6
	c, _ := n.run(spec)
	if c.Exit.Success() || !strings.Contains(n.log("forks", "stderr"), "Cannot fork") {
		t.Errorf("exit %v, stderr %q: forks beyond the limit", c.Exit, n.log("forks", "stderr"))
	}
}

func TestKilledForMemory(t *testing.T) {
	n := newNode(t)
	direct := n.host("direct", "")
	direct.Command = []string{"perl", "-e", `my $x = "x" x (200 << 20); sleep 1000`}
	if c, _ := n.run(direct); !c.Exit.OOM || c.Exit.String() != "killed for memory at 64 MiB" {
		t.Errorf("exit %+v: %v", c.Exit, c.Exit)
	}
	child := n.host("child", `perl -e 'my $x = "x" x (200 << 20); sleep 1000'; exit $?`)
	if c, _ := n.run(child); !c.Exit.OOM || c.Exit.Code != 137 {
		t.Errorf("exit %+v: %v", c.Exit, c.Exit)
	}
}

func TestWritableRoot(t *testing.T) {
	n := newNode(t)
	upper := filepath.Join(n.dir, "upper")
	spec := n.host("writer", "echo kept > /var/lib/kept && echo changed >> /etc/hosts && mkdir /data && ls -ld /tmp | cut -c1-10")
	spec.Root.Writable = upper
	if out := n.inside(spec); out != "drwxrwxrwt\n" {
		t.Errorf("/tmp is %q", out)
	}
	if data, err := os.ReadFile(filepath.Join(upper, "var/lib/kept")); err != nil || string(data) != "kept\n" {
		t.Errorf("written file: %q, %v", data, err)
	}
	again := n.host("reader", "cat /var/lib/kept; test -d /data")
	again.Root.Writable = upper
	if err := n.client.Delete(t.Context(), "writer"); err != nil {
		t.Fatal(err)
	}
	if out := n.inside(again); out != "kept\n" {
		t.Errorf("second container reads %q", out)
	}
	other := n.host("other", "test ! -e /data && grep -c changed /etc/hosts")
	if c, out := n.run(other); c.Exit.Code != 1 || out != "0\n" {
		t.Errorf("another container sees the change: %v %q", c.Exit, out)
	}
}

func TestBindMounts(t *testing.T) {
	n := newNode(t)
	source := filepath.Join(n.dir, "source")
	if err := os.MkdirAll(source, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(source, "file"), []byte("data\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, writable := range []string{"", filepath.Join(n.dir, "upper")} {
		spec := n.host("mounts"+strconv.Itoa(len(writable)), `
cat /data/rw/file /data/file && echo more > /data/rw/new && (touch /data/ro/x 2>/dev/null || echo read-only)`)
		spec.Root.Writable = writable
		spec.Mounts = []executor.Mount{
			{Source: source, Target: "/data/rw"}, {Source: source, Target: "/data/ro", ReadOnly: true},
			{Source: filepath.Join(source, "file"), Target: "/data/file", ReadOnly: true},
		}
		if out := n.inside(spec); out != "data\ndata\nread-only\n" {
			t.Errorf("out %q", out)
		}
	}
	if _, err := os.Stat(filepath.Join(source, "new")); err != nil {
		t.Errorf("write into the mount: %v", err)
	}
}

// An image needs a program without libraries: the executor itself, which can print its version.
func TestLayers(t *testing.T) {
	n := newNode(t)
	low, high := filepath.Join(n.dir, "low"), filepath.Join(n.dir, "high")
	for _, dir := range []string{low + "/bin", high + "/etc"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("cp", build(t), low+"/bin/tool").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.WriteFile(high+"/etc/passwd", []byte("app:x:1234:1234::/home:/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	spec := n.host("layers", "")
	spec.Command = []string{"tool", "--version"}
	spec.User = "app"
	spec.Root = executor.Root{Kind: executor.RootLayers, Layers: []string{low, high}, Writable: filepath.Join(n.dir, "upper")}
	if out := n.inside(spec); !strings.HasPrefix(out, "stowage-executor ") {
		t.Errorf("out %q", out)
	}
	spec.ID, spec.Root.Writable = "readonly", ""
	spec.Log.Task = "readonly"
	if out := n.inside(spec); !strings.HasPrefix(out, "stowage-executor ") {
		t.Errorf("out %q", out)
	}
	if entries, _ := os.ReadDir(low); len(entries) != 1 {
		t.Errorf("layer was changed: %v", entries)
	}
}

// Layers of a store without root hide what is below with attributes of users. Here the upper one hides the account file, so a user is
// known only if the attribute is not looked at.
func TestLayersWithUserAttributes(t *testing.T) {
	n := newNode(t)
	low, high := filepath.Join(n.dir, "low"), filepath.Join(n.dir, "high")
	for _, dir := range []string{low + "/bin", low + "/etc", high + "/etc"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("cp", build(t), low+"/bin/tool").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.WriteFile(low+"/etc/passwd", []byte("app:x:1234:1234::/home:/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(high+"/etc", "user.overlay.opaque", []byte("y"), 0); err != nil {
		t.Skipf("no attributes of users in %s: %v", n.dir, err)
	}
	for i, writable := range []string{"", filepath.Join(n.dir, "upper")} {
		spec := n.host(fmt.Sprint("plain", i), "")
		spec.Command, spec.User = []string{"tool", "--version"}, "app"
		spec.Root = executor.Root{Kind: executor.RootLayers, Layers: []string{low, high}, Writable: writable}
		if out := n.inside(spec); !strings.HasPrefix(out, "stowage-executor ") {
			t.Errorf("without attributes: out %q", out)
		}
		spec.ID, spec.Root.UserXattr = fmt.Sprint("hiding", i), true
		if _, err := n.client.Start(t.Context(), spec); !errors.Is(err, executor.ErrInvalid) {
			t.Errorf("with attributes: the hidden account file was seen: %v", err)
		}
	}
}

func TestUser(t *testing.T) {
	n := newNode(t)
	for id, test := range map[string]struct{ user, want string }{
		"number": {"1234:77", "1234 77\n"}, "name": {"nobody", "65534 65534\n"}, "root": {"", "0 0\n"},
	} {
		spec := n.host(id, "echo $(id -u) $(id -g); echo reopened > /dev/stdout")
		spec.User = test.user
		if out := n.inside(spec); out != test.want+"reopened\n" {
			t.Errorf("user %q: %q", test.user, out)
		}
	}
	spec := n.host("unknown", "true")
	spec.User = "nosuchuser"
	if _, err := n.client.Start(t.Context(), spec); !errors.Is(err, executor.ErrInvalid) {
		t.Errorf("unknown user: %v", err)
	}
}

// A pipe in the place of an account file is refused, whether an image brings it or a task makes it, and holds up nobody.
func TestAccountsThatAreAPipe(t *testing.T) {
	n := newNode(t)
	low := filepath.Join(n.dir, "low")
	for _, dir := range []string{low + "/bin", low + "/etc"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(low+"/etc/passwd", 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, executor.ErrInvalid) || !strings.Contains(err.Error(), "/etc/passwd in the container is no regular file") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range 2*runtime.NumCPU() + 3 { // more than may be created at once
		spec := n.host(fmt.Sprint("image", i), "true")
		spec.User, spec.Root = "app", executor.Root{Kind: executor.RootLayers, Layers: []string{low}, Writable: filepath.Join(n.dir, fmt.Sprint("upper", i))}
		_, err := n.client.Start(ctx, spec)
		refused("an image with a pipe", err)
	}
	spec := n.host("task", "rm /etc/passwd && mkfifo /etc/passwd && echo made; exec sleep 1000")
	spec.Root.Writable = filepath.Join(n.dir, "upper")
	if _, err := n.client.Start(ctx, spec); err != nil {
		t.Fatal(err)
	}
	n.await("the pipe of the task", func() bool { return n.log("task", "stdout") == "made\n" })
	_, err := n.client.Exec(ctx, "task", executor.ExecSpec{Command: []string{"true"}, User: "nobody"}, executor.Streams{})
	refused("a task with a pipe", err)
	if out := n.inside(n.host("another", "echo runs")); out != "runs\n" {
		t.Errorf("another task: %q", out)
	}
}

func TestUserNamespace(t *testing.T) {
	n := newNode(t)
	spec := n.host("userns", "id -u; cat /proc/self/uid_map; touch /tmp/x /new && ls -n /new | cut -d' ' -f3; exec sleep 1000")
	spec.UserNamespace = true
	spec.Root.Writable = filepath.Join(n.dir, "upper")
	c, err := n.client.Start(t.Context(), spec)
	if err != nil {
		t.Fatalf("%v\n%s", err, n.stderr)
	}
	n.await("output", func() bool { return strings.Count(n.log("userns", "stdout"), "\n") == 3 })
	if got := strings.Fields(n.log("userns", "stdout")); got[0] != "0" || got[2] == "0" || got[4] != "0" {
		t.Errorf("inside: %q", got)
	}
	var st unix.Stat_t
	if err := unix.Stat("/proc/"+strconv.Itoa(c.Pid), &st); err != nil || st.Uid == 0 {
		t.Errorf("outside it runs as user %d (%v)", st.Uid, err)
	}
}

func TestNodeMountsUnchanged(t *testing.T) {
	n := newNode(t)
	before, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	spec := n.host("one", "exec sleep 1000")
	spec.Root.Writable = filepath.Join(n.dir, "upper")
	if _, err := n.client.Start(context.Background(), spec); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if string(before) != string(after) {
		t.Errorf("mounts of the node changed:\n%s\n%s", before, after)
	}
}

func TestCommandErrors(t *testing.T) {
	n := newNode(t)
	for name, command := range map[string]string{"missing": "no-such-program", "path": "/no/such/program", "folder": "/etc", "file": "/etc/passwd"} {
		spec := n.host(name, "")
		spec.Command = []string{command}
		if _, err := n.client.Start(t.Context(), spec); !errors.Is(err, executor.ErrCommand) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := n.client.Get(t.Context(), name); !errors.Is(err, executor.ErrNotFound) {
			t.Errorf("%s is left behind: %v", name, err)
		}
	}
}
