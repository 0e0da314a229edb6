package hcl

import (
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/zclconf/go-cty/cty"

	"github.com/stowage/stowage/spec"
)

// kind is a type of argument as people know it: how it is called, read and shown.
type kind[V any] struct {
	name   string   // as the reference calls it
	values []string // all that is allowed, if that can be listed
	read   func(v cty.Value) (V, error)
	show   func(V) string // as people would write it; "" for nothing
}

// wrong says what an argument must be. Its text follows the argument's name.
type wrong string

func (w wrong) Error() string { return string(w) }

// remark is an error that is a sentence by itself, as those of package spec are.
type remark struct{ error }

// mustBe makes the error for a value of the wrong type: what is expected, and what it is.
func mustBe(what string, v cty.Value) error {
	return wrong("must be " + what + ", but here it is " + describe(v))
}

// describe names a value in a sentence.
func describe(v cty.Value) string {
	switch t := v.Type(); {
	case v.IsNull():
		return "null"
	case t == cty.String:
		return fmt.Sprintf("the text %q", shorten(v.AsString(), 60))
	case t == cty.Number:
		return "the number " + numberText(v)
	case t == cty.Bool:
		return strconv.FormatBool(v.True())
	case t.IsMapType(), t.IsObjectType():
		return fmt.Sprintf("a map of %d", v.LengthInt())
	case t.IsListType(), t.IsTupleType():
		return fmt.Sprintf("a list of %d", v.LengthInt())
	case t.IsSetType():
		return fmt.Sprintf("a set of %d", v.LengthInt())
	}
	return "a " + v.Type().FriendlyName()
}

func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func numberText(v cty.Value) string { return v.AsBigFloat().Text('g', 12) }

// text is any string; numbers are taken as people write them, as in PORT = 8080.
func text[V ~string]() kind[V] {
	return kind[V]{
		name: "text",
		read: func(v cty.Value) (V, error) {
			s, ok := asText(v)
			if !ok {
				return "", mustBe("a text in quotes", v)
			}
			return V(s), checkText(s)
		},
		show: func(s V) string { return quoteIfSet(string(s)) },
	}
}

func quoteIfSet(s string) string {
	if s == "" {
		return ""
	}
	return strconv.Quote(s)
}

// checkText refuses what no program argument, file or environment may hold.
func checkText(s string) error {
	if strings.ContainsRune(s, 0) {
		return wrong("must not hold a zero byte")
	}
	return nil
}

// asText reads strings, and numbers and truth values as they are written.
func asText(v cty.Value) (string, bool) {
	switch v.Type() {
	case cty.String:
		return v.AsString(), true
	case cty.Number:
		return v.AsBigFloat().Text('f', -1), saneMagnitude(v)
	case cty.Bool:
		return strconv.FormatBool(v.True()), true
	}
	return "", false
}

// oneOf is a string out of a few.
func oneOf[V ~string](values ...V) kind[V] {
	names := make([]string, len(values))
	for i, v := range values {
		names[i] = string(v)
	}
	return kind[V]{
		name: "text", values: names,
		read: func(v cty.Value) (V, error) {
			if v.Type() != cty.String {
				return "", mustBe(either(names), v)
			}
			s := v.AsString()
			if !slices.Contains(names, s) {
				return "", wrong(fmt.Sprintf("must be %s, but here it is %q.%s", either(names), shorten(s, 60), didYouMean(s, names)))
			}
			return V(s), nil
		},
		show: func(s V) string { return quoteIfSet(string(s)) },
	}
}

var flag = kind[bool]{
	name: "true or false",
	read: func(v cty.Value) (bool, error) {
		if v.Type() != cty.Bool {
			return false, mustBe("true or false", v)
		}
		return v.True(), nil
	},
	show: strconv.FormatBool,
}

// whole is an integer within bounds, both included.
func whole(low, high int) kind[int] {
	name := fmt.Sprintf("whole number from %d to %d", low, high)
	return kind[int]{
		name: name,
		read: func(v cty.Value) (int, error) {
			f, ok := asFloat(v)
			if !ok || f != math.Trunc(f) {
				return 0, mustBe("a "+name, v)
			}
			if f < float64(low) || f > float64(high) {
				return 0, wrong(fmt.Sprintf("must be a %s, but here it is %s", name, numberText(v)))
			}
			return int(f), nil
		},
		show: func(n int) string {
			if n < low {
				return "" // a zero that stands for nothing
			}
			return strconv.Itoa(n)
		},
	}
}

// asFloat reads a number. Texts that hold one are no numbers: quotes around a number are a slip worth telling.
func asFloat(v cty.Value) (float64, bool) {
	if v.Type() != cty.Number || !saneMagnitude(v) {
		return 0, false
	}
	f, _ := v.AsBigFloat().Float64()
	return f, true
}

