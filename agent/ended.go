package agent

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/agent/logs"
	"github.com/stowage/stowage/reconcile/node"
	"golang.org/x/sys/unix"
)

// exited tells that a container ended, and what it said last if it was no success.
func (f folders) exited(run node.Run, c *executor.Container) node.Event {
	return node.Exited{Run: run, Exit: exit(c.Exit), At: moment(c.Finished), Output: f.output(run, c)}
}

// maxTail bounds how much of the end of an output is looked at for its last line, in bytes.
const maxTail = 4 << 10

// clockTick is by how much the time of a file may lie behind the clock: the kernel takes it from its last tick, and a tick is at most that
// long (CONFIG_HZ=100; see current_time in the kernel's fs/inode.c). What a run before wrote is older where the container was made after
// it; of one that was parked beside it, only what was written in the last tick before its end may be taken for the words of its successor.
const clockTick = 10 * time.Millisecond

// output is the last line that a container printed, if it ended without success: of stderr, where programs complain, or else of stdout.
// The files go over from one run of a task to the next; a file that was last written to before this run began says nothing of it.
func (f folders) output(run node.Run, c *executor.Container) string {
	if c.Exit == nil || c.Exit.Success() {
		return ""
	}
	for _, stream := range []logs.Stream{logs.Stderr, logs.Stdout} {
		if line := lastOf(filepath.Join(f.logs(run.ID), string(run.Task)+"."+string(stream)+".0"), c); line != "" {
			return line
		}
	}
	return ""
}

// lastOf returns the last line in a file that is not empty, "" if the container did not write there.
func lastOf(path string, c *executor.Container) string {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer file.Close()
	began := c.Created
	if c.Started.After(began) { // it was parked
		began = c.Started
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&fs.ModeType != 0 || info.ModTime().Before(began.Add(-clockTick)) {
		return ""
	}
	tail := make([]byte, min(info.Size(), maxTail))
	n, _ := file.ReadAt(tail, info.Size()-int64(len(tail))) // what could be read will do
	text := strings.TrimRight(string(tail[:n]), "\r\n\t ")
	return strings.ToValidUTF8(text[strings.LastIndexAny(text, "\r\n")+1:], "?")
}
