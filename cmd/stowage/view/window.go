package view

import (
	"fmt"
	"strings"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
)

// wait says which window is waited for, and how long it is until then: "window nightly opens Fri 02:00 CET (in 4h 12m)".
func (p *Page) wait(w *spec.WindowWait) string {
	if w.Opens <= p.Now || p.Now == 0 {
		return w.Text
	}
	return w.Text + " (in " + span(w.Opens.Sub(p.Now)) + ")"
}

// span is a duration in the two units that matter: "4h 12m", "3d 2h", "40s".
func span(d spec.Duration) string {
	const day = 24 * spec.Hour
	switch {
	case d < spec.Minute:
		return fmt.Sprintf("%ds", (d+spec.Second-1)/spec.Second)
	case d < spec.Hour:
		return fmt.Sprintf("%dm", d/spec.Minute)
	case d < day:
		return fmt.Sprintf("%dh %dm", d/spec.Hour, d%spec.Hour/spec.Minute)
	}
	return fmt.Sprintf("%dd %dh", d/day, d%day/spec.Hour)
}

// windowWaits prints what waits for windows.
func (p *Page) windowWaits(list []api.WindowWaits) {
	for i := range list {
		w := &list[i]
		var parts []string
		for _, a := range w.Apps {
			parts = append(parts, string(a))
		}
		if w.More > 0 {
			parts = append(parts, spec.Plural(w.More, "more app"))
		}
		if len(w.Nodes) > 0 {
			parts = append(parts, "the drain of "+Names(w.Nodes))
		}
		p.pairs([][2]string{{"waits", strings.Join(parts, ", ") + ": " + p.wait(&w.WindowWait)}})
	}
}
