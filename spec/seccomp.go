package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Limits of a seccomp profile.
const (
	// MaxSeccompSize is the size of its file in bytes: that of Docker has 12 KiB.
	MaxSeccompSize = 256 << 10
	// MaxSeccompRules of one profile.
	MaxSeccompRules = 1000
	maxSeccompArgs  = 6 // comparisons of one rule
	// maxErrno is the largest error number of Linux.
	maxErrno = 4095
)

// SeccompProfile says which system calls a task may make. Where several rules fit a call, the strictest holds; where none does, Default.
type SeccompProfile struct {
	Default SeccompAction `json:"default"`
	Rules   []SeccompRule `json:"rules,omitempty"` // in the order written
}

// SeccompAction is the answer to a system call.
type SeccompAction struct {
	Do    SeccompVerb `json:"do"`
	Errno uint16      `json:"errno,omitempty"` // of SeccompErrno; not 0
}

// SeccompVerb is what is done about a system call.
type SeccompVerb string

// The verbs, from the most lenient to the strictest.
const (
	SeccompAllow       SeccompVerb = "allow"
	SeccompLog         SeccompVerb = "log" // allow, and log
	SeccompErrno       SeccompVerb = "errno"
	SeccompTrap        SeccompVerb = "trap" // SIGSYS
	SeccompKillThread  SeccompVerb = "kill_thread"
	SeccompKillProcess SeccompVerb = "kill_process"
)

var seccompOrder = []SeccompVerb{SeccompAllow, SeccompLog, SeccompErrno, SeccompTrap, SeccompKillThread, SeccompKillProcess}

// Stricter reports whether an action lets less through than another one.
func (a SeccompAction) Stricter(b SeccompAction) bool {
	return slices.Index(seccompOrder, a.Do) > slices.Index(seccompOrder, b.Do)
}

// SeccompRule answers some calls, if the node and the task are as it says.
type SeccompRule struct {
	Calls  []string      `json:"calls"`
	Action SeccompAction `json:"action"`
	Args   []SeccompArg  `json:"args,omitempty"` // all of them have to hold
	// Caps are capabilities of which the task has to have all, NotCaps those of which it may have none; without CAP_.
	Caps    []string `json:"caps,omitempty"`
	NotCaps []string `json:"not_caps,omitempty"`
	// Arches are the architectures of the node for which the rule is, as Go calls them; nil: all. NotArches are those for which it is not.
	Arches    []string `json:"arches,omitzero"`
	NotArches []string `json:"not_arches,omitempty"`
	// MinKernel and NotFromKernel are versions: the rule is for kernels from the one on, and before the other. "": all.
	MinKernel     string `json:"min_kernel,omitempty"`
	NotFromKernel string `json:"not_from_kernel,omitempty"`
}

// SeccompArg compares an argument of a call, as a number of 64 bits without sign.
type SeccompArg struct {
	Index int       `json:"index"` // 0 to 5
	Op    SeccompOp `json:"op"`
	Value uint64    `json:"value"`
	Mask  uint64    `json:"mask,omitempty"` // of SeccompMasked: the bits of the argument that are compared with Value
}

// SeccompOp is a comparison.
type SeccompOp string

// The comparisons.
const (
	SeccompEqual        SeccompOp = "="
	SeccompNotEqual     SeccompOp = "!="
	SeccompLess         SeccompOp = "<"
	SeccompLessEqual    SeccompOp = "<="
	SeccompGreater      SeccompOp = ">"
	SeccompGreaterEqual SeccompOp = ">="
	SeccompMasked       SeccompOp = "masked"
)

// seccompFile is the form in which profiles are spread: that of the OCI runtime specification (linux.seccomp), and that of Docker,
// which is a superset of it.
type seccompFile struct {
	DefaultAction string            `json:"defaultAction"`
	DefaultErrno  *uint             `json:"defaultErrnoRet"`
	Architectures []string          `json:"architectures"`
	ArchMap       json.RawMessage   `json:"archMap"`
	Flags         []string          `json:"flags"`
	ListenerPath  string            `json:"listenerPath"`
	ListenerMeta  string            `json:"listenerMetadata"`
	Comment       string            `json:"comment"`
	Syscalls      []json.RawMessage `json:"syscalls"`
}

type seccompCalls struct {
	Names    []string      `json:"names"`
	Name     string        `json:"name"`
	Action   string        `json:"action"`
	Errno    *uint         `json:"errnoRet"`
	Args     []seccompTest `json:"args"`
	Comment  string        `json:"comment"`
	Includes seccompFor    `json:"includes"`
	Excludes seccompFor    `json:"excludes"`
}

