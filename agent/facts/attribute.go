package facts

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/stowage/stowage/spec"
)

// Limits of attributes: they travel with every description of the node.
const (
	maxAttributes = 64
	maxKeyBytes   = 63
	maxValueBytes = 255
)

// ownNames are the attributes that this package sets.
var ownNames = []string{KernelName, KernelVersion, KernelRelease, CPUArch, CPUModel, CPUCores, OSName, OSVersion, Hostname, CgroupVersion, CPUExclusive, spec.AttributeWeak}

// ParseAttribute reads an attribute as a person writes it: "rack=r1".
func ParseAttribute(text string) (key, value string, err error) {
	key, value, ok := strings.Cut(text, "=")
	if !ok {
		return "", "", fmt.Errorf("read attribute %q: write NAME=VALUE, as in rack=r1", text)
	}
	if err := checkAttribute(key, value); err != nil {
		return "", "", fmt.Errorf("read attribute %q: %w", text, err)
	}
	return key, value, nil
}

// readAttributes joins those of the flags with those of the file. Empty lines there, and those that begin with #, say nothing.
func readAttributes(o *Options) (map[string]string, error) {
	if o.AttributeFile == "" {
		return o.Attributes, nil
	}
	data, err := readFile(o.AttributeFile, "attributes")
	if err != nil {
		return nil, err
	}
	all := maps.Clone(o.Attributes)
	if all == nil {
		all = map[string]string{}
	}
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		key, value, err := ParseAttribute(line)
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", o.AttributeFile, number, err)
		}
		if _, twice := all[key]; twice {
			return nil, fmt.Errorf("%s, line %d: %s is given twice, there or with --attribute: leave one out", o.AttributeFile, number, key)
		}
		all[key] = value
	}
	return all, nil
}

func checkAttribute(key, value string) error {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r)
	}
	switch {
	case key == "" || len(key) > maxKeyBytes || strings.IndexFunc(key, odd) >= 0 || key[0] < 'a' || key[0] > 'z':
		return fmt.Errorf("a name has at most %d lower-case letters, digits, dots, dashes and underscores, and begins with a letter", maxKeyBytes)
	case slices.Contains(ownNames, key):
		return fmt.Errorf("%s is found out by the agent: choose another name", key)
	case value == "" || len(value) > maxValueBytes || strings.IndexFunc(value, unicode.IsControl) >= 0:
		return fmt.Errorf("a value has 1 to %d bytes, without control characters", maxValueBytes)
	}
	return nil
}

// addOwn adds a person's attributes to those found out.
func addOwn(to, own map[string]string) error {
	if len(own) > maxAttributes {
		return fmt.Errorf("a node has at most %d attributes of one's own, not %d", maxAttributes, len(own))
	}
	for key, value := range own {
		if err := checkAttribute(key, value); err != nil {
			return fmt.Errorf("attribute %q: %w", key, err)
		}
		to[key] = value
	}
	return nil
}
