package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stowage/stowage/agent/facts"
	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// allowed is where a process may run.
func allowed(pid int) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(data), "Cpus_allowed_list:")
	line, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(line)
}

// TestATaskHasItsDevicesAndCoresAlone: the one with them finds them, the other neither sees the device nor runs on the core.
func TestATaskHasItsDevicesAndCoresAlone(t *testing.T) {
	needRoot(t)
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		t.Fatal(err)
	}
	device := "/dev/loop-control"
	if _, err := os.Stat(device); err != nil || set.Count() < 2 {
		t.Skip("this needs two processors and " + device)
	}
	var mine []int
	for c := range 1024 {
		if set.IsSet(c) {
			mine = append(mine, c)
		}
	}
	alone := mine[len(mine)-1]
	m := newFakeMaster(t)
	runOn(t, m, dataDir(t), facts.Options{Devices: []spec.Device{{Kind: "gadget", ID: "G-1", Files: []string{device}}}})
	stream := m.connected()
	shared := app("sh", "-c", `[ ! -e `+device+` ] && [ -z "$STOWAGE_DEVICE_GADGET$STOWAGE_CORES" ] && exec sleep 100000`)
	owner := app("sh", "-c", fmt.Sprintf(`[ "$STOWAGE_DEVICE_GADGET $STOWAGE_CORES" = "G-1 %d" ] && exec 3<>%s && exec sleep 100000`, alone, device))
	owner.Name = "owner"
	down, more := assignment(2, shared, spec.WantRun), assignment(2, owner, spec.WantRun)
	given := &more.Assignment.Allocations[0]
	given.Ports = nil
	given.Devices = []spec.DeviceGrant{{Task: "server", Kind: "gadget", ID: "G-1"}}
	given.Cores = []spec.CoreGrant{{Task: "server", Cores: []int{alone}}}
	down.Assignment.Allocations = append([]spec.Allocation{*given}, down.Assignment.Allocations...)
	down.Assignment.Versions[owner.Hash()] = owner
	if err := stream.Send(down); err != nil {
		t.Fatal(err)
	}
	pids := m.pids("owner-0-1", "web-0-1")
	first, other := pids["owner-0-1"], pids["web-0-1"]
	if got := allowed(first); got != fmt.Sprint(alone) {
		t.Errorf("the owner runs on %s, want %d", got, alone)
	}
	rest := spec.CoreList(slices.Delete(slices.Clone(mine), len(mine)-1, len(mine)))
	await(t, "the other is off the core", func() bool { return allowed(other) == rest })

	down.Assignment.Generation = 3
	down.Assignment.Allocations[0].Want = spec.WantStop
	if err := stream.Send(down); err != nil {
		t.Fatal(err)
	}
	m.status("owner-0-1", "it ends", func(s *spec.AllocationStatus) bool { return s.State.Terminal() })
	await(t, "the other may run everywhere again", func() bool { return allowed(other) == spec.CoreList(mine) })
}

// pids waits until each of the allocations runs, in whatever order they are reported.
func (m *fakeMaster) pids(ids ...spec.AllocationID) map[spec.AllocationID]int {
	m.t.Helper()
	found := map[spec.AllocationID]int{}
	for deadline := time.After(patience); len(found) < len(ids); {
		select {
		case up := <-m.ups:
			for _, a := range reported(up) {
				if slices.Contains(ids, a.ID) && a.Status.State == spec.StateRunning && a.Status.Tasks[0].Pid > 0 {
					found[a.ID] = a.Status.Tasks[0].Pid
				}
			}
		case <-deadline:
			m.t.Fatalf("of %v run %v", ids, found)
		}
	}
	return found
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// What the node has is told anew when the files that say so change, and stays while they make no sense.
func TestTheNodeIsToldAnewWhenItsFilesChange(t *testing.T) {
	needRoot(t)
	m, dir := newFakeMaster(t), t.TempDir()
	devices, attributes := filepath.Join(dir, "devices"), filepath.Join(dir, "attributes")
	write := func(path, text string) {
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write(devices, `[{"kind":"gpu","id":"G-1"}]`)
	write(attributes, "rack=r1\n")
	runOn(t, m, dataDir(t), facts.Options{DeviceFile: devices, AttributeFile: attributes})
	told := func(rack string, gpus int) {
		t.Helper()
		var last *spec.Node
		for deadline := time.After(patience); ; {
			select {
			case up := <-m.ups:
				if up.Report == nil || up.Report.Node == nil {
					continue
				}
				if last = up.Report.Node; last.Attributes["rack"] == rack && len(last.Devices) == gpus {
					return
				}
			case <-deadline:
				t.Fatalf("rack %q with %d devices: not told; last %+v", rack, gpus, last)
			}
		}
	}
	m.connected()
	told("r1", 1)
	write(attributes, "rack=")
	await(t, "that the file makes no sense is said", func() bool { return strings.Contains(m.log.String(), "attributes, line 1") })
	write(devices, `[{"kind":"gpu","id":"G-1"},{"kind":"gpu","id":"G-2"}]`)
	write(attributes, "rack=r2\n")
	told("r2", 2)
}

func TestADeviceThatWentIsToldOf(t *testing.T) {
	a := &spec.Allocation{Devices: []spec.DeviceGrant{{Task: "t", Kind: "gpu", ID: "G-2"}}}
	n := &spec.Node{Devices: []spec.Device{{Kind: "gpu", ID: "G-1", Files: []string{"/dev/a"}}}}
	if _, err := deviceFiles(a, n, &spec.Task{Name: "t"}); err == nil || err.Error() != "device gpu G-2 is no longer on this node" {
		t.Errorf("error %v", err)
	}
	if files, err := deviceFiles(a, n, &spec.Task{Name: "other"}); err != nil || files != nil {
		t.Errorf("another task gets %v, %v", files, err)
	}
}