type seccompTest struct {
	Index    uint   `json:"index"`
	Value    uint64 `json:"value"`
	ValueTwo uint64 `json:"valueTwo"`
	Op       string `json:"op"`
}

type seccompFor struct {
	Arches    []string `json:"arches"`
	Caps      []string `json:"caps"`
	MinKernel string   `json:"minKernel"`
}

// ParseSeccomp reads a profile in the JSON of Docker or OCI. Names of calls that Linux does not have are an error where ignoring
// them would let more through; the others are returned in order of the alphabet, to be warned of.
func ParseSeccomp(text []byte) (*SeccompProfile, []string, error) {
	if len(text) > MaxSeccompSize {
		return nil, nil, fmt.Errorf("a seccomp profile has at most %d KiB", MaxSeccompSize>>10)
	}
	var file seccompFile
	if err := strictJSON(text, &file); err != nil {
		return nil, nil, err
	}
	if file.ListenerPath != "" || file.ListenerMeta != "" {
		return nil, nil, errors.New("listenerPath: asking another process about calls is not in this version; remove it")
	}
	if len(file.Syscalls) > MaxSeccompRules {
		return nil, nil, fmt.Errorf("syscalls has %d entries, at most %d are allowed", len(file.Syscalls), MaxSeccompRules)
	}
	p := &SeccompProfile{}
	var err error
	if p.Default, err = seccompAction("defaultAction", file.DefaultAction, file.DefaultErrno); err != nil {
		return nil, nil, err
	}
	unknown := map[string]bool{}
	for i, raw := range file.Syscalls {
		rule, err := seccompRule(raw, p.Default, unknown)
		if err != nil {
			return nil, nil, fmt.Errorf("entry %d of syscalls: %w", i+1, err)
		}
		if len(rule.Calls) > 0 {
			p.Rules = append(p.Rules, rule)
		}
	}
	names := make([]string, 0, len(unknown))
	for n := range unknown { // any order: sorted below
		names = append(names, n)
	}
	slices.Sort(names)
	return p, names, nil
}

