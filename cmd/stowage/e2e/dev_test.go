package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestDevWaitsForItsAgents: the repository is there before the first agent of a stowage dev, and the app is spread over all of them
// all the same.
func TestDevWaitsForItsAgents(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"cluster.hcl": `cluster "dev" {}`,
		"web.hcl": `app "web" {
  count = 4
  spread { attribute = "node.id" }
  task "sleep" {
    rootfs  = "host"
    command = ["sleep", "1000000"]
    memory  = "16MiB"
  }
}
`} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stowage := func(args string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", args)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+binaries+":"+os.Getenv("PATH"), "HOME="+dir, "XDG_CONFIG_HOME="+dir+"/config", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		return cmd
	}
	if out, err := stowage("git init -q -b main && git add . && git commit -q -m web").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	background(t, stowage("exec stowage --no-color dev --agents 4"), "Ready after")
	deadline := time.Now().Add(patience)
	for {
		out, err := stowage("stowage ps web").CombinedOutput()
		if err == nil && strings.Count(string(out), "healthy") == 4 {
			for n := 1; n <= 4; n++ {
				if strings.Count(string(out), fmt.Sprint(" n", n, " ")) != 1 {
					t.Fatalf("they are not one on each agent:\n%s", out)
				}
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not all of them run (%v):\n%s", err, out)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
