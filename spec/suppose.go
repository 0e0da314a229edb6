package spec

import (
	"fmt"
	"strconv"
	"strings"
)

// Supposition is what a plan assumes of the nodes though it is not so: nodes that are gone for good, and more of them.
type Supposition struct {
	Without []LostNodes `json:"without,omitempty"`
	With    []MoreNodes `json:"with,omitempty"`
}

// LostNodes are the nodes with one value of an attribute. The attribute "node" stands for AttributeID.
type LostNodes struct {
	Attribute string   `json:"attribute"`
	Value     string   `json:"value"`
	Nodes     []NodeID `json:"nodes,omitempty"` // which those are; filled in by the planner
}

// MoreNodes are so many nodes of a class, or like one that is there.
type MoreNodes struct {
	Count int      `json:"count"`
	Class string   `json:"class,omitempty"`
	Like  NodeID   `json:"like,omitempty"`
	Nodes []NodeID `json:"nodes,omitempty"` // what they are called; filled in by the planner
}

// Empty reports whether nothing is supposed.
func (s *Supposition) Empty() bool { return s == nil || len(s.Without)+len(s.With) == 0 }

// String prints the nodes as they are written: rack/r1.
func (l LostNodes) String() string { return l.Attribute + "/" + l.Value }

// String prints the nodes as they are written: 5xbig, or 2xlike/n3.
func (m MoreNodes) String() string {
	if m.Like != "" {
		return fmt.Sprintf("%dxlike/%s", m.Count, m.Like)
	}
	return fmt.Sprintf("%dx%s", m.Count, m.Class)
}

// ParseSupposition reads nodes to be without, such as "node/n3" or "rack/r1", and nodes to be with, such as "5xbig" or
// "2xlike/n3". At most MaxSuppositions of each.
func ParseSupposition(without, with []string) (Supposition, error) {
	var s Supposition
	if len(without) > MaxSuppositions || len(with) > MaxSuppositions {
		return s, fmt.Errorf("at most %d --without and %d --with can be supposed at once", MaxSuppositions, MaxSuppositions)
	}
	for _, text := range without {
		attribute, value, ok := strings.Cut(text, "/")
		if !ok || attribute == "" || value == "" {
			example := "node/n3"
			if !ok && text != "" {
				example = "node/" + text
			}
			return s, fmt.Errorf("--without %q names no nodes: write an attribute and its value, such as %s or rack/r1", text, example)
		}
		s.Without = append(s.Without, LostNodes{Attribute: attribute, Value: value})
	}
	for _, text := range with {
		number, what, ok := strings.Cut(text, "x")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n < 1 || n > MaxMoreNodes || what == "" {
			return s, fmt.Errorf("--with %q names no nodes: write how many (1 to %d) of which node_class, such as 5xbig, or like which node, such as 2xlike/n3", text, MaxMoreNodes)
		}
		m := MoreNodes{Count: n, Class: what}
		if like, ok := strings.CutPrefix(what, "like/"); ok {
			m.Class, m.Like = "", NodeID(like)
		}
		if m.Class == "" && m.Like == "" {
			return s, fmt.Errorf("--with %q names no node: write like which, such as 2xlike/n3", text)
		}
		s.With = append(s.With, m)
	}
	return s, nil
}