// milli reads a number to the thousandth.
func milli(v cty.Value) (spec.Milli, bool) {
	if _, ok := asFloat(v); !ok {
		return 0, false
	}
	thousand := new(big.Float).Mul(v.AsBigFloat(), big.NewFloat(1000))
	f, _ := thousand.Float64()
	if math.Abs(f) > 1e15 {
		return 0, false
	}
	return spec.Milli(math.Round(f)), true
}

var cores = kind[spec.MilliCPU]{
	name: "number of cores, to a thousandth",
	read: func(v cty.Value) (spec.MilliCPU, error) {
		m, ok := milli(v)
		if !ok {
			return 0, mustBe("a number of cores such as 0.5", v)
		}
		if m < 1 || spec.MilliCPU(m) > spec.MaxCPU {
			return 0, wrong(fmt.Sprintf("must be a number of cores from 0.001 to %s, but here it is %s", spec.MaxCPU, numberText(v)))
		}
		return spec.MilliCPU(m), nil
	},
	show: spec.MilliCPU.String,
}

// maxCores is cores where none written is no limit.
var maxCores = kind[spec.MilliCPU]{name: cores.name, read: cores.read, show: manyCores.show}

var size = kind[spec.Bytes]{
	name: "size",
	read: func(v cty.Value) (spec.Bytes, error) {
		if v.Type() == cty.Number {
			return 0, wrong(fmt.Sprintf("must be a size with its unit, such as \"256MiB\", but here it is the number %s. Write the unit: \"%sMiB\"", numberText(v), numberText(v)))
		}
		if v.Type() != cty.String {
			return 0, mustBe("a size such as \"256MiB\"", v)
		}
		b, err := spec.ParseBytes(shorten(v.AsString(), 60))
		if err != nil {
			return 0, remark{err}
		}
		return b, nil
	},
	show: func(b spec.Bytes) string {
		if b == 0 {
			return ""
		}
		return strconv.Quote(b.String())
	},
}

var duration = kind[spec.Duration]{
	name: "duration",
	read: func(v cty.Value) (spec.Duration, error) {
		if v.Type() == cty.Number {
			return 0, wrong(fmt.Sprintf("must be a duration with its unit, such as \"10s\", but here it is the number %s. Write the unit: \"%ss\"", numberText(v), numberText(v)))
		}
		if v.Type() != cty.String {
			return 0, mustBe("a duration such as \"10s\" or \"5m\"", v)
		}
		d, err := spec.ParseDuration(shorten(v.AsString(), 60))
		if err != nil {
			return 0, remark{err}
		}
		return d, nil
	},
	show: func(d spec.Duration) string { return strconv.Quote(d.String()) },
}

var percentForm = regexp.MustCompile(`^(\d{1,3})%$`)

// percent is "20%" or a whole number of things.
var percent = kind[spec.Percent]{
	name: `percentage such as "20%", or a whole number`,
	read: func(v cty.Value) (spec.Percent, error) {
		if f, ok := asFloat(v); ok && f == math.Trunc(f) && f >= 0 && f <= spec.MaxCount {
			return spec.Percent{Value: int(f), Absolute: true}, nil
		}
		if p, ok := readPercent(v); ok {
			return spec.Percent{Value: p}, nil
		}
		return spec.Percent{}, mustBe(`a percentage such as "20%" or a whole number`, v)
	},
	show: func(p spec.Percent) string {
		if p.Absolute {
			return p.String()
		}
		return strconv.Quote(p.String())
	},
}

func readPercent(v cty.Value) (int, bool) {
	n, ok := wholePercent(v)
	return n, ok && n <= 100
}

// wholePercent reads a percentage that may be beyond the whole.
func wholePercent(v cty.Value) (int, bool) {
	if v.Type() != cty.String {
		return 0, false
	}
	m := percentForm.FindStringSubmatch(v.AsString())
	if m == nil {
		return 0, false
	}
	n, _ := strconv.Atoi(m[1])
	return n, true
}

// part is a percentage kept in thousandths.
var part = kind[spec.Milli]{
	name: `percentage such as "50%"`,
	read: func(v cty.Value) (spec.Milli, error) {
		p, ok := readPercent(v)
		if !ok {
			return 0, mustBe(`a percentage from "0%" to "100%"`, v)
		}
		return spec.Milli(p * 10), nil
	},
	show: func(m spec.Milli) string {
		if m == 0 {
			return ""
		}
		return strconv.Quote((m / 10 * 1000).String() + "%")
	},
}

