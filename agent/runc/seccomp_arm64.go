package runc

import "golang.org/x/sys/unix"

// auditArch is AUDIT_ARCH_AARCH64.
const auditArch = unix.AUDIT_ARCH_AARCH64

// knownCalls are the numbers in use, in order.
var knownCalls = []numbers{{0, 293}, {424, lastKnownCall}}

// deniedHere are the denied calls that only this architecture has.
var deniedHere = map[uint32]string{}
