package api

import (
	"cmp"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Version of the API as its description tells it. Minor versions only add.
const Version = "1.0"

type object = map[string]any

// OpenAPI returns the description of all routes in OpenAPI 3.1, as indented JSON with a newline at the end.
func OpenAPI() []byte { return describe() }

var describe = sync.OnceValue(func() []byte {
	d := describer{schemas: object{}}
	paths := map[string]object{}
	for _, r := range Routes {
		path := braces.ReplaceAllString(r.Path, "{$1}")
		if paths[path] == nil {
			paths[path] = object{}
		}
		paths[path][strings.ToLower(r.Method)] = d.operation(&r)
	}
	d.reference(reflect.TypeFor[Error]())
	doc := object{
		"openapi": "3.1.0",
		"info": object{"title": "Stowage", "version": Version,
			"description": "What the master of a Stowage cluster offers to people and programs.",
			"license":     object{"name": "Apache-2.0", "identifier": "Apache-2.0"}},
		"servers": []object{{"url": "https://127.0.0.1:7470"}},
		"paths":   paths,
		"components": object{"schemas": d.schemas, "securitySchemes": object{
			"token":       object{"type": "http", "scheme": "bearer", "description": "A token of stowage token create: stw_operator_… may do everything, stw_reader_… may look, stw_agent_… may join."},
			"certificate": object{"type": "mutualTLS", "description": "An agent's certificate."},
		}},
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic("api: the description does not encode: " + err.Error())
	}
	return append(b, '\n')
})

var braces = regexp.MustCompile(`\{([a-z]+)(?:\.\.\.)?\}`)

type describer struct{ schemas object }

func (d *describer) operation(r *Route) object {
	status := strconv.Itoa(cmp.Or(r.Status, 200))
	op := object{
		"operationId": r.ID, "summary": r.Summary,
		"responses": object{
			status: d.success(r),
			"default": object{"description": "What went wrong and what to do about it",
				"content": object{"application/json": object{"schema": object{"$ref": "#/components/schemas/Error"}}}},
		},
		"security": security[r.Access],
		"x-access": string(r.Access),
	}
	var params []object
	for _, m := range braces.FindAllStringSubmatch(r.Path, -1) {
		params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, p := range r.Query {
		schema := object{"type": p.Type}
		if p.Type == "strings" {
			schema = object{"type": "array", "items": object{"type": "string"}}
		}
		params = append(params, object{"name": p.Name, "in": "query", "description": p.Description, "schema": schema})
	}
	if params != nil {
		op["parameters"] = params
	}
	switch {
	case r.Request != nil:
		op["requestBody"] = object{"content": object{"application/json": object{"schema": d.of(reflect.TypeOf(r.Request))}}}
	case r.Upload != "":
		op["requestBody"] = object{"content": object{r.Upload: object{}}}
	}
	return op
}

func (d *describer) success(r *Route) object {
	media := cmp.Or(r.Media, "application/json")
	content := object{}
	if r.Response != nil {
		content["schema"] = d.of(reflect.TypeOf(r.Response))
	}
	return object{"description": r.Summary, "content": object{media: content}}
}

var security = map[Access][]object{
	Open: {}, Read: {{"token": []string{}}}, Operate: {{"token": []string{}}}, Join: {{"token": []string{}}},
	Agent: {{"certificate": []string{}}}, Fetch: {{"certificate": []string{}}, {"token": []string{}}},
}

var textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()

// of returns the schema of a type, named ones by reference.
func (d *describer) of(t reflect.Type) object {
	switch {
	case t.Kind() == reflect.Pointer:
		return d.of(t.Elem())
	case t.Implements(textMarshaler) || reflect.PointerTo(t).Implements(textMarshaler):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Struct:
		return d.reference(t)
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": d.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": d.of(t.Elem())}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Interface:
		return object{}
	default:
		return object{"type": "integer"}
	}
}

// reference describes a struct once and refers to it.
func (d *describer) reference(t reflect.Type) object {
	ref := object{"$ref": "#/components/schemas/" + d.name(t)}
	if _, ok := d.schemas[d.name(t)]; ok {
		return ref
	}
	properties, required := object{}, []string{}
	d.schemas[d.name(t)] = object{} // ends the recursion of types that hold themselves
	d.fields(t, properties, &required)
	schema := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		slices.Sort(required)
		schema["required"] = required
	}
	d.schemas[d.name(t)] = schema
	return ref
}

// name tells types of the same name in spec and api apart.
func (d *describer) name(t reflect.Type) string {
	if strings.HasSuffix(t.PkgPath(), "/api") {
		if _, clash := specNames[t.Name()]; clash {
			return "Api" + t.Name()
		}
	}
	return t.Name()
}

// specNames are names that packages spec and api both have, for different things.
var specNames = map[string]bool{"App": true, "Node": true, "Role": true, "Plugin": true, "Change": true, "Event": true}

// fields adds a struct's fields as encoding/json sees them.
func (d *describer) fields(t reflect.Type, properties object, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
		case f.Anonymous && name == "":
			d.fields(f.Type, properties, required)
		default:
			if name == "" {
				panic(fmt.Sprintf("api: field %s of %s has no JSON name", f.Name, t))
			}
			properties[name] = d.of(f.Type)
			if !strings.Contains(options, "omit") {
				*required = append(*required, name)
			}
		}
	}
}
