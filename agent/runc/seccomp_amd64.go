package runc

import "golang.org/x/sys/unix"

// auditArch is AUDIT_ARCH_X86_64. Calls of the x32 kind have a high bit set and are not known.
const auditArch = unix.AUDIT_ARCH_X86_64

// knownCalls are the numbers in use, in order.
var knownCalls = []numbers{{0, 335}, {424, lastKnownCall}}

// deniedHere are the denied calls that only this architecture has.
var deniedHere = map[uint32]string{
	unix.SYS__SYSCTL:         "",
	unix.SYS_AFS_SYSCALL:     "",
	unix.SYS_CREATE_MODULE:   "",
	unix.SYS_GETPMSG:         "",
	unix.SYS_GET_KERNEL_SYMS: "",
	unix.SYS_IOPERM:          "CAP_SYS_RAWIO",
	unix.SYS_IOPL:            "CAP_SYS_RAWIO",
	unix.SYS_PUTPMSG:         "",
	unix.SYS_QUERY_MODULE:    "",
	unix.SYS_SECURITY:        "",
	unix.SYS_SYSFS:           "",
	unix.SYS_TUXCALL:         "",
	unix.SYS_USELIB:          "",
	unix.SYS_USTAT:           "",
	unix.SYS_VSERVER:         "",
}
