package wire

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"testing"

	"github.com/stowage/stowage/plugins"
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
	"google.golang.org/protobuf/proto"
)

// generator matches the lines that only name the generators' versions.
var generator = regexp.MustCompile(`(?m)^//.*\b(protoc|protoc-gen-go|protoc-gen-go-grpc)\b +v.*$`)

func TestTheGeneratedCodeIsCurrent(t *testing.T) {
	if _, err := exec.LookPath("protoc"); err != nil {
		t.Skip("protoc is not installed (Debian: apt-get install protobuf-compiler)")
	}
	if out, err := exec.Command("go", "mod", "download", "google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2").CombinedOutput(); err != nil {
		t.Skipf("the generator for gRPC cannot be had: %v\n%s", err, out)
	}
	fresh := t.TempDir()
	if out, err := exec.Command("sh", "generate.sh", fresh).CombinedOutput(); err != nil {
		t.Fatalf("generate.sh: %v\n%s", err, out)
	}
	for _, name := range []string{"plugin.pb.go", "plugin_grpc.pb.go"} {
		want, err := os.ReadFile(filepath.Join(fresh, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if string(generator.ReplaceAll(got, nil)) != string(generator.ReplaceAll(want, nil)) {
			t.Errorf("%s does not fit plugin.proto: run go generate ./plugins/wire", name)
		}
	}
}

// overTheWire marshals and unmarshals, as gRPC does.
func overTheWire[T proto.Message](t *testing.T, in, out T) T {
	t.Helper()
	b, err := proto.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(b, out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAQuestionSurvivesTheWire(t *testing.T) {
	app := &spec.App{Name: "ring/node", Kind: spec.KindService, Count: 3, Update: spec.Update{HealthyFor: 90 * spec.Second},
		Tasks: []spec.Task{{Name: "db", Rootfs: spec.RootfsHost, Command: []string{"run", "${port.db}"}, Env: map[string]string{"A": "ü"}, Memory: spec.GiB}}}
	q := &plugins.Question{
		Block: spec.Framework{Driver: "cassandra", Name: "ring", Config: map[string]any{"nodes": 3.0, "heap": "2GiB", "seeds": []any{"a", "b"},
			"deep": map[string]any{"x": true}}, Places: map[string]spec.Pos{"nodes": {File: "a.hcl", Line: 2, Column: 3}}, Pos: spec.Pos{File: "a.hcl", Line: 1, Column: 1}},
		Allocations: []spec.AllocationView{{
			Allocation: spec.Allocation{ID: "ring.node-0-7", Slot: spec.Slot{App: "ring/node", Index: 0}, Node: "n1", Generation: 7, Version: app.Hash(),
				Want: spec.WantRun, Placed: 1_700_000_000_123_456_789, Ports: []spec.Port{{Name: "db", Number: 20001, Protocol: spec.TCP}}},
			AllocationStatus: spec.AllocationStatus{State: spec.StateRunning, Healthy: true, HealthySince: 1_700_000_001_000_000_000, Since: 1_700_000_001_000_000_000,
				Tasks: []spec.TaskStatus{{Name: "db", State: spec.StateRunning, Pid: 77}}},
		}},
		Versions: map[spec.Hash]*spec.App{app.Hash(): app},
		Nodes:    []plugins.Node{{ID: "n1", Address: "10.0.0.1"}},
	}
	r, err := EncodeQuestion(q)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeQuestion(overTheWire(t, r, &ExpandRequest{}))
	if err != nil || !reflect.DeepEqual(got, q) {
		t.Errorf("\nsent %+v\ngot  %+v\n%v", q, got, err)
	}
	if h := got.Versions[app.Hash()].Hash(); h != app.Hash() {
		t.Errorf("the version %s became %s", app.Hash(), h)
	}
}

func TestAnAnswerSurvivesTheWire(t *testing.T) {
	a := &plugins.Answer{
		Apps:        []*spec.App{{Name: "ring/node", Count: 1}},
		Steps:       []spec.Step{{Title: "seed", Done: true, Detail: "ring/node[0]"}, {Title: "others"}},
		Diagnostics: []spec.Diagnostic{{Severity: spec.SeverityWarning, Summary: "Small heap", Detail: "Give it more.", Pos: spec.Pos{File: "a.hcl", Line: 3}}},
	}
	r, err := EncodeAnswer(a)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeAnswer(overTheWire(t, r, &ExpandResponse{})); err != nil || !reflect.DeepEqual(got, a) {
		t.Errorf("\nsent %+v\ngot  %+v\n%v", a, got, err)
	}
	for name, bad := range map[string]*ExpandResponse{
		"app": {Apps: [][]byte{[]byte("{")}}, "type": {Apps: [][]byte{[]byte(`{"count":"many"}`)}}, "diagnostic": {Diagnostics: [][]byte{nil}},
	} {
		if got, err := DecodeAnswer(bad); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// What a newer plugin says more than this host knows is left out.
	if got, err := DecodeAnswer(&ExpandResponse{Apps: [][]byte{[]byte(`{"name":"ring/node","mascot":"otter"}`)}}); err != nil || got.Apps[0].Name != "ring/node" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestABatchAndItsPicksSurviveTheWire(t *testing.T) {
	b := &place.Batch{
		App: "shop/web", Kind: spec.KindBatch, Priority: 70, Config: map[string]string{"weight": "3"}, Seed: 1<<63 + 5, Count: 9,
		Resources: []string{"cpu", "gpu"}, Need: []int64{500, 1000}, Nodes: []spec.NodeID{"a", "b"}, Capacity: []int64{4000, 2000, 8000, 0},
		Free: []int64{-1, 2000, 8000, 0}, Room: []int32{1, 2}, Own: []int32{0, 1}, Load: []int32{3, 4},
		Terms:  []place.Term{{Name: "near x", Value: []spec.Milli{-500, 500}}},
		Groups: []place.Group{{Name: "rack", Of: []int32{0, 1}, Have: []int32{1, 0}, Cap: []int32{2, 2}}, {Name: "zone", Of: []int32{0, 0}, Have: []int32{1}, Cost: []spec.Milli{-7}}},
	}
	got, err := DecodeBatch(overTheWire(t, EncodeBatch(b), &PlaceRequest{}))
	if err != nil || !reflect.DeepEqual(got, b) {
		t.Errorf("\nsent %+v\ngot  %+v\n%v", b, got, err)
	}
	picks := []place.Pick{{Node: 1, Score: spec.Score{Total: -83, Parts: []spec.ScorePart{{Name: "binpack", Value: -83}}, Next: "a", NextWhy: "less full", NextAt: -90, Feasible: 2}}, {Node: 0}}
	if got := DecodePicks(overTheWire(t, EncodePicks(picks), &PlaceResponse{})); !reflect.DeepEqual(got, picks) {
		t.Errorf("\nsent %+v\ngot  %+v", picks, got)
	}
}

func TestABatchWhoseColumnsDoNotFitIsRefused(t *testing.T) {
	for name, change := range map[string]func(*PlaceRequest){
		"need":     func(r *PlaceRequest) { r.Need = nil },
		"capacity": func(r *PlaceRequest) { r.Capacity = r.Capacity[1:] },
		"free":     func(r *PlaceRequest) { r.Free = append(r.Free, 1) },
		"room":     func(r *PlaceRequest) { r.Room = nil },
		"own":      func(r *PlaceRequest) { r.Own = nil },
		"load":     func(r *PlaceRequest) { r.Load = nil },
		"count":    func(r *PlaceRequest) { r.Count = -1 },
		"term":     func(r *PlaceRequest) { r.Terms = []*Term{{}} },
		"group":    func(r *PlaceRequest) { r.Groups = []*Group{{Of: []int32{0}}} },
		"cap":      func(r *PlaceRequest) { r.Groups = []*Group{{Of: []int32{0}, Have: []int32{0}, Cap: []int32{1, 2}}} },
	} {
		r := EncodeBatch(&place.Batch{App: "a", Count: 1, Resources: []string{"cpu"}, Need: []int64{1}, Nodes: []spec.NodeID{"n"},
			Capacity: []int64{1}, Free: []int64{1}, Room: []int32{1}, Own: []int32{0}, Load: []int32{0}})
		if _, err := DecodeBatch(r); err != nil {
			t.Fatal(err)
		}
		change(r)
		if _, err := DecodeBatch(r); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
