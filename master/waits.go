package master

import (
	"cmp"
	"slices"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
)

// maxWaiting is how many apps are named of those that wait for one window.
const maxWaiting = 10

// waits lists the windows that changes and drains wait for, by when they open.
func (s *snapshot) waits() (list []api.WindowWaits) {
	find := func(w *spec.WindowWait) *api.WindowWaits {
		for i := range list {
			if list[i].WindowWait == *w {
				return &list[i]
			}
		}
		list = append(list, api.WindowWaits{WindowWait: *w})
		return &list[len(list)-1]
	}
	for i := range s.apps {
		if w := s.apps[i].Waits; w != nil {
			if v := find(w); len(v.Apps) < maxWaiting {
				v.Apps = append(v.Apps, s.apps[i].App)
			} else {
				v.More++
			}
		}
	}
	for i := range s.drains {
		if w := s.drains[i].Wait; w != nil {
			v := find(w)
			v.Nodes = append(v.Nodes, s.drains[i].Node)
		}
	}
	slices.SortStableFunc(list, func(a, b api.WindowWaits) int {
		return cmp.Or(cmp.Compare(a.Opens, b.Opens), cmp.Compare(a.Window, b.Window))
	})
	return list
}
