package cli

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stowage/stowage/master/identity"
	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/hcl"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestMain lets scripts run the real command line as the command stowage.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"stowage": func() {
			os.Exit(Run(context.Background(), World{Args: os.Args[1:], Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Version: "test"}))
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata", UpdateScripts: *update, Cmds: map[string]func(*testscript.TestScript, bool, []string){"saved": saved}})
}

// saved FOLDER FILE saves the input of a cluster of four empty nodes in two racks whose repository is the folder.
func saved(ts *testscript.TestScript, _ bool, args []string) {
	cluster, list := hcl.Load(os.DirFS(ts.MkAbs(args[0])), hcl.Options{})
	if cluster == nil {
		ts.Fatalf("%v", list)
	}
	in := reconcile.Input{Now: spec.Time(spec.Hour), Commit: "0123456789", Desired: cluster}
	for i := range 4 {
		in.Nodes = append(in.Nodes, spec.NodeView{
			Node: spec.Node{
				ID: spec.NodeID(fmt.Sprint("n", i+1)), Attributes: map[string]string{"rack": fmt.Sprint("r", i/2+1)},
				Capacity: spec.Resources{CPU: 4000, Memory: 8 * spec.GiB, Disk: 100 * spec.GiB},
			},
			State: spec.NodeReady,
		})
	}
	s := reconcile.Save(in, "salt")
	ts.Check(writeInput(ts.MkAbs(args[1]), &s))
}

func TestTheReferenceIsCurrent(t *testing.T) {
	path := filepath.Join("..", "..", "..", "docs", "reference", "commands.md")
	want := Reference()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("docs/reference/commands.md is not what the commands say (%v): go test ./cmd/stowage/cli -update writes it", err)
	}
}

// run runs a command line within the test.
func run(args ...string) (code int, stdout, stderr string) {
	var out, complaint bytes.Buffer
	code = Run(context.Background(), World{Args: args, Env: []string{"HOME=/nowhere"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &complaint, Version: "test"})
	return code, out.String(), complaint.String()
}

func TestExecTakesTheCommandBehindTheDashes(t *testing.T) {
	for _, args := range [][]string{{"web[0]", "--", "sh", "-c", "ls --all"}, {"web[0]", "sh", "-c", "ls --all"}} {
		command, err := commandAfter(args)
		if err != nil || strings.Join(command, "|") != "sh|-c|ls --all" {
			t.Errorf("%q: %q, %v", args, command, err)
		}
	}
}

func TestEveryCommandExplainsItself(t *testing.T) {
	for _, c := range (&shell{}).root().Commands() {
		if code, out, _ := run(c.Name(), "--help"); code != 0 || !strings.Contains(out, "Usage:") {
			t.Errorf("stowage %s --help: exit %d, %q", c.Name(), code, out)
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("stowage %s: its short description is %q", c.Name(), c.Short)
		}
	}
}

func TestJoinTokensComeFromThreePlaces(t *testing.T) {
	file, empty := filepath.Join(t.TempDir(), "token"), filepath.Join(t.TempDir(), "empty")
	if err := errors.Join(os.WriteFile(file, []byte("b\n"), 0o600), os.WriteFile(empty, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	var s shell
	s.Env = []string{"STOWAGE_JOIN=c"}
	for _, c := range []struct{ flag, file, want string }{{"a", "", "a"}, {"", file, "b"}, {"", "", "c"}} {
		if got, err := s.joinToken(c.flag, c.file); got != c.want || err != nil {
			t.Errorf("%+v: %q, %v", c, got, err)
		}
	}
	for _, c := range [][2]string{{"a", file}, {"", empty}, {"", file + "x"}} {
		if got, err := s.joinToken(c[0], c[1]); err == nil {
			t.Errorf("%v: %q", c, got)
		}
	}
}

// fakeMaster answers as it is told; it returns the file of credentials for it.
func fakeMaster(t *testing.T, answer http.HandlerFunc) (credentials string) {
	t.Helper()
	master := httptest.NewTLSServer(answer)
	t.Cleanup(master.Close)
	credentials = filepath.Join(t.TempDir(), "credentials.json")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: master.Certificate().Raw})
	if err := identity.WriteCredentials(credentials, identity.Credentials{Address: master.URL, CA: string(ca), Token: "t"}); err != nil {
		t.Fatal(err)
	}
	return credentials
}

// A name that no app has is an error, also when the answer would be an empty list; an app without allocations is none.
func TestAnAppThatIsNotThereIsAnError(t *testing.T) {
	credentials := fakeMaster(t, func(w http.ResponseWriter, r *http.Request) {
		answer := "[]"
		switch r.URL.Path {
		case "/v1/apps":
			answer = `[{"name": "shop/web"}]`
		case "/v1/status", "/v1/nodes/n1":
			answer = `{}`
		case "/v1/nodes/n9":
			w.WriteHeader(http.StatusNotFound)
			answer = `{"error": "there is no node \"n9\""}`
		}
		_, _ = io.WriteString(w, answer)
	})
	for _, command := range [][]string{{"ps", "--node"}, {"top", "--every", "500ms", "--node"}} {
		for name, want := range map[string]int{"n1": 0, "n9": 1} {
			if code, _, stderr := run(append([]string{"--credentials", credentials}, append(command, name)...)...); code != want || want == 1 && !strings.Contains(stderr, "there is no node") {
				t.Errorf("%v %s: exit code %d: %s", command, name, code, stderr)
			}
		}
	}
	if code, _, stderr := run("--credentials", credentials, "top", "shop/wbe"); code != 1 || !strings.Contains(stderr, "there is no app") {
		t.Errorf("top of no app: exit code %d: %s", code, stderr)
	}
	for _, command := range []string{"ps", "why"} {
		for name, want := range map[string]int{"nope": 1, "shop": 0, "shop/web": 0, "shop/we": 1} {
			if code, _, stderr := run("--credentials", credentials, command, name); code != want || want == 1 && !strings.Contains(stderr, "there is no app") {
				t.Errorf("%s %s: exit code %d: %s", command, name, code, stderr)
			}
		}
	}
}
