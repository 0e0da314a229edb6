package sim

import (
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/reconcile/runs"
	"github.com/stowage/stowage/spec"
)

// TestCheckFirings gives the invariant journals in which a firing is forgotten, or made twice.
func TestCheckFirings(t *testing.T) {
	at := func(minutes int) spec.Time { return epoch.Add(spec.Duration(minutes)*spec.Minute + 1) }
	entry := func(handled int, fired ...int) control.Entry {
		c := &runs.Change{Agendas: []spec.Agenda{{App: "a", Cron: "* * * * *", Handled: at(handled), Next: at(handled + 1)}}}
		for _, m := range fired {
			key := spec.FiringKey(at(m))
			c.Put = append(c.Put, spec.Run{Name: spec.RunName("a", key), App: "a", Key: key, Trigger: spec.TriggerSchedule, Created: at(handled)})
		}
		return control.Entry{Decided: &reconcile.Decision{Runs: c}}
	}
	for _, c := range []struct {
		name    string
		journal []control.Entry
		wrong   bool
	}{
		{"each once", []control.Entry{entry(0), entry(1, 1), entry(3, 2, 3)}, false},
		{"one forgotten", []control.Entry{entry(0), entry(1, 1), entry(3, 3)}, true},
		{"one twice", []control.Entry{entry(0), entry(1, 1), entry(2, 1)}, true},
		{"back in time", []control.Entry{entry(2), entry(1)}, true},
	} {
		w := newWorld(&Options{}, epoch)
		w.master.journal = c.journal
		w.checkFirings()
		if wrong := w.violates != ""; wrong != c.wrong {
			t.Errorf("%s: violates %q", c.name, w.violates)
		}
	}
}
