package node

import (
	"testing"

	"github.com/stowage/stowage/spec"
)

// TestMachineRestart has the machine go down under a healthy allocation. What is remembered is not told as healthy although nothing runs, and
// whether the executor knows of the end or has lost its record, the task starts again as a new attempt of the same allocation.
func TestMachineRestart(t *testing.T) {
	for name, left := range map[string][]Container{
		"the executor has its record": {{Run: run("web-0-1", "main", 0), Exit: &spec.Exit{Code: -1, Unknown: true, Rebooted: true}}},
		"its record was cut short":    nil,
	} {
		r := newRig(t)
		a := r.running(service(task("main")))
		boot := func(id string) {
			var m Memory
			m.Header = r.head
			for _, rec := range r.disk {
				m.Records = append(m.Records, rec)
			}
			r.core = New(Config{Node: spec.Node{ID: "n1"}})
			r.wake = 0
			r.step(Restored{Memory: m, Boot: id})
		}
		boot("first")
		if !r.status(a.ID).Healthy {
			t.Errorf("%s: the boot is not known to be another, and what runs is not healthy", name)
		}
		boot("first") // the agent alone
		if !r.status(a.ID).Healthy || r.head.Boot != "first" {
			t.Errorf("%s: with the agent alone the allocation went", name)
		}
		boot("second")
		if r.status(a.ID).Healthy {
			t.Errorf("%s: told as healthy on a machine where nothing runs", name)
		}
		r.step(Connected{})
		if len(r.sent) == 0 || r.sent[len(r.sent)-1].Allocations[0].Status.Healthy {
			t.Errorf("%s: the first report tells that it is healthy", name)
		}
		r.want(r.step(Inventory{left}), "remove web-0-1/main.0, prepare web-0-1")
		st := r.status(a.ID).Tasks[0]
		if st.Exit == nil || !st.Exit.Rebooted || st.Restarts != 1 || r.status(a.ID).Healthy {
			t.Errorf("%s: %+v", name, st)
		}
		r.step(Prepared{ID: a.ID})
		r.now = r.wake
		r.want(r.step(Tick{}), "start web-0-1/main.1")
		if r.head.Boot != "second" {
			t.Errorf("%s: the new boot is not remembered", name)
		}
	}
}
