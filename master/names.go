package master

import (
	"fmt"
	"net/http"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
)

func notFound(what, name, remedy string) error {
	return &api.Error{Status: http.StatusNotFound, Message: fmt.Sprintf("there is no %s %q", what, name), Remedy: remedy}
}

// notFound is the same with the name that was most likely meant.
func (s *snapshot) notFound(what, name, remedy string) error {
	return nearest(what, name, s.names(), remedy)
}

// nearest says that there is no such thing, and which of those that there are was most likely meant.
func nearest(what, name string, names []string, remedy string) error {
	near := spec.Closest(name, names)
	if slot, err := spec.ParseSlot(name); err == nil && near == "" {
		if app := spec.Closest(string(slot.App), names); app != "" {
			near = spec.Slot{App: spec.AppName(app), Index: slot.Index}.String()
		}
	}
	if near != "" {
		remedy = fmt.Sprintf("did you mean %q? Otherwise %s", near, remedy)
	}
	return notFound(what, name, remedy)
}

// names are those of apps, runs and nodes.
func (s *snapshot) names() []string {
	names := make([]string, 0, len(s.apps)+len(s.nodes)+len(s.runs))
	for i := range s.apps {
		names = append(names, string(s.apps[i].App))
	}
	for i := range s.runs {
		names = append(names, string(s.runs[i].App))
		for k := range s.runs[i].Runs {
			names = append(names, string(s.runs[i].Runs[k].Name))
		}
	}
	return append(names, s.nodeNames()...)
}

func (s *snapshot) nodeNames() []string {
	names := make([]string, len(s.nodes))
	for i := range s.nodes {
		names[i] = string(s.nodes[i].ID)
	}
	return names
}

func (s *snapshot) appNames() []string {
	names := make([]string, len(s.apps))
	for i := range s.apps {
		names[i] = string(s.apps[i].App)
	}
	return names
}
