package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// attempt is something that an isolated task should not be able to do, and how it ends. Each has to end so in a task as it is by default, and
// in others for as far as it says: what succeeds where the protection is off is known to be a real attempt.
type attempt struct {
	what string // for people
	do   string // a shell command that prints how it ended; try is testdata/try
	ends map[string]string
	file string // without which on the node there is nothing to try; "": it is always there
}

// The ways in which a task is isolated here. What is not in ends is not tried: it would harm the machine of the test.
const (
	asDefault = "by default"
	noFilter  = "without the filter" // capabilities and masks stay
	asAdmin   = "with SYS_ADMIN"     // and without the filter; masks and devices stay
	withRaw   = "with NET_RAW"
	withNodes = "with MKNOD"
	asAll     = "privileged"
	outside   = "outside" // on the node itself
)

// An ending that begins with "!" is anything but that.
func (a *attempt) endsAs(got, want string) bool {
	if not, ok := strings.CutPrefix(want, "!"); ok {
		return got != not && got != ""
	}
	return got == want
}

func (n *node) attempts() []attempt {
	same := func(file string) string { return fmt.Sprintf(`try write %s "$(cat %s)"`, file, file) }
	secret := filepath.Join(n.dir, "secret")
	if err := os.WriteFile(secret, []byte("of the node"), 0o600); err != nil {
		n.t.Fatal(err)
	}
	readAhead := "$(ls -d /sys/block/*/queue/read_ahead_kb | head -n 1)"
	return []attempt{
		{"mount a file system", "try mount tmpfs /mnt", map[string]string{asDefault: "EPERM", noFilter: "EPERM", asAdmin: "ok", asAll: "ok"}, ""},
		{"mount by the new calls", "try fsopen", map[string]string{asDefault: "EPERM", noFilter: "EPERM", asAdmin: "ok"}, ""},
		{"show a folder elsewhere", "try bind /usr /mnt", map[string]string{asDefault: "EPERM", noFilter: "EPERM", asAdmin: "ok"}, ""},
		{"take a mask away", "try umount /proc/timer_list", map[string]string{asDefault: "EPERM", noFilter: "EPERM", asAdmin: "ok"}, ""},
		{"take the protection of settings away", "try umount /proc/sys", map[string]string{asDefault: "EPERM", noFilter: "EPERM", asAdmin: "ok"}, ""},
		{"mount cgroups, for release_agent", "try mount cgroup2 /mnt", map[string]string{asDefault: "EPERM", noFilter: "EPERM", asAdmin: "ok"}, ""},
		{"name a program for core dumps", same("/proc/sys/kernel/core_pattern"), map[string]string{asDefault: "EROFS", noFilter: "EROFS", asAll: "ok", outside: "ok"}, ""},
		{"name a program for modules", same("/proc/sys/kernel/poweroff_cmd"), map[string]string{asDefault: "EROFS", noFilter: "EROFS", asAll: "ok"}, ""},
		{"press the keys of the kernel", "try write /proc/sysrq-trigger h", map[string]string{asDefault: "EROFS", noFilter: "EROFS", asAll: "ok"}, "/proc/sysrq-trigger"},
		{"set what the kernel shows in /sys", same(readAhead), map[string]string{asDefault: "EROFS", noFilter: "EROFS", asAll: "ok", outside: "ok"}, ""},
		{"read the kernel's memory", "try read /proc/kcore", map[string]string{asDefault: "empty", noFilter: "empty", asAll: "ok"}, "/proc/kcore"},
		{"read where the kernel keeps what", "try read /proc/timer_list", map[string]string{asDefault: "empty", noFilter: "empty", asAll: "ok", outside: "ok"}, ""},
		{"make a device of the disk", "try mknod /tmp/disk b 254 0", map[string]string{asDefault: "EPERM", noFilter: "EPERM", withNodes: "EPERM", asAll: "ok"}, ""},
		{"make a device of the memory", "try mknod /tmp/mem c 1 1", map[string]string{asDefault: "EPERM", noFilter: "EPERM", withNodes: "EPERM", asAll: "ok"}, ""},
		{"open a device of the node", "try read /dev/kmsg", map[string]string{asDefault: "ENOENT", noFilter: "ENOENT", asAll: "ok", outside: "ok"}, ""},
		{"trace another process", "try ptrace 1", map[string]string{asDefault: "EPERM", noFilter: "ok"}, ""},
		{"read the memory of another process", "try vmread 1", map[string]string{asDefault: "EPERM", noFilter: "ok"}, ""},
		{"reach a process of the node", fmt.Sprintf("try kill %d", os.Getpid()), map[string]string{asDefault: "ESRCH", noFilter: "ESRCH", asAll: "ESRCH", outside: "ok"}, ""},
		{"become root of a user namespace", fmt.Sprintf("try unshare %d", unix.CLONE_NEWUSER), map[string]string{asDefault: "EPERM", noFilter: "EINVAL"}, ""},
		// EINVAL, since a Go program has several threads: what the call without them would do, the next one shows.
		{"be born in a user namespace", fmt.Sprintf("try clone %d", unix.CLONE_NEWUSER), map[string]string{asDefault: "EPERM", noFilter: "ok"}, ""},
		{"be born so by the new call", fmt.Sprintf("try clone3 %d", unix.CLONE_NEWUSER), map[string]string{asDefault: "ENOSYS", noFilter: "ok"}, ""},
		{"make a mount namespace", fmt.Sprintf("try unshare %d", unix.CLONE_NEWNS), map[string]string{asDefault: "EPERM", noFilter: "EPERM", asAdmin: "ok"}, ""},
		{"join a namespace", "try setns /proc/1/ns/uts", map[string]string{asDefault: "EPERM", noFilter: "EPERM", asAdmin: "ok"}, ""},
		{"rename the node", "try sethostname", map[string]string{asDefault: "EPERM", noFilter: "EPERM", asAdmin: "ok"}, ""},
		{"look for keys of others", "try keyctl", map[string]string{asDefault: "EPERM", noFilter: "!EPERM"}, ""},
		{"leave keys", "try add_key", map[string]string{asDefault: "EPERM", noFilter: "ok"}, ""},
		{"give the kernel a program", "try bpf", map[string]string{asDefault: "EPERM", asAll: "!EPERM"}, ""},
		{"measure the node", "try perf", map[string]string{asDefault: "EPERM", asAll: "!EPERM"}, ""},
		{"load a module", "try module", map[string]string{asDefault: "EPERM", noFilter: "!ok", asAll: "!EPERM"}, ""},
		{"load a module from a file", "try finit", map[string]string{asDefault: "EPERM", noFilter: "!ok", asAll: "!EPERM"}, ""},
		{"boot another kernel", "try kexec", map[string]string{asDefault: "EPERM", noFilter: "!ok"}, ""},
		{"reboot", "try reboot", map[string]string{asDefault: "EPERM", noFilter: "!ok"}, ""},
		{"swap", "try swapon", map[string]string{asDefault: "EPERM", noFilter: "EPERM"}, ""},
		{"set the clock", "try settime", map[string]string{asDefault: "EPERM", noFilter: "!ok"}, ""},
		{"read what the kernel says", "try syslog", map[string]string{asDefault: "EPERM", asAll: "ok"}, ""},
		{"stop the kernel at a page", "try userfaultfd", map[string]string{asDefault: "EPERM", asAll: "ok"}, ""},
		{"use io_uring", "try io_uring", map[string]string{asDefault: "EPERM", noFilter: "!EPERM"}, ""},
		{"end the accounting of processes", "try acct", map[string]string{asDefault: "EPERM", noFilter: "!ok"}, ""},
		{"raise a quota", "try quotactl", map[string]string{asDefault: "EPERM", noFilter: "!ok"}, ""},
		{"leave the project that bounds its disk", fmt.Sprintf("try project %d /tmp/project", 0x401c5820), map[string]string{asDefault: "EPERM", noFilter: "!EPERM"}, ""},
		{"have folders leave it", fmt.Sprintf("try project %d /tmp/project", 0x40086602), map[string]string{asDefault: "EPERM", noFilter: "!EPERM"}, ""},
		{"leave it by the new call", "try setattr /etc", map[string]string{asDefault: "EPERM", noFilter: "!EPERM"}, ""},
		{"exchange the root", "try pivot_root", map[string]string{asDefault: "EPERM", noFilter: "EPERM"}, ""},
		{"open a file by its number", "try handle", map[string]string{asDefault: "EPERM", noFilter: "EPERM", asAll: "!EPERM"}, ""},
		{"send packets of any kind", "try rawsocket 2 3 1", map[string]string{asDefault: "EPERM", noFilter: "EPERM", withRaw: "ok"}, ""},
		{"see the packets of all", "try rawsocket 17 3 3", map[string]string{asDefault: "EPERM", noFilter: "EPERM", withRaw: "ok"}, ""},
		{"talk to the hypervisor", "try rawsocket 40 1 0", map[string]string{asDefault: "EAFNOSUPPORT"}, ""},
		{"use the kernel's ciphers", "try rawsocket 38 5 0", map[string]string{asDefault: "EAFNOSUPPORT", noFilter: "!EPERM"}, ""},
		{"climb out of a chroot", "try chroot_out " + secret, map[string]string{asDefault: "ENOENT", noFilter: "ENOENT", asAll: "ENOENT", outside: "ok"}, ""},
		{"read a file of the node through /proc", "try read /proc/self/root" + secret, map[string]string{asDefault: "ENOENT", noFilter: "ENOENT", asAll: "ENOENT", outside: "ok"}, ""},
		{"find a descriptor that was left open", "try fds", map[string]string{asDefault: "none", noFilter: "none", asAll: "none"}, ""},
		{"change the program that all share", "try write /usr/bin/env x", map[string]string{asDefault: "EROFS", noFilter: "EROFS", asAll: "EROFS"}, ""},
		{"make a device file in /dev", "try create /dev/x", map[string]string{asDefault: "EROFS", noFilter: "EROFS"}, ""},
	}
}

