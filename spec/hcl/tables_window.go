package hcl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/cron"
)

var windowTable = &table[spec.Window]{
	doc: "A time that comes again and again in which work may be taken from the apps that keep to it, with update { windows = [\"NAME\"] }, or all of them, with disruption { windows = [\"NAME\"] } in the cluster. Outside of it a change that replaces what works waits.",
	args: []argument[spec.Window]{
		arg("cron", text[string](), func(w *spec.Window) *string { return &w.Cron }, "When it opens: minute, hour, day of the month, month, day of the week, as in \"0 2 * * *\"").must(),
		arg("timezone", text[string](), func(w *spec.Window) *string { return &w.Timezone }, "By whose clock, such as \"Europe/Berlin\"; UTC when not written"),
		arg("duration", duration, func(w *spec.Window) *spec.Duration { return &w.Duration }, fmt.Sprintf("How long it stays open, at most %s. The next opening comes after it", spec.MaxWindow)).must(),
	},
	check: func(d *decoder, b *block, w *spec.Window) {
		if !b.has("cron") || !b.has("duration") || !b.sound("cron", "timezone", "duration") {
			return
		}
		if argument, err := cron.CheckWindow(*w); err != nil {
			text := err.Error()
			d.at(b.placeOf(argument), b.env.context, "Wrong value for "+argument, sentence(strings.ToUpper(text[:1])+text[1:]))
		}
	},
}

func (l *loader) decodeWindow(b *block) {
	w := windowTable.fresh()
	w.Name, w.Pos = spec.WindowName(b.label(0)), position(b.TypeRange)
	l.checkName(b, "window", spec.CheckLabel)
	windowTable.decode(&l.decoder, b, &w)
	if len(l.windows) >= spec.MaxWindows {
		l.at(b.place(), b.env.context, "Too many windows", fmt.Sprintf("The commit has more than %d windows. Make fewer.", spec.MaxWindows))
		return
	}
	declare(l, l.windows, "window", w.Name, &w, b)
}

// windowNames is a list of windows; an empty one is kept apart from none.
var windowNames = kind[[]spec.WindowName]{
	name: "list of texts",
	read: func(v cty.Value) ([]spec.WindowName, error) {
		names, err := texts.read(v)
		if err != nil {
			return nil, err
		}
		if len(names) > spec.MaxWindows {
			return nil, wrong(fmt.Sprintf("must have at most %d windows, but here are %d", spec.MaxWindows, len(names)))
		}
		out := make([]spec.WindowName, 0, len(names))
		for _, n := range names {
			if slices.Contains(out, spec.WindowName(n)) {
				return nil, wrong(fmt.Sprintf("must have each window once. Remove the second %q", shorten(n, 60)))
			}
			out = append(out, spec.WindowName(n))
		}
		return out, nil
	},
	show: func([]spec.WindowName) string { return "" },
}

// checkWindows has it checked that the windows an argument of a block names are declared.
func checkWindows(d *decoder, b *block, names []spec.WindowName) {
	if len(names) == 0 {
		return
	}
	d.later = append(d.later, func() {
		l := d.loader
		for _, n := range names {
			if l.windows[n] != nil || l.broken {
				continue
			}
			name := shorten(string(n), 60)
			hint := didYouMean(name, toStrings(sortedKeys(l.windows)))
			if hint == "" {
				hint = fmt.Sprintf(" Declare it: window %q { cron = \"0 2 * * *\", duration = \"3h\" }, each argument on a line of its own.", name)
			}
			l.at(b.placeOf("windows"), b.env.context, "Unknown window", fmt.Sprintf("There is no window named %q.%s", name, hint))
		}
	})
}
