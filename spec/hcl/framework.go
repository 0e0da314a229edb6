package hcl

import (
	"fmt"
	"slices"

	"github.com/zclconf/go-cty/cty"

	"github.com/stowage/stowage/spec"
)

const frameworkDoc = "Apps that a driver runs for you. The driver is a plugin of kind framework; its schema decides what may stand in the block. for_each is taken as in an app."

// decodeFramework decodes a framework block, or all that its for_each makes.
func (l *loader) decodeFramework(s *scope, b *block) {
	driver := b.label(0)
	plugin := l.plugins[driver]
	if plugin == nil || plugin.value.Kind != spec.PluginFramework {
		l.unknownDriver(b, driver, plugin)
		return
	}
	schema, ok := l.schemaOf(b, plugin.value)
	if !ok {
		return
	}
	l.eachInstance(s, b, s.prefix+b.label(1), func(b *block, name string) {
		b.env.context = fmt.Sprintf("framework %q %q", driver, shorten(name, spec.MaxNameLength))
		if err := spec.CheckName(name); err != nil {
			l.at(b.LabelRanges[1], b.env.context, "Invalid name", fmt.Sprintf("This is no name for a framework: %v.", err))
			return
		}
		if !l.meter.charge(1500, 10) || len(l.frames) >= spec.MaxApps {
			l.overdrawn(b.place(), b.env)
			return
		}
		f := &spec.Framework{Driver: driver, Name: spec.AppName(name), Pos: position(b.TypeRange), Places: map[string]spec.Pos{}}
		if schema == nil {
			f.Config = l.looseBody(b, f, "")
		} else {
			f.Config = l.schemaBody(b, schema, f, "")
		}
		declareAt(l, l.frames, "framework", f.Name, f, b, b.LabelRanges[1])
	})
}

func (l *loader) unknownDriver(b *block, driver string, plugin *declared[spec.Plugin]) {
	if l.broken {
		return
	}
	if plugin != nil {
		l.at(b.place(), b.env.context, "Unknown framework driver", fmt.Sprintf("The plugin %q (declared at %s) is a policy and no framework driver.", driver, where(plugin.value.Pos)))
		return
	}
	var drivers []string
	for _, n := range sortedKeys(l.plugins) {
		if l.plugins[n].value.Kind == spec.PluginFramework {
			drivers = append(drivers, n)
		}
	}
	hint := didYouMean(driver, drivers)
	if hint == "" {
		hint = fmt.Sprintf(" Declare it: plugin %q { kind = \"framework\" … }.", shorten(driver, 60))
	}
	l.at(b.place(), b.env.context, "Unknown framework driver", fmt.Sprintf("There is no plugin named %q.%s", shorten(driver, 60), hint))
}

// schemaOf asks for a driver's schema, once. It returns nil and true when bodies are not to be checked.
func (l *loader) schemaOf(b *block, p *spec.Plugin) (*spec.Schema, bool) {
	if l.options.Schemas == nil {
		l.add(spec.Diagnostic{
			Severity: spec.SeverityWarning, Summary: "Block not checked", Pos: position(b.TypeRange), Context: b.env.context,
			Detail: fmt.Sprintf("The driver %q is not at hand here, so what stands in this block is taken as it is. The master checks it.", p.Name),
		})
		return nil, true
	}
	if schema, known := l.schemas[p.Name]; known {
		return schema, schema != nil
	}
	schema, err := l.options.Schemas(*p)
	if err != nil || schema == nil {
		l.schemas[p.Name] = nil
		l.at(b.place(), b.env.context, "Framework driver not available", fmt.Sprintf("The driver %q (declared at %s) did not tell what may stand in its blocks: %v. Check the plugin block and its command.", p.Name, where(p.Pos), err))
		return nil, false
	}
	l.schemas[p.Name] = schema
	return schema, true
}

// schemaBody decodes a body as the driver's schema says.
func (l *loader) schemaBody(b *block, s *spec.Schema, f *spec.Framework, path string) map[string]any {
	t := schemaTable(s, path == "")
	config := map[string]any{}
	for name, a := range b.Body.Attributes {
		if name != "for_each" || path != "" {
			f.Places[path+name] = position(a.NameRange)
		}
	}
	t.decode(&l.decoder, b, &config)
	for _, a := range s.Arguments {
		if _, written := config[a.Name]; !written && a.Default != nil {
			config[a.Name] = a.Default
		}
	}
	l.schemaBlocks(b, s, f, path, config)
	return config
}

// schemaTable is the table of a schema: its arguments. Its blocks are only named, schemaBlocks decodes them.
func schemaTable(s *spec.Schema, outermost bool) *table[map[string]any] {
	t := &table[map[string]any]{}
	if outermost {
		t.args = append(t.args, argument[map[string]any]{name: "for_each"})
	}
	for _, a := range s.Arguments {
		t.args = append(t.args, argument[map[string]any]{
			name: a.Name, doc: a.Description, kind: string(a.Type), required: a.Required, values: a.OneOf,
			set: func(c *map[string]any, v cty.Value) error {
				x, err := readArgument(a, v)
				if err == nil {
					(*c)[a.Name] = x
				}
				return err
			},
		})
	}
	for _, n := range s.Blocks {
		t.blocks = append(t.blocks, nested[map[string]any]{
			name: n.Name, label: labelOf(n), many: n.Labelled, decode: func(*decoder, *block, *map[string]any) {},
		})
	}
	return t
}

