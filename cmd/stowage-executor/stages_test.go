package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stowage/stowage/agent/executor"
)

// BenchmarkStages starts a container with the executor, with crun and with runc in turns, so that a busy machine slows all of them, and shows
// where the time goes: medians of the whole and of each stage of ours, and per container the time on the processor, the page faults and,
// where strace is installed, the system calls, from start to removal. Ours count what the container's processes take too, the others' do not.
func BenchmarkStages(b *testing.B) {
	b.Run("confined", func(b *testing.B) { benchmarkStages(b, true) })
	b.Run("unconfined", func(b *testing.B) { benchmarkStages(b, false) })
}

func benchmarkStages(b *testing.B, confined bool) {
	n := newNode(b, "--stages")
	bundle := crunBundle(b, confined)
	if err := hideUnified(); err != nil {
		b.Fatal(err)
	}
	spec := n.host("warm", "")
	spec.Command, spec.Unconfined = []string{"sleep", "1000"}, !confined
	runtimes := []*other{{program: "crun"}, {program: "runc"}}
	runtimes = slices.DeleteFunc(runtimes, func(o *other) bool { _, err := exec.LookPath(o.program); return err != nil })
	var ours []time.Duration
	once := func(id string) {
		begin := time.Now()
		if _, err := n.client.Start(b.Context(), withID(spec, id)); err != nil {
			b.Fatal(err)
		}
		ours = append(ours, time.Since(begin))
		if err := n.client.Delete(b.Context(), id); err != nil {
			b.Fatal(err)
		}
	}
	once("warm") // filters, pools, the network poller
	ours = nil
	before := usageOf(b, n.cmd.Process.Pid)
	for i := 0; b.Loop(); i++ {
		once(fmt.Sprintf("c%d", i))
		for _, o := range runtimes {
			if err := o.start(bundle, fmt.Sprintf("stowage-bench-%d-%d", os.Getpid(), i)); err != nil {
				b.Fatal(err)
			}
		}
	}
	used := usageOf(b, n.cmd.Process.Pid).less(before)
	rounds := float64(len(ours))
	b.ReportMetric(ms(median(ours)), "ms/stowage")
	b.ReportMetric(ms(slices.Min(ours)), "min-ms/stowage")
	b.ReportMetric(ms(used.cpu)/rounds, "cpu-ms/stowage")
	b.ReportMetric(float64(used.faults)/rounds, "faults/stowage")
	rest := median(ours)
	for _, stage := range readStages(n.stderr.String()) {
		b.ReportMetric(ms(median(stage.took)), "ms-"+stage.name)
		rest -= median(stage.took)
	}
	b.ReportMetric(ms(rest), "ms-rest") // records, FIFOs, the call itself
	for _, o := range runtimes {
		b.ReportMetric(ms(median(o.took)), "ms/"+o.program)
		b.ReportMetric(ms(slices.Min(o.took)), "min-ms/"+o.program)
		b.ReportMetric(ms(o.used.cpu)/rounds, "cpu-ms/"+o.program)
		b.ReportMetric(float64(o.used.faults)/rounds, "faults/"+o.program)
		b.ReportMetric(float64(median(ours))/float64(median(o.took)), "ratio-"+o.program)
		b.ReportMetric(float64(slices.Min(ours))/float64(slices.Min(o.took)), "min-ratio-"+o.program)
	}
	if _, err := exec.LookPath("strace"); err == nil {
		spec.Command = []string{"true"}
		b.ReportMetric(n.countCalls(b, func() {
			n.run(withID(spec, "traced"))
			if err := n.client.Delete(b.Context(), "traced"); err != nil {
				b.Fatal(err)
			}
		}), "syscalls/stowage")
		short := crunBundle(b, confined, "true")
		for _, o := range runtimes {
			b.ReportMetric(o.countCalls(b, short), "syscalls/"+o.program)
		}
	}
}

func withID(spec executor.Spec, id string) executor.Spec {
	spec.ID = id
	return spec
}

// usage is what processes took.
type usage struct {
	cpu    time.Duration
	faults int64
}

