package runc

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/spec"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// Answers of a profile beside those of our own filter.
const (
	actLog         = 0x7ffc0000
	actTrap        = 0x00030000
	actKillThread  = 0x00000000
	actKillProcess = 0x80000000
)

// maxInstructions is the longest program that the kernel takes.
const maxInstructions = 4096

func answerOf(a spec.SeccompAction) uint32 {
	switch a.Do {
	case spec.SeccompAllow:
		return actAllow
	case spec.SeccompLog:
		return actLog
	case spec.SeccompTrap:
		return actTrap
	case spec.SeccompKillThread:
		return actKillThread
	case spec.SeccompErrno:
		return errno(unix.Errno(a.Errno))
	}
	return actKillProcess
}

// profileProgram assembles a profile for a task with these capabilities (without CAP_) on this kernel. Of the rules that fit a call the strictest
// holds. A call that is newer than this program fails with ENOSYS, unless it is let through by default: then programs take the older way, as
// they do with our own filter.
func profileProgram(p *spec.SeccompProfile, capabilities []string, kernel string) ([]bpf.RawInstruction, error) {
	known := callNumbers()
	rules := map[uint32][]spec.SeccompRule{}
	for _, r := range p.Rules {
		if !applies(&r, capabilities, kernel) {
			continue
		}
		for _, name := range r.Calls {
			if nr, ok := known[name]; ok {
				rules[nr] = append(rules[nr], r)
			}
		}
	}
	calls := map[uint32][]bpf.Instruction{}
	for nr, all := range rules {
		slices.SortStableFunc(all, func(a, b spec.SeccompRule) int {
			switch {
			case a.Action.Stricter(b.Action):
				return -1
			case b.Action.Stricter(a.Action):
				return 1
			}
			return 0
		})
		calls[nr] = callCode(all, p.Default)
	}
	unknown := errno(unix.ENOSYS)
	if p.Default.Do == spec.SeccompAllow || p.Default.Do == spec.SeccompLog {
		unknown = answerOf(p.Default)
	}
	// The table may know newer calls than our own filter lets through.
	edges := slices.Clone(knownCalls)
	for _, nr := range known {
		edges[len(edges)-1].to = max(edges[len(edges)-1].to, nr)
	}
	code, err := assemble(calls, edges, answerOf(p.Default), unknown)
	if err == nil && len(code) > maxInstructions {
		err = fmt.Errorf("the profile needs %d instructions, and the kernel takes %d: say less about arguments", len(code), maxInstructions)
	}
	return code, err
}

// applies reports whether a rule is for such a task on such a node.
func applies(r *spec.SeccompRule, capabilities []string, kernel string) bool {
	has := func(c string) bool { return slices.Contains(capabilities, c) }
	for _, c := range r.Caps {
		if !has(c) {
			return false
		}
	}
	return !slices.ContainsFunc(r.NotCaps, has) &&
		(r.Arches == nil || slices.Contains(r.Arches, runtime.GOARCH)) && !slices.Contains(r.NotArches, runtime.GOARCH) &&
		(r.MinKernel == "" || spec.CompareVersions(kernel, r.MinKernel) >= 0) &&
		(r.NotFromKernel == "" || spec.CompareVersions(kernel, r.NotFromKernel) < 0)
}

// callCode answers one call: by the first of the rules, the strictest first, whose arguments fit.
func callCode(rules []spec.SeccompRule, byDefault spec.SeccompAction) []bpf.Instruction {
	var code []bpf.Instruction
	for _, r := range rules {
		code = append(code, ruleCode(&r)...)
		if len(r.Args) == 0 {
			return code
		}
	}
	return append(code, bpf.RetConstant{Val: answerOf(byDefault)})
}

// Where a jump of a rule leads, beside the next instruction.
const (
	onward = iota
	fits   // to the next argument
	misses // to the next rule
)

// line is an instruction of a rule; jumps name their ends.
type line struct {
	in      bpf.Instruction
	yes, no int // of a bpf.JumpIf
}

