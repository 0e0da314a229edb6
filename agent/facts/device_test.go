package facts

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stowage/stowage/spec"
)

func TestParseDevice(t *testing.T) {
	for text, want := range map[string]string{
		"gpu:0":                         "{gpu 0   map[] []}",
		"gpu/nvidia:GPU-1=/dev/nvidia0": "{gpu GPU-1 nvidia  map[] [/dev/nvidia0]}",
		"gpu/nvidia/a100:GPU-1=/dev/nvidia0,/dev/x": "{gpu GPU-1 nvidia a100 map[] [/dev/nvidia0 /dev/x]}",
		"nic/intel/x710/rev2:eth1":                  "{nic eth1 intel x710/rev2 map[] []}",
		"gpu":                                       "error: it has no ID",
		"gpu:":                                      "error: the ID",
		"GPU:1":                                     "error: \"GPU\" is no kind",
		"memory:1":                                  "error: \"memory\" is no kind",
		"gpu:1=/etc/passwd":                         "error: \"/etc/passwd\" is no file below /dev",
		"gpu:1=/dev/../etc/passwd":                  "error: \"/dev/../etc/passwd\" is no file below /dev",
	} {
		d, err := ParseDevice(text)
		got := fmt.Sprint(d)
		if err != nil {
			got = "error: " + err.Error()
		}
		if bad, isErr := strings.CutPrefix(want, "error: "); isErr && !strings.Contains(got, bad) || !isErr && got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestReadDevices(t *testing.T) {
	file := filepath.Join(t.TempDir(), "devices.json")
	read := func(text string, o Options) string {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		o.DeviceFile = file
		all, err := readDevices(&o)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(all)
	}
	flags := Options{Devices: []spec.Device{{Kind: "gpu", ID: "b"}}}
	if got := read(`[{"kind":"gpu","id":"a","attributes":{"memory":"40"}}]`, flags); got != "[{gpu a   map[memory:40] []} {gpu b   map[] []}]" {
		t.Error(got)
	}
	for text, want := range map[string]string{
		`[{"kind":"gpu","id":"b"}]`:          "gpu:b stands there twice",
		`[{"kind":"gpu","id":"c","size":3}]`: "unknown field",
		`{}`:                                 "write a list such as",
		`[{"kind":"gpu"}]`:                   "device 1: the ID",
	} {
		if got := read(text, flags); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	flags.Named = map[string]spec.Milli{"gpu": 1000}
	if got := read("[]", flags); !strings.Contains(got, "leave --resource gpu out") {
		t.Error(got)
	}
}

func TestReadCores(t *testing.T) {
	root := files("sys/devices/system/node/node0/cpulist", "0-1,4\n", "sys/devices/system/node/node1/cpulist", "2-3\n")
	var mine unix.CPUSet
	for _, c := range []int{0, 1, 2, 3, 4} {
		mine.Set(c)
	}
	with, without := &cgroups{cpuset: true}, &cgroups{}
	for name, c := range map[string]struct {
		options    Options
		groups     *cgroups
		privileged bool
		want       string
		says       string
	}{
		"all":           {Options{}, with, true, "[{0 [0 1 4]} {1 [2 3]}]", "yes"},
		"some":          {Options{Cores: []int{1, 3, 9}}, with, true, "[{0 [1]} {1 [3]}]", "yes"},
		"none wanted":   {Options{NoCores: true}, with, true, "[]", "no: not wanted"},
		"no controller": {Options{}, without, true, "[]", "no: no cpuset cgroups"},
		"not root":      {Options{}, with, false, "[]", "no: not root"},
	} {
		if got := fmt.Sprint(readCores(root, &c.options, c.groups, &mine, c.privileged)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if got := exclusive(&c.options, c.groups, c.privileged); got != c.says {
			t.Errorf("%s: says %q, want %q", name, got, c.says)
		}
	}
}
