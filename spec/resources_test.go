package spec

import (
	"reflect"
	"testing"
)

// An allocation needs what its tasks have at the same time, and keeps what cannot be had in turns.
func TestNeedsOfPhases(t *testing.T) {
	task := func(l Lifecycle, cpu MilliCPU, memory Bytes) Task {
		return Task{Lifecycle: l, CPU: cpu, Memory: memory * MiB}
	}
	for _, test := range []struct {
		name   string
		tasks  []Task
		cpu    MilliCPU
		memory Bytes
	}{
		{"main tasks run together", []Task{task(LifecycleMain, 100, 10), task(LifecycleMain, 200, 20), task("", 1, 1)}, 301, 31},
		{"a small migration", []Task{task(LifecyclePrestart, 50, 5), task(LifecycleMain, 100, 10)}, 100, 10},
		{"prestart tasks one after the other", []Task{task(LifecyclePrestart, 150, 5), task(LifecyclePrestart, 50, 30), task(LifecycleMain, 100, 10)}, 150, 30},
		{"no sidecar runs beside them", []Task{task(LifecyclePrestart, 100, 10), task(LifecycleSidecar, 50, 5), task(LifecycleMain, 50, 5)}, 100, 10},
		{"poststart beside main", []Task{task(LifecyclePoststart, 50, 5), task(LifecycleSidecar, 10, 1), task(LifecycleMain, 100, 10)}, 160, 16},
		{"poststop beside sidecars", []Task{task(LifecyclePoststop, 120, 5), task(LifecyclePoststop, 20, 15), task(LifecycleSidecar, 10, 1), task(LifecycleMain, 100, 10)}, 130, 16},
	} {
		if got := (&App{Tasks: test.tasks}).Needs(); got.CPU != test.cpu || got.Memory != test.memory*MiB || got.MemoryMax != got.Memory {
			t.Errorf("%s: %+v, want %d and %d MiB", test.name, got, test.cpu, test.memory)
		}
	}
	before := Task{Lifecycle: LifecyclePrestart, CPU: 2000, Cores: 2, Disk: 5 * GiB, MemoryMax: 7 * MiB, Resources: map[string]Milli{"license": 2000, "once": 1},
		Devices: []DeviceAsk{{Kind: "gpu", Count: 1}}}
	main := Task{Lifecycle: LifecycleMain, CPU: 500, Memory: MiB, Disk: GiB, Resources: map[string]Milli{"license": 1000}, Devices: []DeviceAsk{{Kind: "gpu", Count: 2}}}
	got := (&App{Tasks: []Task{before, main}}).Needs()
	want := Resources{CPU: 2500, Memory: MiB, MemoryMax: 7 * MiB, Disk: 6 * GiB, Named: map[string]Milli{"license": 2000, "once": 1, "gpu": 3000}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("what is kept: %+v, want %+v", got, want)
	}
	if before.Resources["license"] != 2000 || main.Resources["license"] != 1000 || len(main.Resources) != 1 {
		t.Error("an operand was changed")
	}
}
