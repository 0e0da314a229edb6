package reconcile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/stowage/stowage/spec"
)

// fields lists what differs between the version that ran and the one desired. It compares the JSON of the two, so that
// a new field of spec.App needs nothing here.
func (w *world) fields(x *app) []spec.FieldChange {
	from := x.good
	if x.record != nil && x.record.Target != x.desired.hash {
		from = w.known(x.record.Target)
	}
	if from == nil || from == x.desired {
		return nil
	}
	return differences(from.app, x.desired.app, func(path string) string { return w.effect(x, path) })
}

// differences lists the leaves in which two versions of an app differ.
func differences(from, to *spec.App, effect func(path string) string) []spec.FieldChange {
	before, after := flatten(from), flatten(to)
	paths := slices.Concat(slices.Collect(maps.Keys(before)), slices.Collect(maps.Keys(after)))
	slices.Sort(paths)
	var out []spec.FieldChange
	for _, p := range slices.Compact(paths) {
		if before[p] != after[p] {
			c := spec.FieldChange{Path: p, From: before[p], To: after[p], Effect: effect(p)}
			if secret(p) {
				c.From, c.To = unsaid(c.From, valueOld), unsaid(c.To, valueNew)
			}
			out = append(out, c)
		}
	}
	return out
}

// What a plan says in place of the values of an environment, the headers of a check or an artifact and the settings of a policy: plans are shown, kept and passed on to more people than
// the repository is.
const (
	valueOld = "(a value)"
	valueNew = "(another value)"
)

// secret reports whether the field, such as "task.server.env.TOKEN", may hold what not everybody should read.
func secret(path string) bool {
	head, rest, _ := strings.Cut(path, ".")
	_, field, _ := strings.Cut(rest, ".")
	return head == "task" && (strings.HasPrefix(field, "env.") || (strings.HasPrefix(field, "check.") || strings.HasPrefix(field, "artifact.")) && strings.Contains(field, ".headers.")) ||
		head == "policy" && strings.HasPrefix(rest, "config.")
}

// unsaid is a word for a value that is there.
func unsaid(value, word string) string {
	if value == "" {
		return ""
	}
	return word
}

// The effects of a changed field.
const (
	effectInPlace   = "in place"
	effectNothing   = "nothing restarts"
	effectNextRun   = "from the next run on"
	effectReplaces  = "replaces %d, %s"
	effectCount     = "start %d"
	effectCountDown = "stop %d"
	effectFailed    = "not carried out"
	paceOne         = "one at a time"
	paceSome        = "%d at a time"
	paceAll         = "all at once"
	paceCanary      = "%d canaries first"
	paceBlueGreen   = "all new ones beside the old first"
	paceParts       = "as health allows"
)

// effect says what a change of the field does.
func (w *world) effect(x *app, path string) string {
	if x.version != x.desired && x.unfinished() {
		return effectFailed
	}
	starts, stops, replaces := 0, 0, 0
	for i := range x.changes {
		switch c := &x.changes[i]; {
		case c.Kind == spec.ChangeStart && !c.Canary:
			starts++
		case c.Kind == spec.ChangeStop:
			stops++
		case c.Kind == spec.ChangeReplace || c.Canary:
			replaces++
		}
	}
	for i := range x.missed { // what has no place now is replaced too, once there is one
		if s := &x.missed[i]; s.Kind == spec.ChangeReplace || s.Canary {
			replaces++
		}
	}
	head, rest, _ := strings.Cut(path, ".")
	switch {
	case path == "count" && stops > 0:
		return fmt.Sprintf(effectCountDown, stops)
	case path == "count":
		return fmt.Sprintf(effectCount, starts)
	case head == "restart", head == "task" && inPlace(rest):
		return effectInPlace
	case head == "task", head == "network", path == "kind":
		return fmt.Sprintf(effectReplaces, replaces, pace(x.desired.app))
	}
	return effectNothing
}

// inPlace reports whether the field of a task, after "task.", changes without a restart: see spec.App.RuntimeHash.
func inPlace(path string) bool {
	_, field, _ := strings.Cut(path, ".")
	field, _, _ = strings.Cut(field, ".")
	return field == "check" || field == "stop" || field == "logs" || field == "max_run"
}

func pace(a *spec.App) string {
	switch u := a.Update; {
	case u.Strategy == spec.StrategyRecreate:
		return paceAll
	case u.Strategy == spec.StrategyBlueGreen:
		return paceBlueGreen
	case u.Strategy == spec.StrategyCanary:
		return fmt.Sprintf(paceCanary, max(1, u.Canary))
	case u.MinHealthy > 0 || u.Surge > 0:
		return paceParts
	case u.MaxParallel > 1:
		return fmt.Sprintf(paceSome, u.MaxParallel)
	}
	return paceOne
}

// flatten turns an app into its leaves by path: task.server.image, constraint.0.value.
func flatten(a *spec.App) map[string]string {
	b, err := json.Marshal(a)
	if err != nil {
		panic("reconcile: an app of plain fields does not encode: " + err.Error())
	}
	var tree map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&tree); err != nil {
		panic("reconcile: an encoded app does not decode: " + err.Error())
	}
	delete(tree, "name")
	out := map[string]string{}
	walk(out, "", "", tree)
	return out
}

func walk(out map[string]string, path, key string, v any) {
	join := func(name string) string {
		if path == "" {
			return name
		}
		return path + "." + name
	}
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if name == "pos" {
				continue
			}
			at := singular(name, v[name])
			walk(out, join(at), name, v[name])
		}
	case []any:
		walkList(out, path, key, v)
	default:
		out[path] = text(path, v)
	}
}

// walkList names the elements of a list by their name where they have one, and prints lists of plain values in a line.
func walkList(out map[string]string, path, key string, list []any) {
	var words []string
	for i, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			words = append(words, text(key, e))
			continue
		}
		name := strconv.Itoa(i)
		for _, key := range []string{"name", "destination"} {
			if own, ok := m[key].(string); ok {
				name = own
				delete(m, key)
			}
		}
		walk(out, path+"."+name, key, m)
	}
	if words != nil {
		out[path] = strings.Join(words, " ")
	}
}

// singular turns the name of a list of blocks into the name of one.
func singular(name string, v any) string {
	if list, ok := v.([]any); !ok || len(list) == 0 {
		return name
	} else if _, ok := list[0].(map[string]any); !ok {
		return name
	}
	if s, ok := strings.CutSuffix(name, "ies"); ok {
		return s + "y"
	}
	return strings.TrimSuffix(name, "s")
}

// text prints a value with the unit of its field.
func text(path string, v any) string {
	n, ok := v.(json.Number)
	if !ok {
		if v == nil {
			return ""
		}
		return fmt.Sprint(v)
	}
	i, err := n.Int64()
	if err != nil {
		return n.String()
	}
	leaf := path[strings.LastIndexByte(path, '.')+1:]
	switch {
	case leaf == "memory" || leaf == "memory_max" || leaf == "disk" || leaf == "max_size":
		return spec.Bytes(i).String()
	case leaf == "mode":
		return fmt.Sprintf("%04o", i)
	case leaf == "cpu" || leaf == "min_healthy" || leaf == "surge" || strings.Contains(path, ".resources."):
		return spec.Milli(i).String()
	}
	return n.String()
}
