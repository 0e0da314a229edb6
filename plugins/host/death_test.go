package host

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stowage/stowage/plugins/sdk"
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// forEver is a plugin that listens to nothing: no end of its standard input, no polite signal.
func forEver() {
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	for {
		time.Sleep(time.Hour)
	}
}

// parent is a plugin with a child that outlives it unless its group is killed, and that holds its standard error.
func parent() {
	child := exec.Command("/bin/sleep", "3600")
	child.Stderr = os.Stderr
	if err := child.Start(); err != nil {
		panic(err)
	}
	sdk.ServePolicy("parent", "1.0", place.Binpack)
}

// hostAlone is a master reduced to its host of plugins. It tells the process number of its plugin and waits.
func hostAlone() {
	h, err := New(Options{Folder: os.Args[2]})
	if err != nil {
		panic(err)
	}
	h.Use(spec.Plugin{Name: "x", Kind: spec.PluginPolicy, Command: os.Args[3], Args: os.Args[4:5], SHA256: os.Args[5]})
	for {
		if s := h.List()[0]; s.Pid != 0 {
			fmt.Println(s.Pid)
			forEver()
		}
		time.Sleep(time.Millisecond)
	}
}

func TestAPluginDiesWithAHostThatIsKilled(t *testing.T) {
	// One plugin uses the SDK, which watches its host; the other does nothing of the kind.
	// The third has a child, which dies with it where the host may make process namespaces.
	for _, behaviour := range []string{"plugin-pack", "plugin-mute", "plugin-parent"} {
		t.Run(behaviour, func(t *testing.T) {
			folder, err := os.MkdirTemp("", "h")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(folder)
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			host := exec.Command(self, "plugin-host", folder, self, behaviour, sumOf(t, self))
			host.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			out, err := host.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := host.Start(); err != nil {
				t.Fatal(err)
			}
			killed := false
			kill := func() {
				if !killed {
					killed = true
					_ = host.Process.Kill()
					_ = host.Wait()
				}
			}
			defer kill()
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil || !alive(pid) {
				t.Fatalf("plugin %d (%v) does not run", pid, err)
			}
			child := 0
			if behaviour == "plugin-parent" {
				if os.Getuid() != 0 {
					t.Skip("process namespaces need root")
				}
				child = childOf(t, pid)
			}
			kill()
			await(t, "the plugin dies with its host", func() bool { return !alive(pid) })
			await(t, "its child dies too", func() bool { return child == 0 || !alive(child) })

			left, _ := filepath.Glob(filepath.Join(folder, folderPrefix+"*"))
			if len(left) != 1 {
				t.Fatalf("the killed host left %v", left)
			}
			newHost(t, Options{Folder: folder})
			if _, err := os.Stat(left[0]); !os.IsNotExist(err) {
				t.Errorf("the next host did not remove what the killed one left: %v", err)
			}
		})
	}
}

// childOf returns the child of a process.
func childOf(t *testing.T, parent int) (child int) {
	t.Helper()
	await(t, "the plugin has a child", func() bool {
		stats, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, name := range stats {
			b, err := os.ReadFile(name)
			if err != nil {
				continue
			}
			text := string(b)
			fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
			if fields[1] == strconv.Itoa(parent) && fields[0] != "Z" {
				child, _ = strconv.Atoi(text[:strings.IndexByte(text, ' ')])
				return true
			}
		}
		return false
	})
	return child
}

func TestTheGroupOfAPluginEndsWithIt(t *testing.T) {
	for _, how := range []string{"crash", "close"} {
		t.Run(how, func(t *testing.T) {
			h := newHost(t, Options{MinBackoff: time.Hour, MaxBackoff: time.Hour})
			if _, err := h.Policy(self(t, spec.PluginPolicy, "parent")).Place(smallBatch()); err != nil {
				t.Fatal(err)
			}
			child := childOf(t, h.List()[0].Pid)
			if how == "crash" {
				if err := syscall.Kill(h.List()[0].Pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				await(t, "the host sees the end", func() bool { return h.List()[0].Phase == Waiting })
			} else if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			await(t, "the child dies with the plugin", func() bool { return !alive(child) })
		})
	}
}

func TestCloseEndsAPluginThatDoesNotListen(t *testing.T) {
	h := newHost(t, Options{StartTimeout: time.Hour})
	h.Use(self(t, spec.PluginPolicy, "mute"))
	await(t, "it runs", func() bool { return h.List()[0].Pid != 0 })
	pid := h.List()[0].Pid
	if err := h.Close(); err != nil || alive(pid) {
		t.Errorf("alive: %v, error: %v", alive(pid), err)
	}
}
