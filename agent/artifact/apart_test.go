package artifact

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/stowage/stowage/spec"
)

// TestHelpersAreApart: a helper that was taken over reads nothing of another, neither as the user that it has itself nor if it had the user of the other.
func TestHelpersAreApart(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("another user is given by root only")
	}
	asked := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- struct{}{}; <-r.Context().Done() }))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	for range 2 {
		go func() {
			_, err := new(Fetcher).Download(ctx, at(server.URL), spec.ChecksumNone, spool(t), plenty, nil)
			ended <- err
		}()
	}
	<-asked
	<-asked
	seen := map[uint32]bool{}
	for _, pid := range helpersOf(t, os.Getpid()) {
		status, err := os.ReadFile("/proc/" + pid + "/status")
		if err != nil {
			t.Fatal(err)
		}
		var id uint32
		_, rest, _ := strings.Cut(string(status), "Uid:\t")
		if _, err := fmt.Sscan(rest, &id); err != nil {
			t.Fatal(err)
		}
		seen[id] = true
		thief := exec.Command("cat", "/proc/"+pid+"/maps")
		thief.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
		if out, err := thief.CombinedOutput(); err == nil || !strings.Contains(string(out), "ermission denied") {
			t.Errorf("user %d reads where the memory of helper %s is: %v, %.200s", id, pid, err, out)
		}
	}
	if len(seen) != 2 {
		t.Errorf("two helpers are users %v", seen)
	}
	cancel()
	for range 2 {
		if err := <-ended; err == nil {
			t.Error("a download that was ended is no error")
		}
	}
	if len(users.taken) != 0 {
		t.Errorf("users %v are taken by nobody", users.taken)
	}
}
