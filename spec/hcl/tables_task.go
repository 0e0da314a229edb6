package hcl

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/stowage/stowage/spec"
)

var taskTable = &table[spec.Task]{
	doc: "One container. Its root file system comes from the node (rootfs) or from an image.",
	defaults: func() spec.Task {
		return spec.Task{
			Lifecycle: spec.LifecycleMain, CPU: spec.DefaultCPU, Memory: spec.DefaultMemory, Pids: spec.DefaultPids,
			Stop: stopTable.fresh(), Logs: logsTable.fresh(),
		}
	},
	args: []argument[spec.Task]{
		arg("lifecycle", oneOf(spec.LifecycleMain, spec.LifecycleSidecar, spec.LifecyclePrestart, spec.LifecyclePoststart, spec.LifecyclePoststop), func(t *spec.Task) *spec.Lifecycle { return &t.Lifecycle },
			"main: the allocation lives as long as these. sidecar: starts before the main tasks and is stopped after them. prestart: these run to exit 0, one after the other, before everything else. poststart: runs to exit 0 once the allocation has become healthy. poststop: runs once after the main tasks have ended, however that came"),
		arg("rootfs", oneOf(spec.RootfsHost), func(t *spec.Task) *spec.Rootfs { return &t.Rootfs }, "host: the node's programs, read-only, below a writable layer of the allocation's own"),
		arg("image", image, func(t *spec.Task) *string { return &t.Image }, "An image of a registry: NAME:TAG, HOST/NAME:TAG or either with @sha256:DIGEST; what a tag means is looked up once for each commit. Or oci:PATH or archive:PATH in the repository, or the URL of an archive with image_sha256"),
		arg("image_sha256", checksum, func(t *spec.Task) *string { return &t.ImageSHA }, "Checksum of the archive behind a URL"),
		arg("command", texts, func(t *spec.Task) *[]string { return &t.Command }, "The program and its arguments; without it the image's own").atNode(),
		arg("env", environment, func(t *spec.Task) *map[string]string { return &t.Env }, "Environment variables").atNode(),
		arg("dir", text[string](), func(t *spec.Task) *string { return &t.Dir }, "The folder it starts in").atNode(),
		arg("user", text[string](), func(t *spec.Task) *string { return &t.User }, "Name, uid or uid:gid; without it root in the container, or the image's"),
		arg("groups", texts, func(t *spec.Task) *[]string { return &t.Groups }, "Groups beside the user's own: names or numbers"),
		arg("user_namespace", flag, func(t *spec.Task) *bool { return &t.UserNS }, "Root in the container is nobody outside"),
		arg("hostname", text[string](), func(t *spec.Task) *string { return &t.Hostname }, "Its host name; without it made of the app and the slot, as in shop-web-0").atNode(),
		arg("cpu", cores, func(t *spec.Task) *spec.MilliCPU { return &t.CPU }, "Cores; its share when others want them too"),
		arg("cpu_max", maxCores, func(t *spec.Task) *spec.MilliCPU { return &t.CPUMax }, "Cores that it never gets more of; without it, it may use what is idle"),
		arg("cores", whole(1, int(spec.MaxCPU/1000)), func(t *spec.Task) *int { return &t.Cores }, "Whole cores for this task alone, in place of cpu: nobody else runs there"),
		arg("memory", size, func(t *spec.Task) *spec.Bytes { return &t.Memory }, "Memory; placement counts this"),
		arg("memory_max", size, func(t *spec.Task) *spec.Bytes { return &t.MemoryMax }, "Memory it may burst to; without it memory is the limit"),
		arg("swap", size, func(t *spec.Task) *spec.Bytes { return &t.Swap }, "What of it may be swapped out, beyond its limit of memory; without it nothing"),
		arg("shm_size", shmSize, func(t *spec.Task) *spec.Bytes { return &t.ShmSize }, "The most that /dev/shm holds; it counts as memory"),
		arg("disk", size, func(t *spec.Task) *spec.Bytes { return &t.Disk }, "The most that its writable layer holds: with more the task is ended, or, where the nodes' file system has project quotas, its writes fail. Without it there is no limit"),
		arg("pids", whole(1, 4_194_304), func(t *spec.Task) *int { return &t.Pids }, "Most processes and threads"),
		arg("resources", amounts, func(t *spec.Task) *map[string]spec.Milli { return &t.Resources }, "Named resources, such as { gpu = 1 }"),
		arg("max_run", duration, func(t *spec.Task) *spec.Duration { return &t.MaxRun }, fmt.Sprintf("The longest that one run of the task may take: after it, it is stopped, and counts as failed. Without it there is no limit, for poststop %q", spec.DefaultPoststopMaxRun)),
	},
	blocks: []nested[spec.Task]{
		several("check", "name", checkTable, addCheck, "Asks the task whether it is well."),
		several("artifact", "path", artifactTable, addArtifact, artifactTable.doc),
		several("device", "kind", deviceTable, addDevice, "Devices for this task alone, such as device \"gpu\" {}."),
		several("ulimit", "name", ulimitTable, addUlimit, "A limit on each of its processes, as setrlimit(2) has it: "+list(spec.Ulimits)+". Sizes are in bytes, or written with their unit as \"64MiB\"."),
		several("tmpfs", "path", tmpfsTable, addTmpfs, "A file system in memory. What it holds counts as memory of the task, and is gone with the container."),
		one("io", func(t *spec.Task) *spec.IO { return &t.IO }, ioTable, "What it reads and writes on the disk that holds its files. On nodes with cgroup v1 the limits hold for what bypasses the page cache, and for reads of what is not in it."),
		one("isolation", func(t *spec.Task) *spec.Isolation { return &t.Isolation }, isolationTable, isolationTable.doc),
		one("stop", func(t *spec.Task) *spec.Stop { return &t.Stop }, stopTable, "How it is asked to end."),
		one("logs", func(t *spec.Task) *spec.Logs { return &t.Logs }, logsTable, "What is kept of its output, for stdout and stderr each."),
	},
	check: checkTask,
}