func labelOf(n spec.BlockType) string {
	if n.Labelled {
		return "name"
	}
	return ""
}

// schemaBlocks decodes the blocks in a body. Labels, unknown and duplicate ones are checked by the table.
func (l *loader) schemaBlocks(b *block, s *spec.Schema, f *spec.Framework, path string, config map[string]any) {
	for _, c := range l.expand(b, schemaTable(s, false).blockNames()) {
		i := slices.IndexFunc(s.Blocks, func(n spec.BlockType) bool { return n.Name == c.Type })
		if i < 0 || len(c.Labels) != map[bool]int{true: 1, false: 0}[s.Blocks[i].Labelled] {
			continue
		}
		n := s.Blocks[i]
		inner := path + n.Name + "."
		if !n.Labelled {
			f.Places[path+n.Name] = position(c.TypeRange)
			config[n.Name] = l.schemaBody(c, &n.Schema, f, inner)
			continue
		}
		all, _ := config[n.Name].(map[string]any)
		if all == nil {
			all = map[string]any{}
			config[n.Name] = all
		}
		if _, twice := all[c.Labels[0]]; twice {
			l.at(c.place(), c.env.context, "Duplicate block", fmt.Sprintf("There is a %s %q already. Rename one of them.", n.Name, shorten(c.Labels[0], 60)))
			continue
		}
		f.Places[inner+c.Labels[0]] = position(c.TypeRange)
		all[c.Labels[0]] = l.schemaBody(c, &n.Schema, f, inner+c.Labels[0]+".")
	}
}

// readArgument converts a value to what a driver expects: text, float64, bool, or a list or map of texts.
func readArgument(a spec.Argument, v cty.Value) (any, error) {
	switch a.Type {
	case spec.TypeString:
		s, err := text[string]().read(v)
		if err == nil && len(a.OneOf) > 0 {
			_, err = oneOf(a.OneOf...).read(v)
		}
		return s, err
	case spec.TypeBool:
		return asAny(flag.read(v))
	case spec.TypeNumber:
		f, ok := asFloat(v)
		if !ok {
			return nil, mustBe("a number", v)
		}
		return f, inRange(a, f, numberText(v), func(f float64) string { return numberText(cty.NumberFloatVal(f)) })
	case spec.TypeSize:
		b, err := size.read(v)
		if err != nil {
			return nil, err
		}
		return float64(b), inRange(a, float64(b), b.String(), func(f float64) string { return spec.Bytes(f).String() })
	case spec.TypeDuration:
		t, err := duration.read(v)
		if err != nil {
			return nil, err
		}
		seconds := float64(t) / float64(spec.Second)
		return seconds, inRange(a, seconds, t.String(), func(f float64) string { return spec.Duration(f * float64(spec.Second)).String() })
	case spec.TypeStringList:
		list, err := texts.read(v)
		out := make([]any, len(list))
		for i, s := range list {
			out[i] = s
		}
		return out, err
	case spec.TypeStringMap:
		m, err := textMap.read(v)
		out := make(map[string]any, len(m))
		for k, s := range m {
			out[k] = s
		}
		return out, err
	}
	return nil, wrong(fmt.Sprintf("has the type %q, which this version does not know. Update Stowage, or take an older driver", a.Type))
}

func asAny[V any](v V, err error) (any, error) { return v, err }

func inRange(a spec.Argument, f float64, given string, show func(float64) string) error {
	switch {
	case a.Min != nil && f < *a.Min:
		return wrong(fmt.Sprintf("must be at least %s, but here it is %s", show(*a.Min), given))
	case a.Max != nil && f > *a.Max:
		return wrong(fmt.Sprintf("must be at most %s, but here it is %s", show(*a.Max), given))
	}
	return nil
}

// looseBody takes a body as it is, for want of a schema.
func (l *loader) looseBody(b *block, f *spec.Framework, path string) map[string]any {
	config := map[string]any{}
	for _, name := range sortedKeys(b.Body.Attributes) {
		if name == "for_each" && path == "" {
			continue
		}
		a := b.Body.Attributes[name]
		f.Places[path+name] = position(a.NameRange)
		if v, ok := l.eval(a.Expr, b.env); ok {
			config[name] = looseValue(v)
		}
	}
	for _, c := range b.Body.Blocks {
		inner, into, key := path+c.Type+".", config, c.Type
		for _, label := range c.Labels {
			next, _ := into[key].(map[string]any)
			if next == nil {
				next = map[string]any{}
				into[key] = next
			}
			inner, into, key = inner+label+".", next, label
		}
		f.Places[inner[:len(inner)-1]] = position(c.TypeRange)
		into[key] = l.looseBody(&block{Block: c, env: b.env}, f, inner)
	}
	return config
}

// looseValue converts a value as JSON would.
func looseValue(v cty.Value) any {
	switch {
	case v.IsNull():
		return nil
	case v.Type() == cty.Bool:
		return v.True()
	case v.Type() == cty.Number:
		f, _ := v.AsBigFloat().Float64()
		return f
	case v.Type() == cty.String:
		return v.AsString()
	case isList(v):
		out := []any{}
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			out = append(out, looseValue(e))
		}
		return out
	case isMap(v):
		out := map[string]any{}
		for it := v.ElementIterator(); it.Next(); {
			k, e := it.Element()
			out[k.AsString()] = looseValue(e)
		}
		return out
	}
	return nil
}
