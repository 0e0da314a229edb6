package place

import (
	"fmt"
	"slices"
)

// The rules about devices and cores, as reasons name them.
const (
	ruleDeviceNone   = "device %s: the node has too few"   // of the kind
	ruleDeviceRule   = "device %s: %s"                     // the constraint that too few meet
	ruleDeviceRules  = "device %s: too few meet all rules" // each rule alone would leave enough
	ruleDeviceTaken  = "device %s: too few are free"       // of those that meet the rules
	ruleDeviceShared = "devices: the tasks want the same"  // each ask alone would be met
	ruleCoresNone    = "cores: the node has too few to give"
	ruleCoresTaken   = "cores: too few are free"
	detailTaken      = "%d of %d are taken on %s"
)

func (f *Fleet) coreRules(r *Request) []Rule {
	want := r.Match.cores
	if want == 0 {
		return nil
	}
	open := func(node int) int { return len(f.openCores(node, r)) }
	return []Rule{
		{Name: ruleCoresNone, Fails: func(i int) bool { return f.countCores(i) < want }},
		{
			Name: ruleCoresTaken, Need: int64(want),
			Lacks: func(i int) int64 {
				if f.countCores(i) < want {
					return 0
				}
				return int64(want - open(i))
			},
			Detail: func(i int) string {
				have := f.countCores(i)
				return fmt.Sprintf(detailTaken, have-open(i), have, f.ids[i])
			},
		},
	}
}

// stock is what a node has of the devices that are asked for.
type stock struct{ kind, fit, open int }

func (f *Fleet) stock(node int, a *ask, r *Request) stock {
	var s stock
	have := f.devicesOf(node)
	for d := range have {
		if have[d].Kind != a.kind {
			continue
		}
		s.kind++
		if a.fits(&have[d]) {
			s.fit++
			if f.rank(node, firstDevice+held(d), r) >= 0 {
				s.open++
			}
		}
	}
	return s
}

// deviceRules tell for each ask what is in the way: nothing of the kind, a constraint, or others who have them.
func (f *Fleet) deviceRules(r *Request) []Rule {
	var all []Rule
	for k := range r.Match.asks {
		a := &r.Match.asks[k]
		all = append(all, Rule{Name: fmt.Sprintf(ruleDeviceNone, a.kind), Fails: func(i int) bool { return f.stock(i, a, r).kind < a.count }})
		for d := range a.rules {
			all = append(all, Rule{Name: fmt.Sprintf(ruleDeviceRule, a.kind, a.rules[d].text), Fails: func(i int) bool {
				s := f.stock(i, a, r)
				return s.kind >= a.count && s.fit < a.count && f.meeting(i, a, d) < a.count
			}})
		}
		all = append(all, Rule{Name: fmt.Sprintf(ruleDeviceRules, a.kind), Fails: func(i int) bool {
			s := f.stock(i, a, r)
			each := true
			for d := range a.rules {
				each = each && f.meeting(i, a, d) >= a.count
			}
			return s.kind >= a.count && s.fit < a.count && each
		}})
		all = append(all, Rule{
			Name: fmt.Sprintf(ruleDeviceTaken, a.kind), Need: int64(a.count),
			Lacks: func(i int) int64 {
				s := f.stock(i, a, r)
				if s.fit < a.count {
					return 0
				}
				return int64(a.count - s.open)
			},
			Detail: func(i int) string {
				s := f.stock(i, a, r)
				return fmt.Sprintf(detailTaken, s.fit-s.open, s.fit, f.ids[i])
			},
		})
	}
	if len(all) > 0 {
		each := slices.Clone(all)
		all = append(all, Rule{Name: ruleDeviceShared, Fails: func(i int) bool {
			return !slices.ContainsFunc(each, func(o Rule) bool { fails, _ := o.fails(i); return fails }) && f.deviceRoom(i, r, 1) == 0
		}})
	}
	return all
}

// meeting counts the devices of the kind that meet one of the rules.
func (f *Fleet) meeting(node int, a *ask, rule int) int {
	n := 0
	have := f.devicesOf(node)
	for d := range have {
		if have[d].Kind == a.kind && a.rules[rule].accepts(&have[d]) {
			n++
		}
	}
	return n
}

// asksFor reports whether the app asks for devices of the kind.
func (m *Matcher) asksFor(kind string) bool {
	return slices.ContainsFunc(m.asks, func(a ask) bool { return a.kind == kind })
}
