package sim_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stowage/stowage/reconcile/sim"
	"github.com/stowage/stowage/spec"
)

var month = flag.Bool("month", false, "play the month of docs/packing.md, which takes minutes, and write its plot and its table anew")

// turn plays a turnover without and with a rebalancing each night.
func turn(t *testing.T, m sim.Turnover, seed uint64) (without, with sim.Figures) {
	t.Helper()
	var both [2]sim.Figures
	for i, moves := range []int{0, 200} {
		m.Rebalance = moves
		r := sim.Turn(m, sim.Options{Seed: seed})
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		both[i] = r.Figures
	}
	return both[0], both[1]
}

// average is the mean of a figure from a time on, in millionths.
func average(f *sim.Figures, from spec.Duration, of func(*sim.Stranded) int64) int64 {
	sum, n := int64(0), int64(0)
	for i := range f.Stranded {
		if s := &f.Stranded[i]; s.At >= from {
			sum, n = sum+of(s), n+1
		}
	}
	return sum / max(1, n)
}

// ofMemory and ofCPU are what is stranded, ofNodes how many nodes are empty, in millionths.
func ofMemory(s *sim.Stranded) int64 { return s.Memory }
func ofCPU(s *sim.Stranded) int64    { return s.CPU }

func ofNodes(m sim.Turnover) func(s *sim.Stranded) int64 {
	return func(s *sim.Stranded) int64 { return int64(s.Empty) * 1_000_000 / int64(m.Nodes) }
}

// TestStranded lets services come and go, and holds what rebalancing each night is good for: less is stranded, more nodes are
// empty, what is used is the same, and few allocations are started for it. What is measured stands beside each bound: of a small
// cluster for a few days, three times over, and of the month.
func TestStranded(t *testing.T) {
	m := sim.Month
	m.Nodes, m.Days = 30, 4
	seeds := []uint64{1, 2, 3}
	memory, nodes, started := int64(90), int64(10_000), 106 // 86 per cent, 14,500 millionths, 104 per cent
	if *month {
		m, seeds = sim.Month, seeds[:1]
		memory, nodes, started = 82, 60_000, 112 // 78 per cent, 68,000 millionths, 110 per cent
	}
	from := spec.Duration(m.Days) * 24 * spec.Hour / 4
	var sum [2]struct {
		cpu, memory, nodes int64
		started            int
	}
	for _, seed := range seeds {
		without, with := turn(t, m, seed)
		for i, f := range []*sim.Figures{&without, &with} {
			if n := m.Days*4 + 1; len(f.Stranded) != n {
				t.Fatalf("measured %d times, want %d", len(f.Stranded), n)
			}
			used := max(average(f, from, func(s *sim.Stranded) int64 { return s.UsedMemory }), average(f, from, func(s *sim.Stranded) int64 { return s.UsedCPU }))
			if used < 780_000 || used > 860_000 {
				t.Errorf("%d millionths are used", used)
			}
			k := &sum[i]
			k.cpu, k.memory, k.nodes = k.cpu+average(f, from, ofCPU), k.memory+average(f, from, ofMemory), k.nodes+average(f, from, ofNodes(m))
			k.started += f.Started
		}
		if *month {
			write(t, &without, &with, from)
		}
	}
	a, b := &sum[0], &sum[1]
	if a.memory == 0 || b.memory*100 > a.memory*memory {
		t.Errorf("%d millionths of the memory stranded without rebalancing, %d with: more than %d of 100", a.memory, b.memory, memory)
	}
	if a.cpu == 0 || b.cpu > a.cpu {
		t.Errorf("%d millionths of the cpu stranded without rebalancing, %d with", a.cpu, b.cpu)
	}
	if b.nodes-a.nodes < nodes*int64(len(seeds)) {
		t.Errorf("%d millionths of the nodes empty without rebalancing, %d with: not %d more", a.nodes, b.nodes, nodes*int64(len(seeds)))
	}
	if b.started*100 > a.started*started {
		t.Errorf("%d allocations started without rebalancing, %d with: more than %d for 100", a.started, b.started, started)
	}
}

