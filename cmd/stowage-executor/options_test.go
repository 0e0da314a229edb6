package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/spec"
)

// A task with every option at once sees each of them in its own /proc.
func TestOptionsSeenFromInside(t *testing.T) {
	n := newNode(t)
	s := n.host("options", `
cat /proc/self/status
awk '/Max open files/ { print "nofile: " $4 " " $5 } /Max core file/ { print "core: " $5 " " $6 } /Max locked memory/ { print "memlock: " $4 " " $5 }' /proc/self/limits
echo groups: $(id -G)
echo shmmax: $(cat /proc/sys/kernel/shmmax)
echo somaxconn: $(cat /proc/sys/net/core/somaxconn)
echo hostname: $(hostname)
awk '$5 == "/dev/shm" { print "shm: " $NF } $5 == "/run" { print "run: " $6 " " $NF } $5 == "/opt/deep/x" { print "deep: " $6 }' /proc/self/mountinfo
echo mode: $(stat -c %a /run)
echo cpuinfo: $(wc -c < /proc/cpuinfo)
touch /run/x && echo tmpfs: writable
touch /var/lib/x 2>/dev/null || echo var: read-only
echo keys: $(wc -c < /proc/keys)
test -c /dev/full && echo plain: there
head -c 1 /dev/kmsg >/dev/null 2>&1; test -c /dev/kmsg && echo kmsg: there
(echo x > /dev/kmsg) 2>/dev/null || echo kmsg write: refused`)
	s.Root.Writable = filepath.Join(n.dir, "upper")
	s.Hostname, s.Groups, s.User = "some.host", []string{"audio", "4711"}, "nobody"
	s.Capabilities = []string{"CAP_NET_RAW"}
	s.Isolation = executor.Isolation{
		Ulimits: []spec.Ulimit{{Name: "core", Soft: 0, Hard: 4096}, {Name: "memlock", Soft: 4096, Hard: 8192}, {Name: "nofile", Soft: 77, Hard: 99}},
		Sysctls: map[string]string{"kernel.shmmax": "123456789", "net.core.somaxconn": "321"},
		Tmpfs:   []spec.Tmpfs{{Target: "/opt/deep/x", Size: 1 << 20, Exec: true}, {Target: "/run", Size: 2 << 20, Mode: 0o757}},
		Masked:  []string{"/proc/cpuinfo"}, ReadOnly: []string{"/var/lib"}, Unmasked: []string{"/proc/keys"},
		HostDevices: []spec.HostDevice{{Path: "/dev/kmsg", ReadOnly: true}}, ShmBytes: 3 << 20,
	}
	got := fields(n.inside(s))
	for key, want := range map[string]string{
		"CapBnd": "0000000000002000", "CapPrm": "0000000000000000", "NoNewPrivs": "1", "Seccomp": "2", "nofile": "77 99", "core": "0 4096",
		"memlock": "4096 8192", "groups": "65534 29 4711", "shmmax": "123456789", "somaxconn": "321", "hostname": "some.host",
		"mode": "757", "cpuinfo": "0", "tmpfs": "writable", "var": "read-only", "plain": "there", "kmsg": "there", "kmsg write": "refused",
	} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
	for key, part := range map[string]string{"shm": "size=3072k", "run": "size=2048k", "deep": "nodev"} {
		if !strings.Contains(got[key], part) {
			t.Errorf("%s is %q, want %s in it", key, got[key], part)
		}
	}
	if strings.Contains(got["deep"], "noexec") || !strings.Contains(got["run"], "noexec") {
		t.Errorf("noexec: %q, %q", got["deep"], got["run"])
	}
	if got["keys"] == "0" || got["keys"] == "" {
		t.Errorf("/proc/keys is still masked: %q", got["keys"])
	}
}

func TestTmpfsInReadOnlyRoot(t *testing.T) {
	n := newNode(t)
	s := n.host("mem", "touch /tmp/x /srv/deep/x && stat -c %a /tmp && (touch /srv/x 2>/dev/null || echo read-only)")
	s.Tmpfs = []spec.Tmpfs{{Target: "/srv/deep", Size: 1 << 20}, {Target: "/tmp", Size: 1 << 20, Mode: 0o700}}
	if out := n.inside(s); out != "700\nread-only\n" {
		t.Errorf("out %q", out)
	}
}

func TestTmpfsHoldsNoMoreThanItsSize(t *testing.T) {
	n := newNode(t)
	s := n.host("mem", "head -c 2000000 /dev/zero > /srv/x; echo $?; wc -c < /srv/x")
	s.Tmpfs = []spec.Tmpfs{{Target: "/srv", Size: 1 << 20}}
	if out := n.inside(s); out != "1\n1048576\n" {
		t.Errorf("out %q", out)
	}
}

