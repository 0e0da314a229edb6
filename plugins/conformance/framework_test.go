package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stowage/stowage/plugins"
	"github.com/stowage/stowage/plugins/conformance"
	"github.com/stowage/stowage/spec"
)

// driver is a good one, unless told otherwise.
type driver struct {
	schema func() (spec.Schema, error)
	expand func(ctx context.Context, q *plugins.Question, good *plugins.Answer) (*plugins.Answer, error)
}

// Schema implements plugins.Framework.
func (d driver) Schema(context.Context) (spec.Schema, error) {
	if d.schema != nil {
		return d.schema()
	}
	return spec.Schema{Arguments: []spec.Argument{{Name: "size", Type: spec.TypeNumber, Description: "How many."}}}, nil
}

// Expand implements plugins.Framework.
func (d driver) Expand(ctx context.Context, q *plugins.Question) (*plugins.Answer, error) {
	size, ok := q.Block.Config["size"].(float64)
	if !ok || size < 0 || size > 100 {
		return nil, errors.New("size has to be a number from 0 to 100")
	}
	good := &plugins.Answer{Apps: []*spec.App{{Name: q.Block.Name + "/node", Count: int(size),
		Tasks: []spec.Task{{Name: "main", Rootfs: spec.RootfsHost, Command: []string{"true"}}}}}}
	if d.expand != nil {
		return d.expand(ctx, q, good)
	}
	return good, nil
}

func failed(t *testing.T, d driver) []string {
	t.Helper()
	q := &plugins.Question{Block: spec.Framework{Driver: "d", Name: "mine", Config: map[string]any{"size": 3.0}}}
	other := *q
	other.Block.Config = map[string]any{"size": 5.0}
	var out []string
	for _, c := range conformance.Framework(conformance.FrameworkSubject{Framework: d, Questions: []*plugins.Question{q, &other}}) {
		if err := c.Check(t.Context()); err != nil {
			out = append(out, c.Name+": "+err.Error())
		}
	}
	return out
}

func TestTheSuiteTellsGoodDriversFromBad(t *testing.T) {
	if f := failed(t, driver{}); len(f) > 0 {
		t.Errorf("a good driver failed %q", f)
	}
	var answers atomic.Int64
	type expand = func(context.Context, *plugins.Question, *plugins.Answer) (*plugins.Answer, error)
	for found, e := range map[string]expand{
		"answers good questions by the rules": func(_ context.Context, _ *plugins.Question, a *plugins.Answer) (*plugins.Answer, error) {
			a.Apps[0].Count = -1
			return a, nil
		},
		"answers the same to the same question": func(_ context.Context, _ *plugins.Question, a *plugins.Answer) (*plugins.Answer, error) {
			a.Steps = []spec.Step{{Title: fmt.Sprint(answers.Add(1))}}
			return a, nil
		},
		"owns nothing after a change of name": func(_ context.Context, _ *plugins.Question, a *plugins.Answer) (*plugins.Answer, error) {
			a.Apps[0].Name = "mine/node"
			return a, nil
		},
		"it changed the question": func(_ context.Context, q *plugins.Question, a *plugins.Answer) (*plugins.Answer, error) {
			q.Block.Config["seen"] = true
			return a, nil
		},
		"it answered with nothing": func(context.Context, *plugins.Question, *plugins.Answer) (*plugins.Answer, error) {
			return nil, nil
		},
	} {
		if f := strings.Join(failed(t, driver{expand: e}), "\n"); !strings.Contains(f, found) {
			t.Errorf("%q is missing in:\n%s", found, f)
		}
	}
	bare := driver{schema: func() (spec.Schema, error) {
		return spec.Schema{Arguments: []spec.Argument{{Name: "size", Type: spec.TypeNumber}}}, nil
	}}
	if f := strings.Join(failed(t, bare), "\n"); !strings.Contains(f, "has no description") {
		t.Errorf("a schema without descriptions passed: %s", f)
	}
}