func (u usage) less(v usage) usage { return usage{u.cpu - v.cpu, u.faults - v.faults} }

// usageOf reads what a process and its children that have ended took, as proc_pid_stat(5) describes it.
func usageOf(b *testing.B, pid int) usage {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	field := func(i int) int64 { // as the manual counts them
		v, err := strconv.ParseInt(fields[i-3], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		return v
	}
	const tick = 10 * time.Millisecond
	return usage{time.Duration(field(14)+field(15)+field(16)+field(17)) * tick, field(10) + field(11)}
}

// other is another runtime.
type other struct {
	program string
	took    []time.Duration
	used    usage
}

// start measures a start, and removes the container.
func (o *other) start(bundle, id string) error {
	begin := time.Now()
	run, err := o.run("run", "--detach", "--bundle", bundle, id)
	o.took = append(o.took, time.Since(begin))
	if err != nil {
		return err
	}
	deleted, err := o.run("delete", "--force", id)
	o.used.cpu += run.cpu + deleted.cpu
	o.used.faults += run.faults + deleted.faults
	return err
}

// run executes the program without waiting for the container, which holds the descriptors of its parent.
func (o *other) run(args ...string) (usage, error) {
	log, err := os.CreateTemp("", o.program)
	if err != nil {
		return usage{}, err
	}
	defer os.Remove(log.Name())
	defer log.Close()
	cmd := exec.Command(o.program, args...)
	cmd.Stderr = log
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(log.Name())
		return usage{}, fmt.Errorf("%s %s: %w: %s", o.program, args[0], err, said)
	}
	r := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return usage{cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), r.Minflt}, nil
}

// countCalls counts the system calls of a container's life from its start to its removal; its command is true.
func (o *other) countCalls(b *testing.B, bundle string) float64 {
	id := fmt.Sprintf("stowage-bench-%d-traced", os.Getpid())
	out := filepath.Join(b.TempDir(), "calls")
	strace := &other{program: "strace"}
	total := 0.0
	for _, args := range [][]string{{"run", "--bundle", bundle, id}, {"delete", "--force", id}} {
		if _, err := strace.run(append([]string{"-f", "-c", "-o", out, o.program}, args...)...); err != nil {
			b.Fatal(err)
		}
		total += readCalls(b, out)
	}
	return total
}

// countCalls is that of the executor and all that it starts.
func (n *node) countCalls(b *testing.B, do func()) float64 {
	out := filepath.Join(b.TempDir(), "calls")
	strace := exec.Command("strace", "-f", "-c", "-o", out, "-p", strconv.Itoa(n.cmd.Process.Pid))
	if err := strace.Start(); err != nil {
		b.Fatal(err)
	}
	n.await("strace to look", func() bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
		return err == nil && !strings.Contains(string(status), "TracerPid:\t0\n")
	})
	do()
	if err := strace.Process.Signal(os.Interrupt); err != nil {
		b.Fatal(err)
	}
	_ = strace.Wait() // by the signal
	return readCalls(b, out)
}

// readCalls reads the total of strace -c, whose last line is: percent, seconds, microseconds per call, calls.
func readCalls(b *testing.B, file string) float64 {
	data, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) >= 4 && fields[len(fields)-1] == "total" {
			if calls, err := strconv.ParseFloat(fields[3], 64); err == nil {
				return calls
			}
		}
	}
	b.Fatalf("strace counted nothing: %s", data)
	return 0
}

// stage is one of a start.
type stage struct {
	name string
	took []time.Duration
}

// readStages reads the lines that an executor with --stages writes, in their order, all but the first container's.
func readStages(text string) []stage {
	var all []stage
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 3 || words[0] != "stages" || words[1] == "warm" {
			continue
		}
		for i, word := range words[2:] {
			name, value, _ := strings.Cut(word, "=")
			took, err := time.ParseDuration(value)
			if err != nil {
				continue
			}
			if i == len(all) {
				all = append(all, stage{name: name})
			}
			all[i].took = append(all[i].took, took)
		}
	}
	return all
}

func median(all []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(all))
	return sorted[len(sorted)/2]
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