// The task's user keeps no right of the way there, for the first process and for those of exec alike.
func TestNewPrivileges(t *testing.T) {
	n := newNode(t)
	for name, user := range map[string]string{"root": "", "other": "1234:77"} {
		s := n.host(name, "cat /proc/self/status; echo Home: $HOME; exec sleep 1000")
		s.NewPrivileges, s.User, s.Groups = true, user, []string{"audio"}
		if _, err := n.client.Start(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		n.await("output", func() bool { return strings.Contains(n.log(name, "stdout"), "Home:") })
		var out strings.Builder
		if _, err := n.client.Exec(t.Context(), name, executor.ExecSpec{Command: []string{"cat", "/proc/self/status"}}, executor.Streams{Stdout: &out, Stderr: &out}); err != nil {
			t.Fatal(err)
		}
		const caps = "00000000000405fb"
		effective, uid := caps, "0\t0\t0\t0"
		if user != "" {
			effective, uid = "0000000000000000", "1234\t1234\t1234\t1234"
		}
		for what, text := range map[string]string{"first": n.log(name, "stdout"), "exec": out.String()} {
			got := fields(text)
			for key, want := range map[string]string{
				"NoNewPrivs": "0", "Seccomp": "2", "CapBnd": caps, "CapPrm": effective, "CapEff": effective, "CapInh": "0000000000000000",
				"CapAmb": "0000000000000000", "Uid": uid, "Groups": map[bool]string{true: "29", false: "29"}[user == ""],
			} {
				if got[key] != want {
					t.Errorf("%s %s: %s is %q, want %q", name, what, key, got[key], want)
				}
			}
		}
	}
}

// A setuid program gains its owner's rights only where the task says so.
func TestSetuidProgram(t *testing.T) {
	n := newNode(t)
	for name, want := range map[string]string{"closed": "1000\n", "open": "0\n"} {
		s := n.host(name, "")
		s.Command, s.User = []string{"/try", "euid"}, "1000:1000"
		s.Root = executor.Root{Kind: executor.RootLayers, Layers: []string{n.tryLayer()}}
		s.NewPrivileges = name == "open"
		if out := n.inside(s); out != want {
			t.Errorf("%s: effective user %q, want %q", name, out, want)
		}
	}
}

func TestSeccompProfile(t *testing.T) {
	n := newNode(t)
	profile := func(text string) *spec.SeccompProfile {
		p, _, err := spec.ParseSeccomp([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	deny := n.host("deny", "mkdir /tmp/a; echo $?; rmdir /tmp/a 2>/dev/null; echo $?; grep ^Seccomp: /proc/self/status")
	deny.Seccomp = profile(`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}`)
	c, out := n.run(deny)
	if !strings.HasPrefix(out, "1\n1\nSeccomp:\t2") || !strings.Contains(n.log("deny", "stderr"), "No space left") {
		t.Errorf("%v: %q, %q", c.Exit, out, n.log("deny", "stderr"))
	}
	kill := n.host("kill", "exec uname")
	kill.Seccomp = profile(`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "uname", "action": "SCMP_ACT_KILL_PROCESS"}]}`)
	if c, _ := n.run(kill); c.Exit.Signal != 31 {
		t.Errorf("killed by %v, want SIGSYS", c.Exit)
	}
	noexec := n.host("noexec", "true")
	noexec.Seccomp = profile(`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "execve", "action": "SCMP_ACT_ERRNO"}]}`)
	if _, err := n.client.Start(t.Context(), noexec); !errors.Is(err, executor.ErrCommand) {
		t.Errorf("a profile without execve: %v", err)
	}
}

func TestPrivileged(t *testing.T) {
	n := newNode(t)
	s := n.host("all", `
cat /proc/self/status
mount -t tmpfs x /mnt && echo mount: yes
echo devices: $(find /dev -type b -o -type c | wc -l)
test -w /proc/sys/kernel/domainname && (cat /proc/sys/kernel/domainname > /proc/sys/kernel/domainname) && echo sysctl: yes
awk '$5 == "/sys" { print "sys: " $6 }' /proc/self/mountinfo
readlink /proc/self/ns/pid`)
	s.Privileged, s.Unconfined, s.NewPrivileges = true, true, true
	i := spec.Isolation{Privileged: true}
	for _, c := range i.CapabilitySet() {
		s.Capabilities = append(s.Capabilities, "CAP_"+c)
	}
	got := fields(n.inside(s))
	for key, want := range map[string]string{"Seccomp": "0", "NoNewPrivs": "0", "mount": "yes", "sysctl": "yes"} {
		if got[key] != want {
			t.Errorf("%s is %q, want %q", key, got[key], want)
		}
	}
	if got["CapEff"] < "000001ff" || !strings.HasPrefix(got["sys"], "rw") {
		t.Errorf("capabilities %s, /sys %s", got["CapEff"], got["sys"])
	}
	if here, _ := os.Readlink("/proc/self/ns/pid"); strings.Contains(strings.Join(strings.Fields(got["pid"]), ""), here) {
		t.Error("its pid namespace is the node's")
	}
}

func TestUnknownGroupAndDevice(t *testing.T) {
	n := newNode(t)
	group := n.host("group", "true")
	group.Groups = []string{"no-such-group"}
	device := n.host("device", "true")
	device.HostDevices = []spec.HostDevice{{Path: "/dev/no-such-device"}}
	for _, s := range []executor.Spec{group, device} {
		if _, err := n.client.Start(t.Context(), s); !errors.Is(err, executor.ErrInvalid) {
			t.Errorf("%s: %v", s.ID, err)
		}
	}
}
