package conformance_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stowage/stowage/plugins/conformance"
	"github.com/stowage/stowage/plugins/host"
	"github.com/stowage/stowage/plugins/sdk"
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// The test binary is also the plugin: "serve-policy NAME" makes it one.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "serve-policy" {
		policy, _ := place.BuiltIn(os.Args[2])
		sdk.ServePolicy(os.Args[2], "1.0", policy)
	}
	os.Exit(m.Run())
}

// outside runs a built-in policy as a process.
func outside(t *testing.T, name string) conformance.PolicySubject {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(host.Options{Overrides: map[string]string{name: self}, MinBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond,
		PlaceTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return conformance.PolicySubject{
		Policy: h.Policy(spec.Plugin{Name: name, Kind: spec.PluginPolicy, Args: []string{"serve-policy", name}}),
		Kill: func() error {
			if s := h.List(); len(s) == 1 && s[0].Pid != 0 {
				return syscall.Kill(s[0].Pid, syscall.SIGKILL)
			}
			return errors.New("it does not run")
		},
	}
}

func TestTheBuiltInPoliciesConform(t *testing.T) {
	for _, name := range []string{"binpack", "spread"} {
		inside, _ := place.BuiltIn(name)
		for way, subject := range map[string]conformance.PolicySubject{"in process": {Policy: inside}, "as a process": outside(t, name)} {
			for _, c := range conformance.Policy(subject) {
				t.Run(name+" "+way+" "+c.Name, func(t *testing.T) {
					if err := c.Check(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

func TestOutsideAndInsideAgreeToTheLastDigit(t *testing.T) {
	for _, name := range []string{"binpack", "spread"} {
		inside, _ := place.BuiltIn(name)
		process := outside(t, name).Policy
		for i, b := range conformance.Batches(11, 100) {
			want, err := inside.Place(b)
			if err != nil {
				t.Fatal(err)
			}
			got, err := process.Place(b)
			if err != nil {
				t.Fatal(err)
			}
			if len(want)+len(got) > 0 && !reflect.DeepEqual(got, want) {
				t.Fatalf("%s, batch %d: as a process\n%v\nin process\n%v", name, i, got, want)
			}
		}
	}
}

// A policy of each wrong kind, and the case that finds it out.
type wrong func(b *place.Batch) ([]place.Pick, error)

// Place implements place.Policy.
func (w wrong) Place(b *place.Batch) ([]place.Pick, error) { return w(b) }

func TestTheSuiteFindsWhatIsWrong(t *testing.T) {
	var calls atomic.Int64
	cases := map[string]struct {
		policy wrong
		found  string
	}{
		"lazy":     {func(*place.Batch) ([]place.Pick, error) { return nil, nil }, "places where something fits"},
		"greedy":   {func(b *place.Batch) ([]place.Pick, error) { return make([]place.Pick, b.Count+1), nil }, "answers an empty question"},
		"crowding": {func(b *place.Batch) ([]place.Pick, error) { return make([]place.Pick, b.Count), nil }, "keeps to room"},
		"moody": {func(b *place.Batch) ([]place.Pick, error) {
			n := int(calls.Add(1))
			p := place.Fill(b, place.Binpack)
			return p[:len(p)*(n%2)], nil
		}, "answers the same"},
		"meddling": {func(b *place.Batch) ([]place.Pick, error) {
			p := place.Fill(b, place.Binpack)
			b.Count++
			return p, nil
		}, "places where something fits"},
		"complains": {func(*place.Batch) ([]place.Pick, error) { return nil, errors.New("no") }, "keeps to room"},
	}
	for name, c := range cases {
		found := []string{}
		for _, k := range conformance.Policy(conformance.PolicySubject{Policy: c.policy}) {
			if err := k.Check(t.Context()); err != nil {
				found = append(found, k.Name)
			}
		}
		if !strings.Contains(strings.Join(found, "\n"), c.found) {
			t.Errorf("a %s policy failed only %s", name, fmt.Sprint(found))
		}
	}
}
