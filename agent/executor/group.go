package executor

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// hangUpTime is how long the processes of an exec have to end by themselves after a hang-up: an editor saves what it has.
const hangUpTime = time.Second

// group is a process that was started in a container, and what it has started since: all processes of its session, which has its
// number, in its pid namespace. Whatever takes a session of its own, as daemons do, means to stay and is left alone.
type group struct {
	leader *process
	space  string // the pid namespace, so that a number that is given out again elsewhere is nobody of ours
}

func groupOf(leader *process) *group { return &group{leader, pidSpace(leader.pid)} }

func pidSpace(pid int) string {
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		return ""
	}
	return space
}

// signal sends a signal to the leader and its process group, as a key on a terminal does.
func (g *group) signal(sig unix.Signal) {
	if stat, err := readStat(g.leader.pid); err != nil || stat.start != g.leader.start {
		return
	}
	if unix.Kill(-g.leader.pid, sig) != nil { // it leads none
		_ = g.leader.signal(sig)
	}
}

// hangUp tells the whole session that nobody is at its other end, and kills what has not ended soon, or once the context ends.
func (g *group) hangUp(ctx context.Context) {
	members := g.each(unix.SIGHUP)
	deadline := time.NewTimer(hangUpTime)
	defer deadline.Stop()
	tick := time.NewTicker(hangUpTime / 20)
	defer tick.Stop()
	for members > 0 {
		select {
		case <-tick.C:
			members = g.each(0)
			continue
		case <-deadline.C:
		case <-ctx.Done():
		}
		break
	}
	g.kill()
}

// maxKills bounds how often a session is looked through for processes that were started meanwhile.
const maxKills = 100

func (g *group) kill() {
	for range maxKills {
		if g.each(unix.SIGKILL) == 0 {
			return
		}
	}
}

// each sends a signal to every process of the session, and returns how many there are that have not ended. 0 only counts.
func (g *group) each(sig unix.Signal) (members int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		_ = g.leader.signal(sig)
		return 0
	}
	led := false
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := readStat(pid)
		if err != nil || stat.session != g.leader.pid || stat.state == 'Z' || stat.state == 'X' {
			continue
		}
		// A pidfd first, then the look: what is signalled is what was looked at.
		member, err := openProcess(pid, stat.start)
		if err != nil {
			continue
		}
		if g.space != "" && pidSpace(pid) == g.space {
			members++
			led = led || pid == g.leader.pid
			if sig != 0 {
				_ = member.signal(sig)
			}
		}
		member.file.Close()
	}
	if !led && sig != 0 {
		_ = g.leader.signal(sig) // one that leads no session is alone
	}
	return members
}