var texts = kind[[]string]{
	name: "list of texts",
	read: func(v cty.Value) ([]string, error) {
		if !isList(v) {
			return nil, mustBe(`a list of texts such as ["a", "b"]`, v)
		}
		out := make([]string, 0, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			s, ok := "", false
			if !e.IsNull() {
				s, ok = asText(e)
			}
			if !ok {
				return nil, wrong(fmt.Sprintf("must be a list of texts, but element %d is %s", len(out), describe(e)))
			}
			if err := checkText(s); err != nil {
				return nil, err
			}
			out = append(out, s)
		}
		return out, nil
	},
	show: func(s []string) string { return "" },
}

func isList(v cty.Value) bool {
	t := v.Type()
	return t.IsListType() || t.IsTupleType() || t.IsSetType()
}

func isMap(v cty.Value) bool { return v.Type().IsMapType() || v.Type().IsObjectType() }

var textMap = kind[map[string]string]{
	name: "map of texts",
	read: func(v cty.Value) (map[string]string, error) {
		if !isMap(v) {
			return nil, mustBe(`a map such as { KEY = "value" }`, v)
		}
		out := make(map[string]string, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			key, e := it.Element()
			k := key.AsString()
			if e.IsNull() {
				continue // as if it were not written
			}
			s, ok := asText(e)
			if !ok {
				return nil, wrong(fmt.Sprintf("must be a map of texts, but %q is %s", shorten(k, 60), describe(e)))
			}
			if err := checkText(k + s); err != nil {
				return nil, err
			}
			out[k] = s
		}
		return out, nil
	},
	show: func(map[string]string) string { return "" },
}

// environment is a map of texts whose keys fit the environment of a process.
var environment = kind[map[string]string]{
	name: "map of texts",
	read: func(v cty.Value) (map[string]string, error) {
		m, err := textMap.read(v)
		for _, k := range sortedKeys(m) {
			if k == "" || strings.ContainsFunc(k, func(r rune) bool { return r == '=' || unicode.IsSpace(r) || unicode.IsControl(r) }) {
				return nil, wrong(fmt.Sprintf("must have names without \"=\" and spaces, but here is %q", shorten(k, 60)))
			}
		}
		return m, err
	},
	show: textMap.show,
}

// amounts are named resources.
var amounts = kind[map[string]spec.Milli]{
	name: "map of numbers",
	read: func(v cty.Value) (map[string]spec.Milli, error) {
		if !isMap(v) {
			return nil, mustBe("a map of amounts such as { gpu = 1 }", v)
		}
		out := make(map[string]spec.Milli, v.LengthInt())
		for it := v.ElementIterator(); it.Next(); {
			key, e := it.Element()
			k := key.AsString()
			m, err := amount(e)
			if err != nil {
				return nil, wrong(fmt.Sprintf("has %q, which %s", shorten(k, 60), err))
			}
			if err := resourceName(k); err != nil {
				return nil, err
			}
			out[k] = m
		}
		return out, nil
	},
	show: func(map[string]spec.Milli) string { return "" },
}

// amount reads an amount of a named resource.
func amount(v cty.Value) (spec.Milli, error) {
	if v.IsNull() {
		return 0, mustBe("a number", v)
	}
	m, ok := milli(v)
	if !ok {
		return 0, mustBe("a number such as 1 or 0.5", v)
	}
	if m < 0 || m > 1e12 {
		return 0, wrong(fmt.Sprintf("must be a number from 0 to 1000000000, but here it is %s", numberText(v)))
	}
	return m, nil
}

func resourceName(k string) error {
	switch {
	case k == "cpu" || k == "memory" || k == "disk" || k == "cores" || k == "memory_max":
		return wrong(fmt.Sprintf("must not name %q, which is an argument of its own", k))
	case spec.CheckResource(k) != nil:
		return wrong(fmt.Sprintf("must have names of lower-case letters, digits, \"_\", \".\", \"/\" and \"-\", but here is %q", shorten(k, 60)))
	}
	return nil
}

var checksumForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

var checksum = kind[string]{
	name: "SHA-256 in hexadecimal",
	read: func(v cty.Value) (string, error) {
		if v.Type() != cty.String {
			return "", mustBe("a SHA-256 of 64 hexadecimal digits", v)
		}
		s := strings.ToLower(v.AsString())
		if !checksumForm.MatchString(s) {
			return "", wrong(fmt.Sprintf("must be a SHA-256 of 64 hexadecimal digits, but here it is %q (%d characters). Print it with: sha256sum FILE", shorten(s, 64), len(s)))
		}
		return s, nil
	},
	show: quoteIfSet,
}

func sortedKeys[K ~string, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
