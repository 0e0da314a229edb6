package runc

import (
	"encoding/binary"
	"testing"

	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ask runs a program on struct seccomp_data. The virtual machine reads big-endian, as from a network.
func ask(t *testing.T, vm *bpf.VM, arch, nr uint32, args ...uint32) uint32 {
	t.Helper()
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offNumber:], nr)
	binary.BigEndian.PutUint32(data[offArch:], arch)
	for i, arg := range args {
		binary.BigEndian.PutUint32(data[offArgs+8*i:], arg)
	}
	got, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(got)
}

func machine(t *testing.T, capabilities ...string) *bpf.VM {
	t.Helper()
	raw, err := program(capabilities)
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

// Every number is answered as the tables say: a binary search has many edges to get wrong.
func TestFilterAgreesWithTables(t *testing.T) {
	vm := machine(t, defaultCapabilities...)
	for nr := range uint32(1000) {
		known := false
		for _, r := range knownCalls {
			known = known || nr >= r.from && nr <= r.to
		}
		want := uint32(actAllow)
		if _, denied := deniedCalls[nr]; denied {
			want = errno(unix.EPERM)
		}
		if _, denied := deniedHere[nr]; denied {
			want = errno(unix.EPERM)
		}
		if !known || nr == unix.SYS_CLONE3 {
			want = errno(unix.ENOSYS)
		}
		if got := ask(t, vm, auditArch, nr); got != want {
			t.Errorf("call %d: %#x, want %#x", nr, got, want)
		}
	}
}

func TestFilterOfArguments(t *testing.T) {
	vm := machine(t)
	for _, test := range []struct {
		name string
		nr   uint32
		arg  uint32
		want uint32
	}{
		{"thread", unix.SYS_CLONE, unix.CLONE_VM | unix.CLONE_THREAD, actAllow},
		{"user namespace", unix.SYS_CLONE, unix.CLONE_NEWUSER | unix.CLONE_VM, errno(unix.EPERM)},
		{"mount namespace", unix.SYS_CLONE, unix.CLONE_NEWNS, errno(unix.EPERM)},
		{"vsock", unix.SYS_SOCKET, unix.AF_VSOCK, errno(unix.EAFNOSUPPORT)},
		{"alg", unix.SYS_SOCKET, unix.AF_ALG, errno(unix.EAFNOSUPPORT)},
		{"inet", unix.SYS_SOCKET, unix.AF_INET, actAllow},
		{"linux", unix.SYS_PERSONALITY, 0, actAllow},
		{"uname26", unix.SYS_PERSONALITY, 0x20000, actAllow},
		{"uname26 on 32 bits", unix.SYS_PERSONALITY, 0x20008, actAllow},
		{"ask", unix.SYS_PERSONALITY, 0xffffffff, actAllow},
		{"no randomisation", unix.SYS_PERSONALITY, 0x40000, errno(unix.EPERM)},
	} {
		if got := ask(t, vm, auditArch, test.nr, test.arg); got != test.want {
			t.Errorf("%s: %#x, want %#x", test.name, got, test.want)
		}
	}
	opened := machine(t, "CAP_LINUX_IMMUTABLE")
	for request, want := range map[uint32]uint32{0x40086602: errno(unix.EPERM), 0x401c5820: errno(unix.EPERM), 0x801c581f: actAllow, unix.TCGETS: actAllow} {
		if got := ask(t, vm, auditArch, unix.SYS_IOCTL, 3, request); got != want {
			t.Errorf("ioctl %#x: %#x, want %#x", request, got, want)
		}
		if got := ask(t, opened, auditArch, unix.SYS_IOCTL, 3, request); got != actAllow {
			t.Errorf("ioctl %#x with LINUX_IMMUTABLE: %#x", request, got)
		}
	}
	if got := ask(t, opened, auditArch, sysFileSetattr); got != actAllow {
		t.Errorf("file_setattr with LINUX_IMMUTABLE: %#x", got)
	}
	if got := ask(t, vm, unix.AUDIT_ARCH_I386, unix.SYS_READ); got != errno(unix.ENOSYS) {
		t.Errorf("another architecture: %#x", got)
	}
	if got := ask(t, vm, auditArch, 0x40000000|unix.SYS_READ); got != errno(unix.ENOSYS) {
		t.Errorf("x32: %#x", got)
	}
}

func TestCapabilitiesOpenTheFilter(t *testing.T) {
	closed, opened := machine(t), machine(t, "CAP_SYS_ADMIN")
	for _, nr := range []uint32{unix.SYS_MOUNT, unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_UMOUNT2} {
		if got := ask(t, closed, auditArch, nr); got != errno(unix.EPERM) {
			t.Errorf("call %d without: %#x", nr, got)
		}
		if got := ask(t, opened, auditArch, nr); got != actAllow {
			t.Errorf("call %d with: %#x", nr, got)
		}
	}
	for _, nr := range []uint32{unix.SYS_KEYCTL, unix.SYS_PTRACE, unix.SYS_IO_URING_SETUP} {
		if got := ask(t, opened, auditArch, nr); got != errno(unix.EPERM) {
			t.Errorf("call %d is opened by a capability of another kind: %#x", nr, got)
		}
	}
}

func TestFiltersAreShared(t *testing.T) {
	var f filters
	one, err := f.get(&executor.Spec{})
	if err != nil {
		t.Fatal(err)
	}
	two, err := f.get(&executor.Spec{Capabilities: []string{"CAP_CHOWN"}})
	if err != nil || one != two {
		t.Errorf("capabilities that do not matter make another filter: %v", err)
	}
	three, err := f.get(&executor.Spec{Capabilities: []string{"CAP_SYS_ADMIN"}})
	if err != nil || three == one {
		t.Errorf("a capability that matters does not: %v", err)
	}
	none, err := f.get(&executor.Spec{Isolation: executor.Isolation{Unconfined: true}})
	if err != nil || none == one {
		t.Fatalf("unconfined gets the filter: %v", err)
	}
	if info, err := none.Stat(); err != nil || info.Size() != 0 {
		t.Errorf("unconfined: %v, %v", info, err)
	}
	for _, file := range f.files {
		file.Close()
	}
}

func BenchmarkCompileFilter(b *testing.B) {
	for b.Loop() {
		if _, err := program(defaultCapabilities); err != nil {
			b.Fatal(err)
		}
	}
}
