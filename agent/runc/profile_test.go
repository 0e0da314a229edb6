package runc

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/spec"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// verdict is what a profile says of a call, in the plainest way: the second implementation.
func verdict(p *spec.SeccompProfile, name string, args [6]uint64, capabilities []string) spec.SeccompAction {
	answer, found := p.Default, false
	for _, r := range p.Rules {
		if !slices.Contains(r.Calls, name) || !applies(&r, capabilities, "6.1") {
			continue
		}
		fits := true
		for _, a := range r.Args {
			v := args[a.Index]
			switch a.Op {
			case spec.SeccompEqual:
				fits = fits && v == a.Value
			case spec.SeccompNotEqual:
				fits = fits && v != a.Value
			case spec.SeccompLess:
				fits = fits && v < a.Value
			case spec.SeccompLessEqual:
				fits = fits && v <= a.Value
			case spec.SeccompGreater:
				fits = fits && v > a.Value
			case spec.SeccompGreaterEqual:
				fits = fits && v >= a.Value
			case spec.SeccompMasked:
				fits = fits && v&a.Mask == a.Value
			}
		}
		if fits && (!found || r.Action.Stricter(answer)) {
			answer, found = r.Action, true
		}
	}
	return answer
}

func askWide(t rapid.TB, vm *bpf.VM, nr uint32, args [6]uint64) uint32 {
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offNumber:], nr)
	binary.BigEndian.PutUint32(data[offArch:], auditArch)
	for i, arg := range args {
		binary.BigEndian.PutUint32(data[offArgs+8*i:], uint32(arg))
		binary.BigEndian.PutUint32(data[offArgs+8*i+4:], uint32(arg>>32))
	}
	got, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(got)
}

func machineOf(t rapid.TB, raw []bpf.RawInstruction, err error) *bpf.VM {
	if err != nil {
		t.Fatal(err)
	}
	code, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the program does not disassemble")
	}
	vm, err := bpf.NewVM(code)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

func TestProfileAgreesWithItsRules(t *testing.T) {
	names := []string{"read", "write", "openat", "socket", "personality", "clone", "mseal", "rseq_slice_yield"}
	values := []uint64{0, 1, 2, 0xffff_ffff, 1 << 32, 1<<32 + 1, 1 << 63, ^uint64(0)}
	number := callNumbers()
	rapid.Check(t, func(t *rapid.T) {
		action := rapid.Custom(func(t *rapid.T) spec.SeccompAction {
			a := spec.SeccompAction{Do: rapid.SampledFrom([]spec.SeccompVerb{spec.SeccompAllow, spec.SeccompLog, spec.SeccompErrno, spec.SeccompTrap, spec.SeccompKillThread, spec.SeccompKillProcess}).Draw(t, "do")}
			if a.Do == spec.SeccompErrno {
				a.Errno = uint16(rapid.IntRange(1, 3).Draw(t, "errno"))
			}
			return a
		})
		arg := rapid.Custom(func(t *rapid.T) spec.SeccompArg {
			return spec.SeccompArg{Index: rapid.IntRange(0, 5).Draw(t, "index"), Value: rapid.SampledFrom(values).Draw(t, "value"), Mask: rapid.SampledFrom(values).Draw(t, "mask"),
				Op: rapid.SampledFrom([]spec.SeccompOp{"=", "!=", "<", "<=", ">", ">=", spec.SeccompMasked}).Draw(t, "op")}
		})
		rule := rapid.Custom(func(t *rapid.T) spec.SeccompRule {
			return spec.SeccompRule{Calls: rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 3, rapid.ID).Draw(t, "calls"), Action: action.Draw(t, "action"),
				Args: rapid.SliceOfN(arg, 0, 3).Draw(t, "args"), Caps: rapid.SampledFrom([][]string{nil, {"CHOWN"}, {"NET_RAW"}}).Draw(t, "caps"),
				NotCaps: rapid.SampledFrom([][]string{nil, {"CHOWN"}, {"NET_RAW"}}).Draw(t, "not"), MinKernel: rapid.SampledFrom([]string{"", "4.8", "99.1"}).Draw(t, "kernel")}
		})
		p := &spec.SeccompProfile{Default: action.Draw(t, "default"), Rules: rapid.SliceOfN(rule, 0, 6).Draw(t, "rules")}
		caps := []string{"CHOWN"}
		raw, err := profileProgram(p, caps, "6.1")
		vm := machineOf(t, raw, err)
		for range 50 {
			name := rapid.SampledFrom(names).Draw(t, "name")
			var args [6]uint64
			for i := range args {
				args[i] = rapid.SampledFrom(values).Draw(t, "arg")
			}
			want := answerOf(verdict(p, name, args, caps))
			if got := askWide(t, vm, number[name], args); got != want {
				t.Fatalf("%s%v: %#x, want %#x", name, args, got, want)
			}
		}
		unknown := errno(unix.ENOSYS)
		if p.Default.Do == spec.SeccompAllow || p.Default.Do == spec.SeccompLog {
			unknown = answerOf(p.Default)
		}
		for _, nr := range []uint32{1000, 5000, 0x40000000} {
			if got := askWide(t, vm, nr, [6]uint64{}); got != unknown {
				t.Fatalf("call %d: %#x, want %#x", nr, got, unknown)
			}
		}
		// A program of another architecture never gets through.
		if got, err := vm.Run(append([]byte{0, 0, 0, 0, 1, 2, 3, 4}, make([]byte, 56)...)); err != nil || uint32(got) != errno(unix.ENOSYS) {
			t.Fatalf("another architecture: %#x, %v", got, err)
		}
	})
}

