package reconcile_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

var update = flag.Bool("update", false, "write the tables and pictures of docs/packing.md anew")

// section compares what stands between two marks of a document with the text, or writes it there.
func section(t *testing.T, path, name, text string) {
	t.Helper()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->"
	head, rest, ok := strings.Cut(string(whole), begin)
	old, tail, ok2 := strings.Cut(rest, end)
	switch {
	case !ok || !ok2:
		t.Fatalf("%s has no section %s", path, name)
	case old == text:
	case *update:
		if err := os.WriteFile(path, []byte(head+begin+text+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s says\n%s\nand should say (go test ./reconcile -update)\n%s", path, old, text)
	}
}

// chance is a value with how often it comes.
type chance struct{ often, value int }

func drawn(r *rand.Rand, table []chance) int {
	sum := 0
	for _, c := range table {
		sum += c.often
	}
	n := r.IntN(sum)
	for _, c := range table {
		if n -= c.often; n < 0 {
			return c.value
		}
	}
	panic("a table of chances without any")
}

// Workloads as clusters report them: most apps are small and few, and a few large or many ones make up the load.
var (
	coresOf = []chance{{25, 100}, {25, 250}, {20, 500}, {14, 1000}, {8, 2000}, {5, 4000}, {2, 8000}, {1, 16000}} // thousandths
	perCore = []chance{{10, 512}, {20, 1024}, {30, 2048}, {25, 4096}, {15, 8192}}                                // MiB
	countOf = []chance{{40, 1}, {20, 2}, {12, 3}, {10, 5}, {8, 10}, {6, 20}, {3, 50}, {1, 100}}
)

// largestMiB is the most that an allocation asks for: it fits on every kind of node.
const largestMiB = 48 << 10

// drawnApp makes an app of a heavy-tailed workload.
func drawnApp(r *rand.Rand, name string) *spec.App {
	cores := drawn(r, coresOf)
	memory := min(max(64, cores*drawn(r, perCore)/1000), largestMiB)
	return asks(name, drawn(r, countOf), spec.MilliCPU(cores), spec.Bytes(memory)*spec.MiB)
}

// machine is a kind of node.
type machine struct {
	cores  spec.MilliCPU
	memory spec.Bytes
}

// mix is a workload that is made: so many apps for nodes of certain kinds, in turns; so often, each time another.
type mix struct {
	name  string
	apps  int
	times uint64
	most  int // hundredths of a per cent that one commit may use over the bound
	kinds []machine
}

var mixes = []mix{
	{"60 apps", 60, 5, 300, []machine{{16000, 64 * spec.GiB}}},
	{"200 apps", 200, 5, 100, []machine{{32000, 96 * spec.GiB}}},
	{"200 apps, nodes of three sizes", 200, 5, 700, []machine{{16000, 48 * spec.GiB}, {32000, 96 * spec.GiB}, {64000, 192 * spec.GiB}}},
	{"1,000 apps", 1000, 1, 1500, []machine{{32000, 96 * spec.GiB}}},
}

// cargoes makes the workloads.
func (m mix) cargoes() (all []cargo) {
	for seed := range m.times {
		r := rand.New(rand.NewPCG(seed, uint64(m.apps)))
		c := cargo{name: m.name, unit: m.kinds[0].cores}
		var need spec.Resources
		for i := range m.apps {
			a := drawnApp(r, fmt.Sprintf("app-%04d", i))
			c.apps = append(c.apps, a)
			need.CPU += a.Tasks[0].CPU * spec.MilliCPU(a.Count)
			need.Memory += a.Tasks[0].Memory * spec.Bytes(a.Count)
		}
		// Twice as many nodes as the scarcer resource asks for.
		for i, cores, memory := 0, spec.MilliCPU(0), spec.Bytes(0); cores < 2*need.CPU || memory < 2*need.Memory; i++ {
			k := m.kinds[i%len(m.kinds)]
			c.nodes = append(c.nodes, node(fmt.Sprintf("n%04d", i), k.cores, k.memory))
			cores, memory = cores+k.cores, memory+k.memory
		}
		c.least = bound(c.nodes, c.apps)
		all = append(all, c)
	}
	return all
}

// bound returns how many nodes of the smallest size are needed at least. In each resource: so many that the volume fits;
// and, for nodes that are alike, the bound of Martello and Toth ("Lower bounds and reduction procedures for the bin
// packing problem", 1990), which knows that of things larger than half a node each needs its own.
func bound(nodes []spec.NodeView, apps []*spec.App) int {
	least := 0
	for _, of := range []func(spec.Resources) int64{
		func(r spec.Resources) int64 { return int64(r.CPU) },
		func(r spec.Resources) int64 { return int64(r.Memory) },
		func(r spec.Resources) int64 { return int64(r.Disk) },
	} {
		var have, sizes []int64
		for i := range nodes {
			have = append(have, of(nodes[i].Capacity))
		}
		volume := int64(0)
		for _, a := range apps {
			for range a.Count {
				sizes = append(sizes, of(a.Needs()))
				volume += of(a.Needs())
			}
		}
		if slices.Sort(have); have[0] == 0 {
			continue
		}
		least = max(least, int((volume+have[0]-1)/have[0]))
		if have[0] == have[len(have)-1] {
			least = max(least, halves(have[0], sizes))
		}
	}
	return least
}

// halves is the bound of Martello and Toth for nodes of one size: for each k, what is larger than size−k is alone, what
// is larger than half shares with nothing of its kind, and what is at least k has to go somewhere.
func halves(size int64, sizes []int64) int {
	best := 0
	for _, k := range append([]int64{0}, slices.Compact(slices.Sorted(slices.Values(sizes)))...) {
		if k > size/2 {
			break
		}
		alone, half, rest, volume := 0, 0, int64(0), int64(0)
		for _, s := range sizes {
			switch {
			case s > size-k:
				alone++
			case 2*s > size:
				half++
				rest += size - s
			case s >= k:
				volume += s
			}
		}
		n := alone + half
		if over := volume - rest; over > 0 {
			n += int((over + size - 1) / size)
		}
		best = max(best, n)
	}
	return best
}
