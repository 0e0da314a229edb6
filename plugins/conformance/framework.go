package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/stowage/stowage/plugins"
	"github.com/stowage/stowage/spec"
)

// FrameworkSubject is a framework driver under test.
type FrameworkSubject struct {
	Framework plugins.Framework
	// Questions are good ones, one at least: a block that the driver's schema accepts and what it owns in some stage.
	Questions []*plugins.Question
	Kill      func() error // kills its process; nil when it has none
}

// hugeOwned is how many allocations the huge question holds.
const hugeOwned = 5000

// Framework returns the cases for a framework driver.
func Framework(s FrameworkSubject) []Case {
	f := s.Framework
	cases := []Case{
		{"has a schema, always the same", func(ctx context.Context) error { return steadySchema(ctx, f) }},
		{"answers good questions by the rules", func(ctx context.Context) error {
			return each(s.Questions, func(q *plugins.Question) error { _, err := expand(ctx, f, q); return err })
		}},
		{"answers the same to the same question", func(ctx context.Context) error { return remembersNothing(ctx, s) }},
		{"answers questions at the same time", func(ctx context.Context) error {
			want, err := expand(ctx, f, s.Questions[0])
			if err != nil {
				return err
			}
			return together(8, func() error { return expandsTo(ctx, f, copyQuestion(s.Questions[0]), want) })
		}},
		{"owns nothing after a change of name", func(ctx context.Context) error {
			return each(s.Questions, func(q *plugins.Question) error { return renamed(ctx, f, q) })
		}},
		{"bears a caller that gives up", func(ctx context.Context) error { return givenUp(ctx, s) }},
		{"bears nonsense", func(ctx context.Context) error { return bearsNonsense(ctx, s) }},
		{"bears a huge question", func(ctx context.Context) error {
			_, err := expand(ctx, f, huge(s.Questions[len(s.Questions)-1]))
			return err
		}},
	}
	if s.Kill != nil {
		cases = append(cases, Case{"comes back unharmed after being killed halfway", func(ctx context.Context) error {
			return each(s.Questions, func(q *plugins.Question) error {
				want, err := expand(ctx, f, q)
				if err != nil {
					return err
				}
				return killHalfway(ctx, s.Kill, func() error { return expandsTo(ctx, f, q, want) })
			})
		}})
	}
	return cases
}

func each(questions []*plugins.Question, check func(*plugins.Question) error) error {
	for i, q := range questions {
		if err := check(q); err != nil {
			return fmt.Errorf("question %d: %w", i, err)
		}
	}
	return nil
}

// expand asks, checks the answer, and that the question was left alone.
func expand(ctx context.Context, f plugins.Framework, q *plugins.Question) (spec.Expansion, error) {
	before := encode(q)
	answer, err := f.Expand(ctx, q)
	if err != nil {
		return spec.Expansion{}, err
	}
	if encode(q) != before {
		return spec.Expansion{}, errors.New("it changed the question")
	}
	if answer == nil {
		return spec.Expansion{}, errors.New("it answered with nothing and no error")
	}
	return plugins.Expansion(q.Block, answer)
}

func expandsTo(ctx context.Context, f plugins.Framework, q *plugins.Question, want spec.Expansion) error {
	got, err := expand(ctx, f, q)
	if err != nil {
		return err
	}
	if a, b := encode(want), encode(got); a != b {
		return fmt.Errorf("it answered\n%s\nand then\n%s", a, b)
	}
	return nil
}

// encode writes a value for comparison; JSON sorts the keys of maps.
func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// copyQuestion copies what a bad driver could change: each of several questions at once is its own.
func copyQuestion(q *plugins.Question) *plugins.Question {
	c := *q
	c.Block.Config = maps.Clone(q.Block.Config)
	c.Allocations, c.Nodes, c.Versions = slices.Clone(q.Allocations), slices.Clone(q.Nodes), maps.Clone(q.Versions)
	return &c
}

func steadySchema(ctx context.Context, f plugins.Framework) error {
	first, err := f.Schema(ctx)
	if err != nil {
		return err
	}
	if err := plugins.CheckSchema(first); err != nil {
		return err
	}
	for _, a := range first.Arguments {
		if a.Description == "" {
			return fmt.Errorf("argument %q has no description: the reference is made of them", a.Name)
		}
	}
	return together(4, func() error {
		again, err := f.Schema(ctx)
		if err == nil && encode(first) != encode(again) {
			err = errors.New("it has two schemas")
		}
		return err
	})
}