// ruleCode compares all arguments, and goes on behind the rule if one does not fit.
func ruleCode(r *spec.SeccompRule) []bpf.Instruction {
	var lines []line
	var ends []int // of the argument that a line belongs to
	for _, a := range r.Args {
		lines = append(lines, argCode(a)...)
		for len(ends) < len(lines) {
			ends = append(ends, 0)
		}
		for i := range ends {
			if ends[i] == 0 {
				ends[i] = len(lines)
			}
		}
	}
	code := make([]bpf.Instruction, len(lines), len(lines)+1)
	for i, l := range lines {
		jump, ok := l.in.(bpf.JumpIf)
		if !ok {
			code[i] = l.in
			continue
		}
		skip := func(where int) uint8 {
			switch where {
			case fits:
				return uint8(ends[i] - i - 1)
			case misses:
				return uint8(len(lines) - i) // over the answer
			}
			return 0
		}
		jump.SkipTrue, jump.SkipFalse = skip(l.yes), skip(l.no)
		code[i] = jump
	}
	return append(code, bpf.RetConstant{Val: answerOf(r.Action)})
}

// argCode compares one argument, the high half first.
func argCode(a spec.SeccompArg) []line {
	low, high := uint32(a.Value), uint32(a.Value>>32)
	loadLow, loadHigh := line{in: loadArg(uint32(a.Index))}, line{in: bpf.LoadAbsolute{Off: offArgs + 8*uint32(a.Index) + 4, Size: 4}}
	test := func(c bpf.JumpTest, v uint32, yes, no int) line { return line{bpf.JumpIf{Cond: c, Val: v}, yes, no} }
	switch a.Op {
	case spec.SeccompEqual:
		return []line{loadHigh, test(bpf.JumpEqual, high, onward, misses), loadLow, test(bpf.JumpEqual, low, fits, misses)}
	case spec.SeccompNotEqual:
		return []line{loadHigh, test(bpf.JumpEqual, high, onward, fits), loadLow, test(bpf.JumpEqual, low, misses, fits)}
	case spec.SeccompGreater, spec.SeccompGreaterEqual, spec.SeccompLess, spec.SeccompLessEqual:
		more, less := fits, misses
		if a.Op == spec.SeccompLess || a.Op == spec.SeccompLessEqual {
			more, less = misses, fits
		}
		last := test(bpf.JumpGreaterOrEqual, low, more, less)
		if a.Op == spec.SeccompGreater || a.Op == spec.SeccompLessEqual {
			last = test(bpf.JumpGreaterThan, low, more, less)
		}
		return []line{loadHigh, test(bpf.JumpGreaterThan, high, more, onward), test(bpf.JumpEqual, high, onward, less), loadLow, last}
	case spec.SeccompMasked:
		and := func(v uint32) line { return line{in: bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: v}} }
		return []line{
			loadHigh, and(uint32(a.Mask >> 32)), test(bpf.JumpEqual, high, onward, misses),
			loadLow, and(uint32(a.Mask)), test(bpf.JumpEqual, low, fits, misses),
		}
	}
	panic("runc: no comparison " + string(a.Op))
}

// callNumbers reads the table of calls.
func callNumbers() map[string]uint32 {
	all := make(map[string]uint32, 400)
	for entry := range strings.Lines(callTable) {
		name, text, _ := strings.Cut(strings.TrimSpace(entry), " ")
		nr, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			panic("runc: table of calls: " + err.Error())
		}
		all[name] = uint32(nr)
	}
	return all
}

// profileKey names the program of a profile: its content, and the capabilities that its rules ask for.
func profileKey(p *spec.SeccompProfile, capabilities []string) string {
	text, err := json.Marshal(p)
	if err != nil {
		panic("runc: a profile of plain fields does not encode: " + err.Error())
	}
	key := fmt.Sprintf("profile %x", sha256.Sum256(text))
	for _, c := range capabilities {
		asked := func(r spec.SeccompRule) bool { return slices.Contains(r.Caps, c) || slices.Contains(r.NotCaps, c) }
		if slices.ContainsFunc(p.Rules, asked) {
			key += " " + c
		}
	}
	return key
}

// shortCapabilities are the capabilities of a spec without CAP_, in order.
func shortCapabilities(s *executor.Spec) []string {
	names := make([]string, 0, len(defaultCapabilities))
	for _, c := range capabilitiesOf(s) {
		names = append(names, strings.TrimPrefix(c, "CAP_"))
	}
	slices.Sort(names)
	return names
}

// kernelRelease is the version of the running kernel, numbers only.
func kernelRelease() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return "0"
	}
	release := unix.ByteSliceToString(name.Release[:])
	if i := strings.IndexFunc(release, func(r rune) bool { return (r < '0' || r > '9') && r != '.' }); i >= 0 {
		release = release[:i]
	}
	return release
}
