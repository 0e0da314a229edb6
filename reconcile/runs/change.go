package runs

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// Apply returns the records as they are once the change has been recorded. The lists given are not changed.
func (c *Change) Apply(all []spec.Run, agendas []spec.Agenda) ([]spec.Run, []spec.Agenda) {
	all = slices.DeleteFunc(slices.Clone(all), func(r spec.Run) bool { return slices.Contains(c.Drop, r.Name) })
	for _, r := range c.Put {
		all = Put(all, r)
	}
	agendas = slices.DeleteFunc(slices.Clone(agendas), func(a spec.Agenda) bool { return slices.Contains(c.Gone, a.App) })
	for _, a := range c.Agendas {
		i, found := slices.BinarySearchFunc(agendas, a.App, func(o spec.Agenda, n spec.AppName) int { return compareNames(o.App, n) })
		if found {
			agendas[i] = a
		} else {
			agendas = slices.Insert(agendas, i, a)
		}
	}
	return all, agendas
}

// Put sets a record in a sorted list that the caller owns.
func Put(all []spec.Run, r spec.Run) []spec.Run {
	i, found := slices.BinarySearchFunc(all, r, spec.CompareRuns)
	if found {
		all[i] = r
		return all
	}
	return slices.Insert(all, i, r)
}

// Find returns a record of a sorted list, or nil.
func Find(all []spec.Run, name spec.AppName) *spec.Run {
	i, ok := slices.BinarySearchFunc(all, name, func(r spec.Run, n spec.AppName) int { return compareNames(r.Name, n) })
	if !ok {
		return nil
	}
	return &all[i]
}