func (a *attempt) there() bool {
	_, err := os.Lstat(a.file)
	return a.file == "" || err == nil
}

// script runs the attempts that say how they end there, each on a line.
func script(all []attempt, way string) string {
	var b strings.Builder
	for i, a := range all {
		if _, ok := a.ends[way]; ok && a.there() {
			fmt.Fprintf(&b, "echo \"%d:$(%s 2>&1)\"\n", i, a.do)
		}
	}
	return b.String()
}

func (n *node) judge(all []attempt, way, out string) {
	n.t.Helper()
	got := fields(out)
	for i := range all {
		a := &all[i]
		if want, ok := a.ends[way]; ok && a.there() && !a.endsAs(got[fmt.Sprint(i)], want) {
			n.t.Errorf("%s %s: %q, want %q (%s)", a.what, way, got[fmt.Sprint(i)], want, a.do)
		}
	}
}

func TestEscapes(t *testing.T) {
	n := newNode(t)
	all := n.attempts()
	everything := []string{}
	for _, c := range spec.Capabilities {
		everything = append(everything, "CAP_"+c)
	}
	defaults := []string{}
	for _, c := range spec.DefaultCapabilities {
		defaults = append(defaults, "CAP_"+c)
	}
	with := func(c string) []string { return append([]string{c}, defaults...) }
	for i, w := range []struct {
		way  string
		make func(*executor.Spec)
	}{
		{asDefault, func(*executor.Spec) {}},
		{noFilter, func(s *executor.Spec) { s.Unconfined = true }},
		{asAdmin, func(s *executor.Spec) { s.Unconfined, s.Capabilities = true, with("CAP_SYS_ADMIN") }},
		{withRaw, func(s *executor.Spec) { s.Capabilities = with("CAP_NET_RAW") }},
		{withNodes, func(s *executor.Spec) { s.Capabilities = with("CAP_MKNOD") }},
		{asAll, func(s *executor.Spec) {
			s.Privileged, s.Unconfined, s.NewPrivileges, s.Capabilities = true, true, true, everything
		}},
	} {
		s := n.host(fmt.Sprint("way", i), script(all, w.way))
		s.Mounts = []executor.Mount{{Source: tryProgram(t), Target: "/opt/try", ReadOnly: true}}
		s.Env = []string{"PATH=/opt:/usr/sbin:/usr/bin:/sbin:/bin"}
		w.make(&s)
		n.judge(all, w.way, n.inside(s))
	}
	here := exec.Command("sh", "-c", script(all, outside))
	here.Env = append(os.Environ(), "PATH="+filepath.Dir(tryProgram(t))+":"+os.Getenv("PATH"))
	out, err := here.Output()
	if err != nil {
		t.Fatal(err)
	}
	n.judge(all, outside, string(out))
	_ = os.Remove("/tmp/jail")
}

