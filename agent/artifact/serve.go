package artifact

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// helperName is what a helper is called: its first argument, by which a program finds out that it is one.
const helperName = "stowage-artifact"

// Serve does what a helper does and ends the process, if this process is one; otherwise it returns at once. Programs that run an agent call
// it before anything else.
func Serve() {
	if len(os.Args) != 1 || os.Args[0] != helperName {
		return
	}
	out := &reporter{to: json.NewEncoder(os.NewFile(reportFD, "reports"))}
	last := report{Done: true}
	err := serve(out, &last)
	if err != nil {
		if last.Err = err.Error(); len(last.Err) > maxErrText {
			last.Err = strings.ToValidUTF8(last.Err[:maxErrText], "") + "…"
		}
	}
	out.say(last)
	os.Exit(0)
}

func serve(out *reporter, last *report) (err error) {
	// Before it knows anything: nobody without privileges may look into its memory, not even a process of the same user.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("close helper to others: %w", err)
	}
	var r request
	if err := json.NewDecoder(bufio.NewReader(os.Stdin)).Decode(&r); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	if err := confine(&r); err != nil {
		return err
	}
	file := os.NewFile(fileFD, "file")
	switch r.Deed {
	case deedDownload:
		return newDownload(&r, file, out.progress).run(context.Background())
	case deedClone:
		last.Commit, err = newDownload(&r, file, out.progress).clone(context.Background())
		return err
	case deedUnpack:
		to := bufio.NewWriterSize(os.Stdout, 256<<10)
		if err := unpack(&r, file, to); err != nil {
			return err
		}
		return to.Flush()
	}
	return fmt.Errorf("no helper can %q: agent and helper are not of one version", r.Deed)
}

// confine bounds what this process may take, before it looks at anything from outside. No limit can be raised again.
func confine(r *request) error {
	debug.SetMemoryLimit(helperMemory / 2) // what was given back still counts for the kernel's limit
	limits := []struct {
		what int
		most uint64
	}{{unix.RLIMIT_DATA, helperMemory}, {unix.RLIMIT_NOFILE, helperFiles}, {unix.RLIMIT_CORE, 0}, {unix.RLIMIT_FSIZE, uint64(r.Most)}}
	if r.Deed == deedUnpack {
		limits[len(limits)-1].most = 0 // it writes to a pipe
	}
	for _, l := range limits {
		if err := unix.Setrlimit(l.what, &unix.Rlimit{Cur: l.most, Max: l.most}); err != nil {
			return fmt.Errorf("limit helper: %w", err)
		}
	}
	return nil
}

// progressEvery is how often is told how far a download is.
const progressEvery = 500 * time.Millisecond

// reporter writes reports, one at a time.
type reporter struct {
	mu   sync.Mutex
	to   *json.Encoder
	last time.Time
}

func (r *reporter) say(what report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.to.Encode(what) // who does not listen has gone, and takes this process along
}

func (r *reporter) progress(have, total int64) {
	r.mu.Lock()
	due := time.Since(r.last) >= progressEvery
	if due {
		r.last = time.Now()
	}
	r.mu.Unlock()
	if due {
		r.say(report{Have: have, Total: total})
	}
}

// errTooMuch says that an artifact is larger than its task may hold.
var errTooMuch = errors.New("it is larger")

func tooMuch(most int64) error {
	return fmt.Errorf("%w than the %s that the task has for it: write a larger disk in the task", errTooMuch, rough(most))
}

// rough prints bytes as a person reads them.
func rough(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}