// write makes the plot and the table.
func write(t *testing.T, without, with *sim.Figures, from spec.Duration) {
	if err := os.WriteFile("../../docs/stranded.svg", []byte(plot(without, with)), 0o644); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| average of the last three weeks | without rebalancing | rebalanced each night |\n|---|---:|---:|\n")
	row := func(name string, of func(*sim.Stranded) int64) {
		x, y := average(without, from, of), average(with, from, of)
		fmt.Fprintf(&b, "| %s | %d.%d %% | %d.%d %% |\n", name, x/10_000, x/1000%10, y/10_000, y/1000%10)
	}
	row("cpu in use", func(s *sim.Stranded) int64 { return s.UsedCPU })
	row("memory in use", func(s *sim.Stranded) int64 { return s.UsedMemory })
	row("cpu stranded", ofCPU)
	row("memory stranded", ofMemory)
	row("nodes empty", ofNodes(sim.Month))
	fmt.Fprintf(&b, "| allocations started | %d | %d |\n", without.Started, with.Started)
	const path, begin, end = "../../docs/packing.md", "<!-- begin month -->\n", "<!-- end month -->"
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(whole), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no section for the month", path)
	}
	if err := os.WriteFile(path, []byte(head+begin+b.String()+end+tail), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The plot, in pixels.
const (
	plotWide, plotHigh = 760, 320
	plotLeft, plotTop  = 50, 20
	plotRight          = 190 // for the names of the lines
	plotBottom         = 40
	plotMost           = 250_000 // millionths
)

// plot draws what was stranded over the month, as SVG.
func plot(without, with *sim.Figures) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n", plotWide, plotHigh)
	last := without.Stranded[len(without.Stranded)-1].At
	x := func(at spec.Duration) int64 {
		return plotLeft + int64(at/spec.Second)*(plotWide-plotLeft-plotRight)/int64(last/spec.Second)
	}
	y := func(v int64) int64 {
		return plotHigh - plotBottom - min(v, plotMost)*(plotHigh-plotTop-plotBottom)/plotMost
	}
	for v := int64(0); v <= plotMost; v += 50_000 {
		fmt.Fprintf(&b, "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" stroke=\"#ddd\"/><text x=\"%d\" y=\"%d\" text-anchor=\"end\">%d %%</text>\n",
			plotLeft, plotWide-plotRight, y(v), y(v), plotLeft-6, y(v)+4, v/10_000)
	}
	for day := spec.Duration(0); day*24*spec.Hour <= last; day += 5 {
		fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%d</text>\n", x(day*24*spec.Hour), plotHigh-plotBottom+16, day)
	}
	fmt.Fprintf(&b, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">day</text>\n", (plotLeft+plotWide-plotRight)/2, plotHigh-6)
	for i, l := range []struct {
		name, style string
		figures     *sim.Figures
		of          func(*sim.Stranded) int64
	}{
		{"cpu", "stroke=\"#c0392b\"", without, ofCPU},
		{"cpu, rebalanced", "stroke=\"#2471a3\"", with, ofCPU},
		{"memory", "stroke=\"#c0392b\" stroke-dasharray=\"2 3\"", without, ofMemory},
		{"memory, rebalanced", "stroke=\"#2471a3\" stroke-dasharray=\"2 3\"", with, ofMemory},
	} {
		fmt.Fprintf(&b, "<polyline fill=\"none\" %s stroke-width=\"1.5\" points=\"", l.style)
		for k := range l.figures.Stranded {
			s := &l.figures.Stranded[k]
			fmt.Fprintf(&b, "%d,%d ", x(s.At), y(l.of(s)))
		}
		b.WriteString("\"/>\n")
		at := plotTop + 20*int64(i)
		fmt.Fprintf(&b, "<line x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\" %s stroke-width=\"2\"/><text x=\"%d\" y=\"%d\">%s</text>\n",
			plotWide-plotRight+14, plotWide-plotRight+44, at, at, l.style, plotWide-plotRight+50, at+4, l.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
