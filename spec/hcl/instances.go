package hcl

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/stowage/stowage/spec"
)

func isTask(b *hclsyntax.Block) bool {
	return b.Type == "task" || b.Type == "dynamic" && len(b.Labels) == 1 && b.Labels[0] == "task"
}

// exprOf returns the expression of an argument that is written.
func exprOf(b *block, argument string) hcl.Expression { return b.Body.Attributes[argument].Expr }

// eachInstance calls make for the block, or, when it has for_each, for each of its elements with the name NAME/KEY.
func (l *loader) eachInstance(s *scope, b *block, base string, make func(b *block, name string)) {
	each := b.Body.Attributes["for_each"]
	if each == nil {
		make(b, base)
		return
	}
	elements, ok := l.iterate(each.Expr, b.env, false)
	if !ok {
		l.broken = l.broken || len(elements) == 0 // apps are missing that others may name
		return
	}
	if len(l.apps)+len(elements) > spec.MaxApps {
		l.at(each.Expr.Range(), b.env.context, "Too many apps", fmt.Sprintf("With these %d the commit makes more than %d apps. Make fewer.", len(elements), spec.MaxApps))
		l.broken = true
		return
	}
	for _, el := range elements {
		key, value := el.key, el.value
		if key.IsNull() || key.Type() != cty.String {
			continue
		}
		instance := *b
		instance.env = b.env.with(map[string]cty.Value{"each": cty.ObjectVal(map[string]cty.Value{"key": key, "value": value})})
		name := base + "/" + key.AsString()
		if err := spec.CheckName("a/" + key.AsString()); err != nil || key.AsString() == "" {
			l.at(each.Expr.Range(), b.env.context, "Invalid name", fmt.Sprintf("for_each has the key %q, which cannot be part of a name. Use keys of lower-case letters, digits and inner hyphens.", shorten(key.AsString(), 60)))
			l.broken = true
			continue
		}
		l.groups[spec.AppName(base)] = append(l.groups[spec.AppName(base)], spec.AppName(name))
		make(&instance, name)
		if l.meter.spent {
			return
		}
	}
}

// top are the blocks that stand at the top of a file.
var top = map[string]topBlock{
	"cluster":     {labels: []string{"name"}, doc: clusterTable.doc, table: clusterTable},
	"role":        {labels: []string{"name"}, doc: roleTable.doc, table: roleTable},
	"reservation": {labels: []string{"name"}, doc: reservationTable.doc, table: reservationTable},
	"pool":        {labels: []string{"name"}, doc: poolTable.doc, table: poolTable},
	"window":      {labels: []string{"name"}, doc: windowTable.doc, table: windowTable},
	"allowance":   {labels: []string{"name"}, doc: allowanceTable.doc, table: allowanceTable},
	"node_class":  {labels: []string{"name"}, doc: classTable.doc, table: classTable},
	"plugin":      {labels: []string{"name"}, doc: pluginTable.doc, table: pluginTable},
	"variable":    {labels: []string{"name"}, doc: variableTable.doc, table: variableTable, inModules: true},
	"locals":      {doc: "Values with names, used as local.NAME. They may refer to one another.", inModules: true},
	"app":         {labels: []string{"name"}, doc: appTable.doc, table: appTable, inModules: true},
	"framework":   {labels: []string{"driver", "name"}, doc: frameworkDoc, inModules: true},
	"module":      {labels: []string{"name"}, doc: moduleDoc, inModules: true},
	"moved":       {doc: movedTable.doc, table: movedTable},
}
