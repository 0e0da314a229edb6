package spec

import (
	"slices"
	"strings"
	"testing"
)

func TestCapabilitySet(t *testing.T) {
	everything := len(Capabilities)
	for name, test := range map[string]struct {
		i    Isolation
		want int
		has  string
		not  string
	}{
		"default":      {Isolation{}, len(DefaultCapabilities), "CHOWN", "NET_RAW"},
		"added":        {Isolation{CapAdd: []string{"NET_RAW"}}, len(DefaultCapabilities) + 1, "NET_RAW", "SYS_ADMIN"},
		"dropped":      {Isolation{CapDrop: []string{"CHOWN"}}, len(DefaultCapabilities) - 1, "KILL", "CHOWN"},
		"none":         {Isolation{CapDrop: []string{AllCapabilities}}, 0, "", "CHOWN"},
		"only":         {Isolation{CapDrop: []string{AllCapabilities}, CapAdd: []string{"NET_RAW"}}, 1, "NET_RAW", "CHOWN"},
		"all":          {Isolation{CapAdd: []string{AllCapabilities}}, everything, "SYS_ADMIN", ""},
		"all but one":  {Isolation{CapAdd: []string{AllCapabilities}, CapDrop: []string{"SYS_MODULE"}}, everything - 1, "SYS_ADMIN", "SYS_MODULE"},
		"all and none": {Isolation{CapAdd: []string{AllCapabilities}, CapDrop: []string{AllCapabilities}}, everything, "SYS_ADMIN", ""},
		"privileged":   {Isolation{Privileged: true}, everything, "SYS_ADMIN", ""},
	} {
		got := test.i.CapabilitySet()
		if len(got) != test.want || test.has != "" && !slices.Contains(got, test.has) || slices.Contains(got, test.not) || !slices.IsSorted(got) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if !slices.IsSorted(Capabilities) || !slices.IsSorted(DefaultCapabilities) {
		t.Error("the lists are not sorted")
	}
}

func TestRefused(t *testing.T) {
	all := []Allowance{
		{Name: "any", HostDevices: []string{"/dev/fuse"}},
		{Name: "infra", Apps: []string{"infra/*"}, Capabilities: []string{"NET_RAW"}, Seccomp: []string{"profiles/*.json"}},
		{Name: "deep", Apps: []string{"deep/**"}, Capabilities: []string{AllCapabilities}, NewPrivileges: true, Unmasked: []string{"/proc/*"}},
		{Name: "platform", Roles: []RoleName{"platform"}, Privileged: true},
		{Name: "both", Roles: []RoleName{"ops"}, Apps: []string{"tools"}, Seccomp: []string{SeccompNone}},
	}
	for name, test := range map[string]struct {
		app  App
		i    Isolation
		want string // arguments that are refused
	}{
		"nothing":         {App{Name: "web"}, Isolation{CapAdd: []string{"CHOWN"}, CapDrop: []string{"KILL"}, Masked: []string{"/x"}, ReadOnlyRoot: true}, ""},
		"for all":         {App{Name: "web"}, Isolation{HostDevices: []HostDevice{{Path: "/dev/fuse"}}}, ""},
		"not that one":    {App{Name: "web"}, Isolation{HostDevices: []HostDevice{{Path: "/dev/fuse"}, {Path: "/dev/kmsg"}}}, "host_device"},
		"by name":         {App{Name: "infra/a"}, Isolation{CapAdd: []string{"NET_RAW"}, Seccomp: "profiles/a.json"}, ""},
		"not deeper":      {App{Name: "infra/a/b"}, Isolation{CapAdd: []string{"NET_RAW"}}, "cap_add"},
		"another folder":  {App{Name: "infra/a"}, Isolation{Seccomp: "profiles/x/a.json"}, "seccomp"},
		"none is no file": {App{Name: "infra/a"}, Isolation{Seccomp: SeccompNone}, "seccomp"},
		"all but all":     {App{Name: "infra/a"}, Isolation{CapAdd: []string{AllCapabilities}}, "cap_add"},
		"deep":            {App{Name: "deep/a/b"}, Isolation{CapAdd: []string{AllCapabilities}, NewPrivileges: true, Unmasked: []string{"/proc/keys"}}, ""},
		"its own name":    {App{Name: "deep"}, Isolation{NewPrivileges: true}, "no_new_privileges"},
		"role":            {App{Name: "x", Role: "platform"}, Isolation{Privileged: true, Seccomp: SeccompNone}, ""},
		"role below":      {App{Name: "x", Role: "platform/net"}, Isolation{Privileged: true}, ""},
		"like the role":   {App{Name: "x", Role: "platforms"}, Isolation{Privileged: true}, "privileged"},
		"needs both":      {App{Name: "tools", Role: "ops"}, Isolation{Seccomp: SeccompNone}, ""},
		"has one":         {App{Name: "tools", Role: "dev"}, Isolation{Seccomp: SeccompNone}, "seccomp"},
		"no privilege":    {App{Name: "deep/a"}, Isolation{Privileged: true}, "privileged"},
	} {
		var got []string
		refused, _ := Refused(all, &test.app, &Task{Isolation: test.i})
		for _, w := range refused {
			got = append(got, w.Argument)
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%s: refused %q, want %q", name, got, test.want)
		}
	}
}

func TestParseSeccomp(t *testing.T) {
	p, unknown, err := ParseSeccomp([]byte(`{
		"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
		"archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
		"syscalls": [
			{"names": ["read", "wrote"], "action": "SCMP_ACT_ALLOW"},
			{"name": "bpf", "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"], "minKernel": "5.8"}, "excludes": {"arches": ["s390x"]}},
			{"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}], "excludes": {"caps": ["CAP_SYS_ADMIN"]}, "includes": {"arches": ["ppc64le"]}}
		]}`))
	if err != nil || strings.Join(unknown, " ") != "wrote" || p.Default != (SeccompAction{SeccompErrno, 38}) || len(p.Rules) != 3 {
		t.Fatalf("%+v, %v, %v", p, unknown, err)
	}
	if r := p.Rules[1]; r.Caps[0] != "BPF" || r.MinKernel != "5.8" || r.NotArches == nil || len(r.NotArches) != 0 {
		t.Errorf("%+v", r)
	}
	if r := p.Rules[2]; r.NotCaps[0] != "SYS_ADMIN" || r.Args[0] != (SeccompArg{Op: SeccompMasked, Mask: 2114060288}) || r.Arches == nil || len(r.Arches) != 0 {
		t.Errorf("%+v", r)
	}
	for text, want := range map[string]string{
		`{`:                                    "line 1",
		`{"defaultActon": "x"}`:                "defaultActon",
		`{}`:                                   "defaultAction is missing",
		`{"defaultAction": "SCMP_ACT_NO"}`:     "use SCMP_ACT_ALLOW",
		`{"defaultAction": "SCMP_ACT_NOTIFY"}`: "not in this version",
		`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000}`:                                                                    "from 1 to 4095",
		`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 0}`:                                                                       "from 1 to 4095",
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"action": "SCMP_ACT_ERRNO"}]}`:                                                 "entry 1 of syscalls: it names no calls",
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["moumt"], "action": "SCMP_ACT_ERRNO"}]}`:                             `did you mean "mount"?`,
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "mount", "action": "SCMP_ACT_ERRNO", "args": [{"op": "EQ"}]}]}`:        "is no comparison",
		`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"name": "mount", "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["ADM"]}}]}`: "no capability",
		`{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x"}`:                                                                       "listenerPath",
		`{"defaultAction": "SCMP_ACT_ALLOW"} {}`:                                                                                          "follows",
	} {
		if _, _, err := ParseSeccomp([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestCheckSysctl(t *testing.T) {
	for name, want := range map[string][2]bool{ // with the network of the node, with its own
		"kernel.shmmax": {true, true}, "fs.mqueue.msg_max": {true, true}, "kernel.domainname": {true, true}, "net.core.somaxconn": {false, true},
		"net/core/somaxconn": {false, false}, "net..core": {false, false}, "vm.swappiness": {false, false}, "kernel.core_pattern": {false, false},
		"kernel.hostname": {false, false}, "kernel.shmall/../../core_pattern": {false, false}, "kernel.semx": {false, false},
	} {
		if got := [2]bool{CheckSysctl(name, true) == "", CheckSysctl(name, false) == ""}; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
