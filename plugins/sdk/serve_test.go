package sdk

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stowage/stowage/plugins/wire"
	"github.com/stowage/stowage/reconcile/place"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "serve" {
		ServePolicy("pack", "2.1", place.Binpack)
	}
	os.Exit(m.Run())
}

// A person who starts a plugin by hand is told what it is.
func TestAPluginStartedByHandSaysWhatItIs(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for env, want := range map[string]string{
		"": `the Stowage policy plugin "pack" 2.1 and is started by a master`,
		wire.CookieKey + "=" + wire.Cookie + "\n" + wire.VersionsKey + "=7,8": `the host speaks the versions "7,8" of the plugin protocol, this plugin version 1`,
	} {
		cmd := exec.Command(self, "serve")
		cmd.Env = strings.Split(env, "\n")
		out, err := cmd.CombinedOutput()
		if e, ok := err.(*exec.ExitError); !ok || e.ExitCode() != 1 || !strings.Contains(string(out), want) {
			t.Errorf("want %q in: %s (%v)", want, out, err)
		}
	}
}

// The end of standard input ends the plugin: nothing else is needed to be rid of it.
func TestThePluginEndsWithItsPipe(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command(self, "serve")
	cmd.Env = []string{wire.CookieKey + "=" + wire.Cookie, wire.VersionsKey + "=1", wire.SocketDir + "=" + dir}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line := make([]byte, 200)
	n, err := stdout.Read(line)
	if want := "1|1|unix|" + dir + "/s|grpc|\n"; err != nil || string(line[:n]) != want {
		t.Errorf("greeting %q, want %q (%v)", line[:n], want, err)
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}