func TestCallNumbers(t *testing.T) {
	numbers := callNumbers()
	for name, want := range map[string]int{
		"read": unix.SYS_READ, "openat": unix.SYS_OPENAT, "clone3": unix.SYS_CLONE3, "mount": unix.SYS_MOUNT, "umount2": unix.SYS_UMOUNT2,
		"bpf": unix.SYS_BPF, "keyctl": unix.SYS_KEYCTL, "unshare": unix.SYS_UNSHARE, "mseal": unix.SYS_MSEAL, "execveat": unix.SYS_EXECVEAT,
		"io_uring_setup": unix.SYS_IO_URING_SETUP, "open_tree_attr": sysOpenTreeAttr, "set_mempolicy_home_node": sysSetMempolicyHomeNode,
	} {
		if numbers[name] != uint32(want) {
			t.Errorf("%s is %d, want %d", name, numbers[name], want)
		}
	}
	for name := range numbers {
		if !spec.KnownCall(name) {
			t.Errorf("%s is a call here that package spec does not know", name)
		}
	}
}

func TestProfilesAreCompiledOnce(t *testing.T) {
	var f filters
	read := func(cap string, errno uint16) *executor.Spec {
		return &executor.Spec{Capabilities: []string{cap}, Isolation: executor.Isolation{Seccomp: &spec.SeccompProfile{
			Default: spec.SeccompAction{Do: spec.SeccompAllow},
			Rules:   []spec.SeccompRule{{Calls: []string{"read"}, Caps: []string{"NET_RAW"}, Action: spec.SeccompAction{Do: spec.SeccompErrno, Errno: errno}}},
		}}}
	}
	get := func(s *executor.Spec) any {
		file, err := f.get(s)
		if err != nil {
			t.Fatal(err)
		}
		return file
	}
	one := get(read("CAP_CHOWN", 1))
	if get(read("CAP_CHOWN", 1)) != one || get(read("CAP_KILL", 1)) != one {
		t.Error("the same content is compiled twice")
	}
	if get(read("CAP_NET_RAW", 1)) == one || get(read("CAP_CHOWN", 2)) == one {
		t.Error("another content or a capability that matters has the same program")
	}
	for i := range uint16(2 * maxProfiles) {
		get(read("CAP_CHOWN", 10+i))
	}
	if len(f.files) > maxProfiles {
		t.Errorf("%d programs are kept", len(f.files))
	}
}
