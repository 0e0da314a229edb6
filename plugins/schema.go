package plugins

import (
	"fmt"
	"regexp"

	"github.com/stowage/stowage/spec"
)

// The limits on a schema.
const (
	// MaxSchemaDepth bounds how deep its blocks nest.
	MaxSchemaDepth = 8
	// MaxSchemaNames bounds its arguments and blocks, all levels together.
	MaxSchemaNames = 1000
)

var argumentName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// reserved names belong to the language in every block.
var reserved = map[string]bool{"for_each": true, "count": true, "dynamic": true, "content": true}

// CheckSchema reports what is wrong with a driver's schema, or nil.
func CheckSchema(s spec.Schema) error {
	names := 0
	if err := checkSchema(s, 0, &names); err != nil {
		return fmt.Errorf("its schema is refused: %w", err)
	}
	return nil
}

func checkSchema(s spec.Schema, depth int, names *int) error {
	if depth > MaxSchemaDepth {
		return fmt.Errorf("its blocks nest deeper than %d", MaxSchemaDepth)
	}
	c, seen := &checker{}, map[string]bool{}
	name := func(n string) {
		*names++
		c.that(argumentName.MatchString(n), "%q is no name of an argument: use lower-case letters, digits and underscores", n)
		c.that(!reserved[n], "%q means something in every block already", n)
		c.that(!seen[n], "%q stands in it twice", n)
		seen[n] = true
	}
	for _, a := range s.Arguments {
		name(a.Name)
		c.argument(a)
	}
	for _, b := range s.Blocks {
		name(b.Name)
		c.err(checkSchema(b.Schema, depth+1, names))
	}
	c.within("the number of names in a schema", *names, 0, MaxSchemaNames)
	return c.first
}

func (c *checker) argument(a spec.Argument) {
	number := oneOf(a.Type, spec.TypeNumber, spec.TypeSize, spec.TypeDuration)
	c.that(number || oneOf(a.Type, spec.TypeString, spec.TypeBool, spec.TypeStringList, spec.TypeStringMap), "%q of argument %q is no type", a.Type, a.Name)
	c.that(a.Min == nil && a.Max == nil || number, "argument %q has a range, but its type is %s", a.Name, a.Type)
	c.that(a.Min == nil || a.Max == nil || *a.Min <= *a.Max, "no value lies in the range of argument %q", a.Name)
	c.that(len(a.OneOf) == 0 || a.Type == spec.TypeString, "argument %q lists values, but its type is %s", a.Name, a.Type)
	c.that(!a.Required || a.Default == nil, "argument %q is required and has a default: it can have one of them", a.Name)
	if a.Default == nil {
		return
	}
	ok, text, n := false, "", 0.0
	switch v := a.Default.(type) {
	case float64:
		ok, n = number, v
	case string:
		ok, text = a.Type == spec.TypeString, v
	case bool:
		ok = a.Type == spec.TypeBool
	case []any:
		ok = a.Type == spec.TypeStringList
		for _, e := range v {
			_, is := e.(string)
			ok = ok && is
		}
	case []string:
		ok = a.Type == spec.TypeStringList
	case map[string]any:
		ok = a.Type == spec.TypeStringMap
		for _, e := range v {
			_, is := e.(string)
			ok = ok && is
		}
	case map[string]string:
		ok = a.Type == spec.TypeStringMap
	}
	c.that(ok, "the default of argument %q is no %s", a.Name, a.Type)
	c.that(!number || (a.Min == nil || *a.Min <= n) && (a.Max == nil || n <= *a.Max), "the default of argument %q is out of its range", a.Name)
	c.that(len(a.OneOf) == 0 || oneOf(text, a.OneOf...), "the default of argument %q is none of the values it may have", a.Name)
}