// signals that programs take as a wish to end.
var signals = []string{"SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGKILL"}

var logsTable = &table[spec.Logs]{
	doc: "What is kept of a task's output, for stdout and stderr each.",
	defaults: func() spec.Logs {
		return spec.Logs{MaxSize: spec.DefaultLogSize, MaxFiles: spec.DefaultLogFiles}
	},
	args: []argument[spec.Logs]{
		arg("max_size", size, func(l *spec.Logs) *spec.Bytes { return &l.MaxSize }, "Of one file"),
		arg("max_files", whole(1, 1000), func(l *spec.Logs) *int { return &l.MaxFiles }, "How many files, the newest included"),
	},
	check: func(d *decoder, b *block, l *spec.Logs) {
		if l.MaxSize < 64*spec.KiB && b.sound("max_size") {
			d.at(b.placeOf("max_size"), b.env.context, "Wrong value for max_size", fmt.Sprintf("A log file of %s would be turned over all the time. Give it at least 64KiB.", l.MaxSize))
		}
	},
}

// image is where a root file system comes from. Paths are cleaned; they count from the followed folder.
var image = kind[string]{
	name: "text",
	read: func(v cty.Value) (string, error) {
		if v.Type() != cty.String {
			return "", mustBe(`a text such as "nginx:1.25", "oci:image" or the URL of an archive`, v)
		}
		s := v.AsString()
		if err := checkText(s); err != nil {
			return "", err
		}
		for _, form := range []string{"oci:", "archive:"} {
			p, ok := strings.CutPrefix(s, form)
			if !ok {
				continue
			}
			if !insideRepository(p) {
				return "", wrong(fmt.Sprintf("must name a path inside the repository after %q, but here it is %q", form, shorten(p, 100)))
			}
			return form + path.Clean(p), nil
		}
		if strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://") {
			return s, nil
		}
		if scheme, _, ok := strings.Cut(s, "://"); ok {
			return "", wrong(fmt.Sprintf("begins with %s://, but an image of a registry is named without a scheme, as in registry.example.com/web:2, and an archive by https or http", shorten(scheme, 20)))
		}
		if _, err := spec.ParseImage(s); err != nil {
			return "", wrong(fmt.Sprintf("must be an image of a registry such as \"nginx:1.25\", \"oci:PATH\", \"archive:PATH\" or the URL of an archive, but here %s", shorten(err.Error(), 300)))
		}
		return s, nil
	},
	show: quoteIfSet,
}

// decodeTask reads a task with the names that are known on the node only: they become markers that the agent fills in
// (spec.Expand).
func decodeTask(d *decoder, b *block, a *spec.App) {
	if len(a.Tasks) == spec.MaxTasks {
		d.at(b.place(), b.env.context, "Too many tasks", fmt.Sprintf("An app has at most %d tasks. Divide it.", spec.MaxTasks))
		return
	}
	b.env.node = b.env.ctx.NewChild()
	b.env.node.Variables = markers(a)
	b.env.ports = a.Network.Ports
	t := taskTable.fresh()
	t.Name, t.Pos = spec.TaskName(b.label(0)), position(b.TypeRange)
	d.checkName(b, "task", spec.CheckLabel)
	if i := slices.IndexFunc(a.Tasks, func(o spec.Task) bool { return o.Name == t.Name }); i >= 0 {
		d.at(b.place(), b.env.context, "Duplicate task", fmt.Sprintf("The app has a task %q already, at %s. Rename one of them.", shorten(string(t.Name), 60), where(a.Tasks[i].Pos)))
	}
	taskTable.decode(d, b, &t)
	d.checkIsolated(b, a, &t)
	a.Tasks = append(a.Tasks, t)
}

// markers are the values of the names known on the node only, or when a run begins.
func markers(a *spec.App) map[string]cty.Value {
	ports := a.Network.Ports
	marker := func(name string) cty.Value { return cty.StringVal("${" + name + "}") }
	numbers := make(map[string]cty.Value, len(ports))
	for _, p := range ports {
		numbers[p.Name] = marker("port." + p.Name)
	}
	given := make(map[string]cty.Value, len(a.Parameters))
	for _, p := range a.Parameters {
		given[p.Name] = marker("param." + p.Name)
	}
	return map[string]cty.Value{
		"param": cty.ObjectVal(given),
		"run":   cty.ObjectVal(map[string]cty.Value{"name": marker("run.name"), "time": marker("run.time")}),
		"port":  cty.ObjectVal(numbers),
		"node":  cty.ObjectVal(map[string]cty.Value{"id": marker("node.id"), "address": marker("node.address")}),
		"app":   marker("app"), "slot": marker("slot"), "allocation": marker("allocation"),
	}
}