func remembersNothing(ctx context.Context, s FrameworkSubject) error {
	answers := make([]spec.Expansion, len(s.Questions))
	for i, q := range s.Questions {
		var err error
		if answers[i], err = expand(ctx, s.Framework, q); err != nil {
			return err
		}
	}
	for range 2 {
		for i := len(s.Questions) - 1; i >= 0; i-- { // in another order: it may remember nothing
			if err := expandsTo(ctx, s.Framework, s.Questions[i], answers[i]); err != nil {
				return fmt.Errorf("question %d: %w", i, err)
			}
		}
	}
	return nil
}

// renamed asks for another block of the same driver: its apps have to bear that block's name.
func renamed(ctx context.Context, f plugins.Framework, q *plugins.Question) error {
	other := *q
	other.Block.Name = "conformance/other"
	_, err := expand(ctx, f, &other)
	return err
}

func givenUp(ctx context.Context, s FrameworkSubject) error {
	want, err := expand(ctx, s.Framework, s.Questions[0])
	if err != nil {
		return err
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_ = together(4, func() error { _, err := s.Framework.Expand(gone, copyQuestion(s.Questions[0])); return err }) // an error or an answer: both are fine
	return expandsTo(ctx, s.Framework, s.Questions[0], want)
}

// bearsNonsense asks what no host would ask. An error is as good an answer as any; a crash, an answer that breaks the
// rules, or another answer to a good question afterwards is not.
func bearsNonsense(ctx context.Context, s FrameworkSubject) error {
	good := s.Questions[len(s.Questions)-1]
	want, err := expand(ctx, s.Framework, good)
	if err != nil {
		return err
	}
	questions := nonsense(good)
	for _, name := range slices.Sorted(maps.Keys(questions)) {
		answer, err := s.Framework.Expand(ctx, questions[name])
		if err == nil && answer == nil {
			return fmt.Errorf("%s: it answered with nothing and no error", name)
		}
		if err == nil {
			_, refused := plugins.Expansion(questions[name].Block, answer)
			if refused != nil && !spec.HasErrors(answer.Diagnostics) {
				return fmt.Errorf("%s: %w", name, refused)
			}
		}
		if err := expandsTo(ctx, s.Framework, good, want); err != nil {
			return fmt.Errorf("after %s: %w", name, err)
		}
	}
	return nil
}

func nonsense(good *plugins.Question) map[string]*plugins.Question {
	out := map[string]*plugins.Question{"nothing at all": {Block: spec.Framework{Driver: good.Block.Driver, Name: good.Block.Name}}}
	for name, value := range map[string]any{
		"a number": 1e300, "a negative number": -1.0, "a fraction": 0.5, "an infinite number": math.MaxFloat64, "a text": "🚢",
		"a truth": true, "nothing": nil, "a list": []any{1.0, "x", nil}, "a map": map[string]any{"x": []any{}},
	} {
		q := *good
		q.Block.Config = map[string]any{}
		for key := range good.Block.Config {
			q.Block.Config[key] = value
		}
		q.Block.Config["unheard_of"] = value
		out[name+" for every argument"] = &q
	}
	foreign, lost, blind := *good, *good, *good
	foreign.Allocations = slices.Clone(good.Allocations)
	for i := range foreign.Allocations {
		a := &foreign.Allocations[i]
		a.App, a.Index, a.State, a.Want, a.Ports, a.Node = "somebody/else", -7, "dreaming", "", nil, ""
	}
	lost.Versions, lost.Nodes = nil, nil
	blind.Allocations = slices.Clone(good.Allocations)
	for i := range blind.Allocations {
		blind.Allocations[i].Version, blind.Allocations[i].Ports = "", []spec.Port{{Name: strings.Repeat("p", 1000), Number: -1}}
	}
	out["allocations of others"], out["no versions and nodes"], out["odd ports and versions"] = &foreign, &lost, &blind
	return out
}

// huge repeats what a block owns until it is a lot.
func huge(q *plugins.Question) *plugins.Question {
	big := *q
	big.Allocations = nil
	for i := range hugeOwned {
		a := spec.AllocationView{}
		if len(q.Allocations) > 0 {
			a = q.Allocations[i%len(q.Allocations)]
		}
		a.Index, a.Generation = i, spec.Generation(i+1)
		if a.App == "" {
			a.App, a.State = q.Block.Name+"/app", spec.StateComplete
		}
		a.ID = spec.NewAllocationID(a.Slot, a.Generation)
		big.Allocations = append(big.Allocations, a)
	}
	return &big
}
