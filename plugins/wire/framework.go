package wire

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/stowage/stowage/plugins"
	"github.com/stowage/stowage/spec"
)

// EncodeQuestion writes a question for a framework driver.
func EncodeQuestion(q *plugins.Question) (*ExpandRequest, error) {
	r := &ExpandRequest{Versions: map[string][]byte{}}
	var err error
	if r.Block, err = json.Marshal(&q.Block); err != nil {
		return nil, fmt.Errorf("encode block: %w", err)
	}
	if r.Allocations, err = encodeAll(q.Allocations); err != nil {
		return nil, fmt.Errorf("encode allocation: %w", err)
	}
	for _, h := range slices.Sorted(maps.Keys(q.Versions)) {
		if r.Versions[string(h)], err = json.Marshal(q.Versions[h]); err != nil {
			return nil, fmt.Errorf("encode version: %w", err)
		}
	}
	for _, n := range q.Nodes {
		r.Nodes = append(r.Nodes, &Node{Id: string(n.ID), Address: n.Address})
	}
	return r, nil
}

// DecodeQuestion reads what EncodeQuestion wrote.
func DecodeQuestion(r *ExpandRequest) (*plugins.Question, error) {
	q := &plugins.Question{}
	if err := json.Unmarshal(r.GetBlock(), &q.Block); err != nil {
		return nil, fmt.Errorf("decode block: %w", err)
	}
	var err error
	if q.Allocations, err = decodeAll[spec.AllocationView](r.GetAllocations()); err != nil {
		return nil, fmt.Errorf("decode allocation: %w", err)
	}
	for _, h := range slices.Sorted(maps.Keys(r.GetVersions())) {
		app := &spec.App{}
		if err := json.Unmarshal(r.GetVersions()[h], app); err != nil {
			return nil, fmt.Errorf("decode version: %w", err)
		}
		if q.Versions == nil {
			q.Versions = map[spec.Hash]*spec.App{}
		}
		q.Versions[spec.Hash(h)] = app
	}
	for _, n := range r.GetNodes() {
		q.Nodes = append(q.Nodes, plugins.Node{ID: spec.NodeID(n.GetId()), Address: n.GetAddress()})
	}
	slices.SortFunc(q.Nodes, func(a, b plugins.Node) int { return cmp.Compare(a.ID, b.ID) })
	return q, nil
}

// EncodeAnswer writes a driver's answer.
func EncodeAnswer(a *plugins.Answer) (*ExpandResponse, error) {
	r := &ExpandResponse{}
	var err error
	if r.Apps, err = encodeAll(a.Apps); err != nil {
		return nil, fmt.Errorf("encode app: %w", err)
	}
	if r.Diagnostics, err = encodeAll(a.Diagnostics); err != nil {
		return nil, fmt.Errorf("encode diagnostic: %w", err)
	}
	for _, s := range a.Steps {
		r.Steps = append(r.Steps, &Step{Title: s.Title, Done: s.Done, Detail: s.Detail})
	}
	return r, nil
}

// DecodeAnswer reads what EncodeAnswer wrote. The answer is not checked yet.
func DecodeAnswer(r *ExpandResponse) (*plugins.Answer, error) {
	a := &plugins.Answer{}
	var err error
	if a.Apps, err = decodeAll[*spec.App](r.GetApps()); err != nil {
		return nil, fmt.Errorf("decode app: %w", err)
	}
	if a.Diagnostics, err = decodeAll[spec.Diagnostic](r.GetDiagnostics()); err != nil {
		return nil, fmt.Errorf("decode diagnostic: %w", err)
	}
	for _, s := range r.GetSteps() {
		a.Steps = append(a.Steps, spec.Step{Title: s.GetTitle(), Done: s.GetDone(), Detail: s.GetDetail()})
	}
	return a, nil
}

// EncodeSchema writes a schema.
func EncodeSchema(s spec.Schema) (*SchemaResponse, error) {
	b, err := json.Marshal(&s)
	if err != nil {
		return nil, fmt.Errorf("encode schema: %w", err)
	}
	return &SchemaResponse{Schema: b}, nil
}

// DecodeSchema reads what EncodeSchema wrote. The schema is not checked yet.
func DecodeSchema(r *SchemaResponse) (spec.Schema, error) {
	var s spec.Schema
	if err := json.Unmarshal(r.GetSchema(), &s); err != nil {
		return s, fmt.Errorf("decode schema: %w", err)
	}
	return s, nil
}

func encodeAll[T any](values []T) (out [][]byte, err error) {
	for i := range values {
		b, err := json.Marshal(&values[i])
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

func decodeAll[T any](in [][]byte) (out []T, err error) {
	for _, b := range in {
		var v T
		if err := json.Unmarshal(b, &v); err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}
