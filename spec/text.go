package spec

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

func describeRule(attribute string, op Operator, value string, values []string, number int) string {
	switch op {
	case OpSet, OpUnset:
		return attribute + " is " + string(op)
	case OpIn, OpNotIn:
		return fmt.Sprintf("%s %s [%s]", attribute, op, strings.Join(values, ", "))
	case OpDistinct, OpSame:
		return string(op) + " " + attribute
	case OpMaxPer:
		return fmt.Sprintf("at most %d per %s", number, attribute)
	case OpGroupBy:
		return "grouped by " + attribute
	}
	return fmt.Sprintf("%s %s %s", attribute, op, value)
}

func describeBeside(apart bool, app AppName, attribute string) string {
	text := "near " + string(app)
	if apart {
		text = "apart from " + string(app)
	}
	if attribute != "" && attribute != AttributeID {
		text += " by " + attribute
	}
	return text
}

// Hash identifies a version of an app by its content: the first 16 hexadecimal digits of SHA-256 over its JSON.
type Hash string

// Hash returns the version of the app: everything but where it stands in which file.
func (a *App) Hash() Hash {
	c := a.withoutPlaces()
	return hashJSON(&c)
}

// RuntimeHash covers what only a replacement can change: the tasks' programs, files, limits and identity, and the
// network. Two apps with the same RuntimeHash can follow one another in place.
func (a *App) RuntimeHash() Hash {
	type runtime struct {
		Kind    Kind
		Network Network
		Tasks   []Task
	}
	c := a.withoutPlaces()
	r := runtime{Network: c.Network, Tasks: make([]Task, len(c.Tasks))}
	if c.Kind == KindBatch {
		r.Kind = KindBatch
	}
	for i, t := range c.Tasks {
		t.Checks, t.Stop, t.Logs, t.MaxRun = nil, Stop{}, Logs{}, 0
		t.Artifacts = append([]Artifact(nil), t.Artifacts...)
		for k := range t.Artifacts {
			t.Artifacts[k].Deadline = 0
		}
		r.Tasks[i] = t
	}
	return hashJSON(&r)
}

// withoutPlaces returns a copy without positions: where a file stands changes nothing.
func (a *App) withoutPlaces() App {
	c := *a
	c.Pos = Pos{}
	c.Constraints = append([]Constraint(nil), c.Constraints...)
	for i := range c.Constraints {
		c.Constraints[i].Pos = Pos{}
	}
	c.Affinities = append([]Affinity(nil), c.Affinities...)
	for i := range c.Affinities {
		c.Affinities[i].Pos = Pos{}
	}
	c.Spreads = append([]Spread(nil), c.Spreads...)
	for i := range c.Spreads {
		c.Spreads[i].Pos = Pos{}
	}
	c.Network.Ports = append([]PortSpec(nil), c.Network.Ports...)
	for i := range c.Network.Ports {
		c.Network.Ports[i].Pos = Pos{}
	}
	c.Tasks = append([]Task(nil), c.Tasks...)
	for i := range c.Tasks {
		c.Tasks[i].Pos = Pos{}
	}
	return c
}

func hashJSON(v any) Hash {
	b, err := json.Marshal(v)
	if err != nil {
		panic("spec: a value of plain fields does not encode: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return Hash(hex.EncodeToString(sum[:8]))
}

// Expand fills in the ${…} references that are known only on the node. Unknown ones stay as they are: they are the
// program's own.
func Expand(text string, lookup func(name string) (string, bool)) string {
	if !strings.Contains(text, "${") {
		return text
	}
	var b strings.Builder
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			break
		}
		j := strings.IndexByte(text[i:], '}')
		if j < 0 {
			break
		}
		b.WriteString(text[:i])
		if v, ok := lookup(text[i+2 : i+j]); ok {
			b.WriteString(v)
		} else {
			b.WriteString(text[i : i+j+1])
		}
		text = text[i+j+1:]
	}
	b.WriteString(text)
	return b.String()
}

// CompareVersions orders two texts as numbers when both are, else as versions when both begin with a digit or "v" and a
// digit, else as text. Versions are dotted numbers; what follows after "-" makes a pre-release, which comes before, when
// it begins with a word such as alpha, beta or rc, and otherwise a revision, which comes after. Anything after "+" is
// ignored.
func CompareVersions(a, b string) int {
	if x, err := strconv.ParseFloat(a, 64); err == nil && x == x {
		if y, err := strconv.ParseFloat(b, 64); err == nil && y == y && strings.Count(a, ".")+strings.Count(b, ".") == 0 {
			return cmp.Compare(x, y)
		}
	}
	va, pa, oka := splitVersion(a)
	vb, pb, okb := splitVersion(b)
	if !oka || !okb {
		return cmp.Compare(a, b)
	}
	for i := 0; i < max(len(va), len(vb)); i++ {
		var x, y uint64
		if i < len(va) {
			x = va[i]
		}
		if i < len(vb) {
			y = vb[i]
		}
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
	}
	return compareSuffixes(pa, pb)
}

// compareSuffixes orders what follows the numbers of two versions after "-": a pre-release comes before the version
// itself, and a revision (6.1.0-13-amd64) after it.
func compareSuffixes(a, b string) int {
	if c := cmp.Compare(rankSuffix(a), rankSuffix(b)); c != 0 {
		return c
	}
	x, y := pieces(a), pieces(b)
	for i := 0; i < min(len(x), len(y)); i++ {
		m, err1 := strconv.ParseUint(x[i], 10, 64)
		n, err2 := strconv.ParseUint(y[i], 10, 64)
		c := cmp.Compare(x[i], y[i])
		switch {
		case err1 == nil && err2 == nil:
			c = cmp.Compare(m, n)
		case err1 == nil:
			c = -1
		case err2 == nil:
			c = 1
		}
		if c != 0 {
			return c
		}
	}
	return cmp.Compare(len(x), len(y))
}

// preReleases are the words that a pre-release begins with.
var preReleases = []string{"alpha", "beta", "dev", "pre", "preview", "rc", "snapshot"}

// rankSuffix is -1 for a pre-release, 0 for nothing and 1 for a revision.
func rankSuffix(s string) int {
	if s == "" {
		return 0
	}
	word := s
	if i := strings.IndexFunc(s, func(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }); i >= 0 {
		word = s[:i]
	}
	if slices.Contains(preReleases, strings.ToLower(word)) {
		return -1
	}
	return 1
}

// pieces cuts a suffix at its dots and hyphens, and between letters and digits: rc10 comes after rc9.
func pieces(s string) []string {
	var out []string
	start := 0
	digit := func(i int) bool { return s[i] >= '0' && s[i] <= '9' }
	for i := 0; i <= len(s); i++ {
		switch {
		case i == len(s), s[i] == '.', s[i] == '-':
			if i > start {
				out = append(out, s[start:i])
			}
			start = i + 1
		case i > start && digit(i) != digit(i-1):
			out = append(out, s[start:i])
			start = i
		}
	}
	return out
}

func splitVersion(s string) (numbers []uint64, pre string, ok bool) {
	s = strings.TrimPrefix(s, "v")
	s, _, _ = strings.Cut(s, "+")
	s, pre, _ = strings.Cut(s, "-")
	for _, part := range strings.Split(s, ".") {
		n, err := strconv.ParseUint(part, 10, 64)
		if err != nil {
			return nil, "", false
		}
		numbers = append(numbers, n)
	}
	return numbers, pre, true
}

// Plural is a number with its noun: "1 app", "2 apps".
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}
