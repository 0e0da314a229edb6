package spec

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// AppName names an app; segments nest with "/", as in "shop/web".
type AppName string

// TaskName names a task within its app.
type TaskName string

// RoleName names a party to fair sharing; segments nest with "/", as in "eng/data".
type RoleName string

// PoolName names a part of the nodes, one segment; "" stands for DefaultPool.
type PoolName string

// Or returns the name, or DefaultPool when it is empty.
func (p PoolName) Or() PoolName {
	if p == "" {
		return DefaultPool
	}
	return p
}

// Holds reports whether an app of the pool may run on a node of the other.
func (p PoolName) Holds(node PoolName) bool { return p == AllPools || p.Or() == node.Or() }

// NodeID names a node. Agents choose it once (by default the host name) and keep it.
type NodeID string

// Generation numbers the decisions that created allocations. It only grows, over all apps and for ever.
type Generation uint64

// Commit is the full hexadecimal hash of a Git commit, or "" for a working tree that is not committed.
type Commit string

// Short returns the first seven characters of the hash, as people quote it.
func (c Commit) Short() string {
	if len(c) > 7 {
		return string(c[:7])
	}
	return string(c)
}

// Limits on names, so that a name always fits into a file name, a cgroup and a container ID.
const (
	// MaxNameLength bounds app, role, task and node names, in bytes.
	MaxNameLength = 100
	// MaxNameSegments bounds how deep names nest.
	MaxNameSegments = 8
)

var segment = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

// CheckName reports what is wrong with an app or role name, or nil. Segments of lower-case letters, digits and inner
// hyphens are joined by "/".
func CheckName(name string) error {
	if len(name) > MaxNameLength {
		return fmt.Errorf("the name is %d bytes long, at most %d are allowed", len(name), MaxNameLength)
	}
	parts := strings.Split(name, "/")
	if len(parts) > MaxNameSegments {
		return fmt.Errorf("the name nests %d deep, at most %d are allowed", len(parts), MaxNameSegments)
	}
	for _, p := range parts {
		if !segment.MatchString(p) {
			return fmt.Errorf("%q is not a name: use lower-case letters, digits and inner hyphens, with \"/\" between segments", name)
		}
	}
	return nil
}

// CheckLabel reports what is wrong with a task, port, check or node name, or nil: one segment of an app name;
// a node may have dots too.
func CheckLabel(name string) error {
	if len(name) > MaxNameLength {
		return fmt.Errorf("the name is %d bytes long, at most %d are allowed", len(name), MaxNameLength)
	}
	for _, p := range strings.Split(name, ".") {
		if !segment.MatchString(p) {
			return fmt.Errorf("%q is not a name: use lower-case letters, digits and inner hyphens", name)
		}
	}
	return nil
}

// CheckPool reports what is wrong with the name of a pool that nodes are in, or nil. None is the default pool.
func CheckPool(name PoolName) error {
	if name == "" {
		return nil
	}
	if name == AllPools {
		return fmt.Errorf("%q is no pool: it stands for all of them, in system apps. Choose another name", string(name))
	}
	if len(name) > MaxNameLength || !segment.MatchString(string(name)) {
		return fmt.Errorf("%.60q is no name for a pool: use lower-case letters, digits and inner hyphens, at most %d", string(name), MaxNameLength)
	}
	return nil
}

// Slot is one of the places an app's count asks for. It prints as shop/web[3].
type Slot struct {
	App   AppName `json:"app"`
	Index int     `json:"slot"`
}

// String returns the slot as people write it.
func (s Slot) String() string { return string(s.App) + "[" + strconv.Itoa(s.Index) + "]" }

// Compare orders slots by app, then index.
func (s Slot) Compare(o Slot) int {
	if c := cmp.Compare(s.App, o.App); c != 0 {
		return c
	}
	return cmp.Compare(s.Index, o.Index)
}

// ParseSlot reads the form that Slot.String prints.
func ParseSlot(text string) (Slot, error) {
	app, rest, ok := strings.Cut(text, "[")
	index, found := strings.CutSuffix(rest, "]")
	n, err := strconv.Atoi(index)
	if !ok || !found || err != nil || n < 0 || CheckName(app) != nil {
		return Slot{}, fmt.Errorf("%q is not a slot: write it as shop/web[3]", text)
	}
	return Slot{AppName(app), n}, nil
}

// AllocationID names an allocation for good: its app (with "." for "/"), its slot and its generation, as in
// "shop.web-3-17". It is fit for a file name, a cgroup and a shell.
type AllocationID string

// NewAllocationID derives the ID of the allocation of a slot in a generation.
func NewAllocationID(s Slot, g Generation) AllocationID {
	b := make([]byte, 0, len(s.App)+16)
	for i := 0; i < len(s.App); i++ {
		if s.App[i] == '/' {
			b = append(b, '.')
		} else {
			b = append(b, s.App[i])
		}
	}
	b = append(b, '-')
	b = strconv.AppendInt(b, int64(s.Index), 10)
	b = append(b, '-')
	b = strconv.AppendUint(b, uint64(g), 10)
	return AllocationID(b)
}

// Parse splits the ID into its slot and generation.
func (id AllocationID) Parse() (Slot, Generation, error) {
	bad := fmt.Errorf("%q is not an allocation ID: it looks like shop.web-3-17", string(id))
	i := strings.LastIndexByte(string(id), '-')
	if i < 0 {
		return Slot{}, 0, bad
	}
	j := strings.LastIndexByte(string(id[:i]), '-')
	if j < 0 {
		return Slot{}, 0, bad
	}
	g, err1 := strconv.ParseUint(string(id[i+1:]), 10, 64)
	n, err2 := strconv.Atoi(string(id[j+1 : i]))
	app := strings.ReplaceAll(string(id[:j]), ".", "/")
	if err1 != nil || err2 != nil || n < 0 || CheckName(app) != nil {
		return Slot{}, 0, bad
	}
	return Slot{AppName(app), n}, Generation(g), nil
}