// strictJSON decodes one value, without fields that nobody knows: a slip must not be a rule that is missing.
func strictJSON(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil && d.More() {
		err = errors.New("something follows after the end of the profile")
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("line %d: the profile ends too early", 1+bytes.Count(bytes.TrimSpace(text), []byte("\n")))
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("line %d: %w", 1+bytes.Count(text[:min(int(syntax.Offset), len(text))], []byte("\n")), err)
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}

// seccompActions are the actions by the names that people write.
var seccompActions = map[string]SeccompVerb{
	"SCMP_ACT_ALLOW": SeccompAllow, "SCMP_ACT_LOG": SeccompLog, "SCMP_ACT_ERRNO": SeccompErrno, "SCMP_ACT_TRAP": SeccompTrap,
	"SCMP_ACT_KILL": SeccompKillThread, "SCMP_ACT_KILL_THREAD": SeccompKillThread, "SCMP_ACT_KILL_PROCESS": SeccompKillProcess,
}

func seccompAction(field, name string, errno *uint) (SeccompAction, error) {
	verb, ok := seccompActions[name]
	switch {
	case name == "":
		return SeccompAction{}, fmt.Errorf("%s is missing", field)
	case name == "SCMP_ACT_NOTIFY" || name == "SCMP_ACT_TRACE":
		return SeccompAction{}, fmt.Errorf("%s %s needs a process that answers, which is not in this version; use SCMP_ACT_ERRNO or SCMP_ACT_LOG", field, name)
	case !ok:
		return SeccompAction{}, fmt.Errorf("%s is %q; use SCMP_ACT_ALLOW, SCMP_ACT_LOG, SCMP_ACT_ERRNO, SCMP_ACT_TRAP, SCMP_ACT_KILL_THREAD or SCMP_ACT_KILL_PROCESS", field, name)
	case verb != SeccompErrno:
		return SeccompAction{Do: verb}, nil
	}
	a := SeccompAction{Do: verb, Errno: 1} // EPERM, as everywhere
	if errno != nil {
		if *errno == 0 || *errno > maxErrno {
			return a, fmt.Errorf("the error number of %s is %d; use one from 1 to %d", field, *errno, maxErrno)
		}
		a.Errno = uint16(*errno)
	}
	return a, nil
}

func seccompRule(raw []byte, byDefault SeccompAction, unknown map[string]bool) (SeccompRule, error) {
	var in seccompCalls
	if err := strictJSON(raw, &in); err != nil {
		return SeccompRule{}, err
	}
	var out SeccompRule
	var err error
	if out.Action, err = seccompAction("action", in.Action, in.Errno); err != nil {
		return out, err
	}
	if in.Name != "" {
		in.Names = append(in.Names, in.Name)
	}
	if len(in.Names) == 0 {
		return out, errors.New("it names no calls")
	}
	for _, n := range in.Names {
		switch {
		case KnownCall(n):
			out.Calls = append(out.Calls, n)
		case out.Action.Stricter(byDefault):
			hint := ""
			if c := Closest(n, CallNames()); c != "" {
				hint = fmt.Sprintf("; did you mean %q?", c)
			}
			return out, fmt.Errorf("there is no system call %q%s", shortened(n), hint)
		default:
			unknown[shortened(n)] = true
		}
	}
	if len(in.Args) > maxSeccompArgs {
		return out, fmt.Errorf("it compares %d arguments, and a rule has at most %d", len(in.Args), maxSeccompArgs)
	}
	for _, a := range in.Args {
		arg, err := seccompArg(a)
		if err != nil {
			return out, err
		}
		out.Args = append(out.Args, arg)
	}
	if out.Caps, err = capabilityNames(in.Includes.Caps); err != nil {
		return out, err
	}
	if out.NotCaps, err = capabilityNames(in.Excludes.Caps); err != nil {
		return out, err
	}
	if len(in.Includes.Arches) > 0 {
		out.Arches = goArches(in.Includes.Arches)
	}
	if len(in.Excludes.Arches) > 0 {
		out.NotArches = goArches(in.Excludes.Arches)
	}
	out.MinKernel, out.NotFromKernel = in.Includes.MinKernel, in.Excludes.MinKernel
	return out, nil
}

func shortened(s string) string { return s[:min(len(s), 60)] }

var seccompOps = map[string]SeccompOp{
	"SCMP_CMP_EQ": SeccompEqual, "SCMP_CMP_NE": SeccompNotEqual, "SCMP_CMP_LT": SeccompLess, "SCMP_CMP_LE": SeccompLessEqual,
	"SCMP_CMP_GT": SeccompGreater, "SCMP_CMP_GE": SeccompGreaterEqual, "SCMP_CMP_MASKED_EQ": SeccompMasked,
}

func seccompArg(in seccompTest) (SeccompArg, error) {
	op, ok := seccompOps[in.Op]
	switch {
	case !ok:
		return SeccompArg{}, fmt.Errorf("%q is no comparison; use SCMP_CMP_EQ, NE, LT, LE, GT, GE or MASKED_EQ", shortened(in.Op))
	case in.Index > 5:
		return SeccompArg{}, fmt.Errorf("argument %d: a call has those from 0 to 5", in.Index)
	case op == SeccompMasked:
		return SeccompArg{Index: int(in.Index), Op: op, Mask: in.Value, Value: in.ValueTwo}, nil
	}
	return SeccompArg{Index: int(in.Index), Op: op, Value: in.Value}, nil
}

func capabilityNames(names []string) ([]string, error) {
	var out []string
	for _, n := range names {
		short, err := CapabilityName(n)
		if err != nil {
			return nil, err
		}
		out = append(out, short)
	}
	return out, nil
}

// CapabilityName returns the name of a capability as this package writes it: in capitals, without CAP_. AllCapabilities is one.
func CapabilityName(name string) (string, error) {
	short := strings.TrimPrefix(strings.ToUpper(name), "CAP_")
	if short == AllCapabilities || slices.Contains(Capabilities, short) {
		return short, nil
	}
	hint := ""
	if c := Closest(short, Capabilities); c != "" {
		hint = fmt.Sprintf("; did you mean %q?", c)
	}
	return "", fmt.Errorf("there is no capability %q%s", shortened(name), hint)
}

// goArches translates names of architectures as profiles have them. Those that nodes never are stay away.
func goArches(names []string) []string {
	out := []string{}
	for _, n := range names {
		switch n {
		case "amd64", "x86_64", "SCMP_ARCH_X86_64":
			out = append(out, "amd64")
		case "arm64", "aarch64", "SCMP_ARCH_AARCH64":
			out = append(out, "arm64")
		}
	}
	return out
}