// A descriptor that is left open is found: the attempt above looks in the right place (CVE-2024-21626). And a working folder that leads
// through one is refused, or lies in the container.
func TestLeakedDescriptors(t *testing.T) {
	n := newNode(t)
	out, err := exec.Command("sh", "-c", "exec 7</; exec "+tryProgram(t)+" fds").Output()
	if err != nil || !slices.Contains(strings.Split(strings.TrimSpace(string(out)), ", "), "7 /") {
		t.Errorf("on the node: %q, %v", out, err)
	}
	for fd := 3; fd < 12; fd++ {
		s := n.host(fmt.Sprint("dir", fd), "readlink /proc/self/cwd; ls -a . | head -n 3")
		s.Dir = fmt.Sprintf("/proc/self/fd/%d", fd)
		if _, err := n.client.Start(t.Context(), s); err != nil {
			continue
		}
		n.wait(s.ID)
		if out := n.log(s.ID, "stdout"); !strings.HasPrefix(out, "/proc/") && out != "" {
			t.Errorf("a task begins in %s: %q", s.Dir, out)
		}
	}
}

// The executor's program cannot be changed from inside while it enters a container (CVE-2019-5736).
func TestProgramOfTheExecutorStays(t *testing.T) {
	n := newNode(t)
	s := n.host("trap", "exec try overwrite 100000")
	s.Mounts = []executor.Mount{{Source: tryProgram(t), Target: "/opt/try", ReadOnly: true}}
	s.Env = []string{"PATH=/opt:/usr/bin:/bin"}
	if _, err := n.client.Start(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Open(fmt.Sprintf("/proc/%d/exe", n.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	before, err := os.ReadFile(exe.Name())
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := n.client.Exec(t.Context(), "trap", executor.ExecSpec{Command: []string{"true"}}, executor.Streams{}); err != nil {
			t.Fatal(err)
		}
	}
	if c, err := n.client.Get(t.Context(), "trap"); err != nil || c.State != executor.StateRunning {
		t.Errorf("it wrote to the program: %+v, %q", c, n.log("trap", "stdout"))
	}
	after, err := os.ReadFile(exe.Name())
	if err != nil || string(before) != string(after) {
		t.Errorf("the program was changed: %v", err)
	}
	if got, err := unix.FcntlInt(exe.Fd(), unix.F_GET_SEALS, 0); err != nil || got&unix.F_SEAL_WRITE == 0 {
		t.Errorf("the program is not sealed: %#x, %v", got, err)
	}
	if f, err := os.OpenFile(exe.Name(), os.O_WRONLY, 0); err == nil {
		f.Close()
		t.Error("even root opens it to write")
	}
}

// Links in an image lead nowhere but into the container: not where something is mounted, nor where the kernel's file systems are.
func TestLinksInImages(t *testing.T) {
	n := newNode(t)
	victim := filepath.Join(n.dir, "victim")
	layerOf := func(name string, links map[string]string) string {
		layer := filepath.Join(n.dir, name)
		program, err := os.ReadFile(tryProgram(t))
		if err != nil {
			t.Fatal(err)
		}
		errs := []error{os.MkdirAll(layer, 0o755), os.WriteFile(filepath.Join(layer, "try"), program, 0o755)}
		for link, target := range links {
			errs = append(errs, os.MkdirAll(filepath.Dir(filepath.Join(layer, link)), 0o755), os.Symlink(target, filepath.Join(layer, link)))
		}
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		return layer
	}
	if err := os.MkdirAll(victim, 0o777); err != nil {
		t.Fatal(err)
	}
	start := func(id, layer string, writable bool, change func(*executor.Spec)) (string, error) {
		s := n.host(id, "")
		s.Root = executor.Root{Kind: executor.RootLayers, Layers: []string{layer}}
		if writable {
			s.Root.Writable = filepath.Join(n.dir, id+"-upper")
		}
		change(&s)
		if _, err := n.client.Start(t.Context(), s); err != nil {
			return "", err
		}
		n.wait(id)
		return n.log(id, "stdout"), nil
	}
	source := filepath.Join(n.dir, "source")
	if err := errors.Join(os.MkdirAll(source, 0o755), os.WriteFile(filepath.Join(source, "file"), []byte("mounted"), 0o644)); err != nil {
		t.Fatal(err)
	}
	for i, target := range []string{victim, "../../../../../../../.." + victim, "/proc/self/root" + victim} {
		layer := layerOf(fmt.Sprint("out", i), map[string]string{"out": target})
		for _, writable := range []bool{true, false} {
			out, err := start(fmt.Sprint("mount", i, writable), layer, writable, func(s *executor.Spec) {
				s.Command = []string{"/try", "read", "/out/inner/file"}
				s.Mounts = []executor.Mount{{Source: source, Target: "/out/inner", ReadOnly: true}}
				s.Tmpfs = []spec.Tmpfs{{Target: "/out/memory", Size: 1 << 20}}
			})
			if err == nil && out != "ok\n" {
				t.Errorf("link %q: the mount is not where it is looked for: %q", target, out)
			}
		}
	}
	for _, name := range []string{"proc", "sys", "dev"} {
		layer := layerOf("kernel-"+name, map[string]string{name: victim})
		out, err := start("kernel-"+name, layer, true, func(s *executor.Spec) { s.Command = []string{"/try", "write", "/proc/sys/kernel/core_pattern", "core"} })
		if err == nil && out != "EROFS\n" {
			t.Errorf("/%s as a link: the kernel's settings answer %q", name, out)
		}
	}
	// A mask that is made of /dev/null is not fooled by another one (CVE-2025-31133).
	layer := layerOf("null", map[string]string{"dev/null": "/proc/sys/kernel/core_pattern"})
	for _, own := range []bool{false, true} {
		out, err := start(fmt.Sprint("null", own), layer, true, func(s *executor.Spec) {
			s.Command = []string{"/try", "read", "/proc/timer_list"}
			if own { // a /dev of its own, made in the container
				s.HostDevices = []spec.HostDevice{{Path: "/dev/kmsg"}}
			}
		})
		if err == nil && out != "empty\n" {
			t.Errorf("/dev/null as a link, own /dev %v: what is masked answers %q", own, out)
		}
	}
	if left, err := os.ReadDir(victim); err != nil || len(left) > 0 {
		t.Errorf("something was made outside of the container: %v, %v", left, err)
	}
}
