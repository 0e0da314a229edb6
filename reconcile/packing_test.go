package reconcile_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// cargo is what has to be packed: apps on nodes that are empty, and how few nodes can hold them.
type cargo struct {
	name  string
	nodes []spec.NodeView
	apps  []*spec.App
	unit  spec.MilliCPU // what counts as one node; larger ones count for several
	least int           // the optimum where it is known, else the best lower bound
}

// vectors reads the published instances: an app of one allocation for each item.
func vectors(t testing.TB) (all []cargo) {
	t.Helper()
	text, err := os.ReadFile("testdata/vectors/instances.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n")[1:] {
		f := strings.Split(line, "\t")
		bound, optimum := number(t, f[2]), number(t, f[3])
		capacity := amounts(t, f[1])
		c := cargo{name: f[0], unit: capacity.CPU, least: max(bound, optimum)}
		items := strings.Fields(f[5])
		for i, item := range items {
			c.nodes = append(c.nodes, spec.NodeView{State: spec.NodeReady, LastSeen: 1_000_000 * spec.Time(spec.Second),
				Node: spec.Node{ID: spec.NodeID(fmt.Sprintf("n%03d", i)), Capacity: capacity}})
			a, need := service(fmt.Sprintf("item-%03d", i), 1), amounts(t, item)
			a.Tasks[0].CPU, a.Tasks[0].Memory, a.Tasks[0].Disk = need.CPU, need.Memory, need.Disk
			c.apps = append(c.apps, a)
		}
		all = append(all, c)
	}
	return all
}

func amounts(t testing.TB, text string) spec.Resources {
	v := strings.Split(text, ",")
	return spec.Resources{CPU: spec.MilliCPU(number(t, v[0])), Memory: spec.Bytes(number(t, v[1])), Disk: spec.Bytes(number(t, v[2]))}
}

func number(t testing.TB, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// ways are how a cargo can be packed. Each returns how many nodes it uses.
var ways = []struct {
	name string
	pack func(t testing.TB, c cargo) int
}{
	{"spread", func(t testing.TB, c cargo) int { return atOnce(t, c, "spread") }},
	{"first fit", func(t testing.TB, c cargo) int { return oneByOne(t, c, firstFit) }},
	{"best fit", func(t testing.TB, c cargo) int { return oneByOne(t, c, bestFit) }},
	{"binpack, one by one", func(t testing.TB, c cargo) int { return oneByOne(t, c, place.Binpack) }},
	{"binpack, one commit", func(t testing.TB, c cargo) int { return atOnce(t, c, "binpack") }},
}

// firstFit is no policy of ours: the first node by name that has something and takes it, else an empty one.
var firstFit = place.Scoring{Name: "first fit", Score: func(_ []int64, n *place.Node) spec.Milli {
	return spec.Milli(min(1, n.Load))
}}

// bestFit is no policy of ours: the node with the least left in the resource of which most is left.
var bestFit = place.Scoring{Name: "best fit", Score: func(need []int64, n *place.Node) spec.Milli {
	most := int64(0)
	for d, ask := range need {
		if n.Capacity[d] > 0 {
			most = max(most, (n.Free[d]-ask)*100_000/n.Capacity[d])
		}
	}
	return spec.Milli(-most)
}}

// oneByOne places each allocation before the next is known.
func oneByOne(t testing.TB, c cargo, policy place.Policy) int {
	t.Helper()
	f := place.NewFleet(c.nodes, nil)
	for _, a := range c.apps {
		m := f.Matcher(a)
		for range a.Count {
			b := f.Batch(&place.Request{Match: m, Count: 1, Total: a.Count})
			picks, err := policy.Place(b)
			if err != nil || len(picks) != 1 {
				t.Fatalf("%s: %d picks, %v", a.Name, len(picks), err)
			}
			f.Take(f.At(picks[0].Node), m.Need, nil)
		}
	}
	used := spec.MilliCPU(0)
	for n := range f.Len() {
		if f.Load(n) > 0 {
			used += c.nodes[n].Capacity.CPU
		}
	}
	return int(used / c.unit)
}

// atOnce plans a commit with all apps.
func atOnce(t testing.TB, c cargo, policy string) int {
	t.Helper()
	p, _ := reconcile.Plan(reconcile.Input{
		Now: 1_000_000 * spec.Time(spec.Second), Nodes: c.nodes, Versions: map[spec.Hash]*spec.App{}, Brief: true,
		Desired: &spec.Cluster{Name: "test", Policy: spec.PolicyRef{Name: policy}, Apps: c.apps},
	})
	if p.Summary.Blocked > 0 && policy != "spread" { // which leaves no node free for what is large
		t.Fatalf("%s: %d do not fit", c.name, p.Summary.Blocked)
	}
	used, sum := map[spec.NodeID]bool{}, spec.MilliCPU(0)
	for _, a := range p.Apps {
		for i := range a.Changes {
			used[a.Changes[i].Node] = true
		}
	}
	for i := range c.nodes {
		if used[c.nodes[i].ID] {
			sum += c.nodes[i].Capacity.CPU
		}
	}
	return int(sum / c.unit)
}

// over returns by how much more than the fewest nodes each way uses, on average, in hundredths of a per cent.
func over(t testing.TB, all []cargo) []int {
	figures := make([]int, len(ways))
	for i, w := range ways {
		for _, c := range all {
			figures[i] += (w.pack(t, c) - c.least) * 10_000 / c.least
		}
		figures[i] /= len(all)
	}
	return figures
}

// TestPacking packs the published instances and made workloads in every way there is, and keeps the table in
// docs/packing.md true.
func TestPacking(t *testing.T) {
	published := over(t, vectors(t))
	if one, commit := published[3], published[4]; one > 920 || one >= published[1] || commit > 190 {
		t.Errorf("over the optimum, in hundredths of a per cent: one by one %d, one commit %d", one, commit)
	}
	rows := [][]int{published}
	for _, m := range mixes {
		figures := over(t, m.cargoes())
		if figures[4] > figures[3] || figures[4] > m.most {
			t.Errorf("%s: one by one %d, one commit %d hundredths of a per cent over the bound", m.name, figures[3], figures[4])
		}
		rows = append(rows, figures)
	}
	var table strings.Builder
	table.WriteString("| | 45 published instances |")
	for _, m := range mixes {
		table.WriteString(" " + m.name + " |")
	}
	table.WriteString("\n|---|" + strings.Repeat("---:|", len(rows)) + "\n")
	for i, w := range ways {
		table.WriteString("| " + w.name + " |")
		for _, r := range rows {
			fmt.Fprintf(&table, " %d.%d %% |", r[i]/100, r[i]%100/10)
		}
		table.WriteString("\n")
	}
	section(t, "../docs/packing.md", "packing", table.String())
}
