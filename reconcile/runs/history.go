package runs

import (
	"cmp"
	"slices"

	"github.com/stowage/stowage/spec"
)

// forget drops the oldest ended runs of each app beyond what is kept. One that still has allocations stays, and so does
// one that a run under way may ask for. What ended only now is told before it is forgotten: it goes the next time.
func (m *machine) forget() {
	active := map[spec.AppName]bool{} // keys of roots under way
	for i := range m.runs {
		if r := &m.runs[i]; !r.State.Ended() {
			active[spec.RunName(r.Root, r.Key)] = true
		}
	}
	news := make(map[spec.AppName]bool, len(m.out.Change.Put))
	for i := range m.out.Change.Put {
		news[m.out.Change.Put[i].Name] = true
	}
	for i := 0; i < len(m.runs); {
		j := i
		for j < len(m.runs) && m.runs[j].App == m.runs[i].App {
			j++
		}
		m.forgetOf(m.runs[i:j], active, news)
		i = j
	}
	slices.Sort(m.out.Change.Drop)
}

func (m *machine) forgetOf(list []spec.Run, active, news map[spec.AppName]bool) {
	var ended []*spec.Run
	for i := range list {
		if list[i].State.Ended() {
			ended = append(ended, &list[i])
		}
	}
	if len(ended) <= min(spec.KeepComplete, spec.KeepFailed, spec.KeepOthers) {
		return
	}
	slices.SortFunc(ended, func(a, b *spec.Run) int {
		return cmp.Or(cmp.Compare(b.Ended, a.Ended), cmp.Compare(b.Name, a.Name)) // the newest first
	})
	complete, failed, others := 0, 0, 0
	for _, r := range ended {
		n, keep := &others, spec.KeepOthers
		switch r.State {
		case spec.RunComplete:
			n, keep = &complete, spec.KeepComplete
		case spec.RunFailed:
			n, keep = &failed, spec.KeepFailed
		}
		*n++
		if *n > keep && !news[r.Name] && !active[spec.RunName(r.Root, r.Key)] && m.progress(r).Live == 0 {
			m.out.Change.Drop = append(m.out.Change.Drop, r.Name)
		}
	}
}
