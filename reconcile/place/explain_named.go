package place

import (
	"fmt"
	"slices"

	"github.com/stowage/stowage/spec"
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
)

// nearDevices is how close the nearest node is to having enough free.
type nearDevices struct {
	node        int
	taken, have int
	lacks       int
}

// byName tells which ports, devices and cores the node lacks, and returns how many reasons about devices that were.
func (e *explanation) byName(i int) int {
	f, m := e.fleet, e.request.Match
	if ports := m.App.Network.Ports; len(ports) > 0 {
		if room, static := f.portRoom(i, ports, e.request.Wait, 1); room == 0 {
			if static != nil {
				e.fail(i, rulePort+portName(*static)+" is taken")
			} else {
				e.fail(i, rulePorts)
			}
		}
	}
	if m.cores > 0 {
		if have, open := f.countCores(i), len(f.openCores(i, e.request)); have < m.cores {
			e.fail(i, ruleCoresNone)
		} else if open < m.cores {
			e.failNear(i, ruleCoresTaken, nearDevices{i, have - open, have, m.cores - open})
		}
	}
	before := e.failed
	if len(m.asks) > 0 {
		e.devices(i)
	}
	return e.failed - before
}

// devices tells for each ask what is in the way: nothing of the kind, a constraint, or others who have them.
func (e *explanation) devices(i int) {
	f, m := e.fleet, e.request.Match
	have, before := f.devicesOf(i), e.failed
	for k := range m.asks {
		a := &m.asks[k]
		kind, fit, open := 0, 0, 0
		for d := range have {
			if have[d].Kind != a.kind {
				continue
			}
			kind++
			if a.fits(&have[d]) {
				fit++
				if f.rank(i, firstDevice+held(d), e.request) >= 0 {
					open++
				}
			}
		}
		switch {
		case kind < a.count:
			e.fail(i, fmt.Sprintf(ruleDeviceNone, a.kind))
		case fit < a.count:
			e.deviceRules(i, a, have)
		case open < a.count:
			e.failNear(i, fmt.Sprintf(ruleDeviceTaken, a.kind), nearDevices{i, fit - open, fit, a.count - open})
		}
	}
	if e.failed == before && f.deviceRoom(i, e.request, 1) == 0 {
		e.fail(i, ruleDeviceShared)
	}
}

// deviceRules names the constraints that too few of the kind meet.
func (e *explanation) deviceRules(i int, a *ask, have []spec.Device) {
	before := e.failed
	for r := range a.rules {
		n := 0
		for d := range have {
			if have[d].Kind == a.kind && a.rules[r].accepts(&have[d]) {
				n++
			}
		}
		if n < a.count {
			e.fail(i, fmt.Sprintf(ruleDeviceRule, a.kind, a.rules[r].text))
		}
	}
	if e.failed == before {
		e.fail(i, fmt.Sprintf(ruleDeviceRules, a.kind))
	}
}

// failNear is fail for a rule of which the nearest node is told.
func (e *explanation) failNear(i int, rule string, n nearDevices) {
	e.fail(i, rule)
	if best, ok := e.nearest[rule]; ok && best.lacks <= n.lacks || e.fleet.states[i] != spec.NodeReady {
		return
	}
	if e.nearest == nil {
		e.nearest = map[string]nearDevices{}
	}
	e.nearest[rule] = n
}

// tellNearest adds to the reasons how close the nearest node is.
func (e *explanation) tellNearest() {
	for k := range e.reasons {
		if n, ok := e.nearest[e.reasons[k].Rule]; ok {
			e.reasons[k].Detail = fmt.Sprintf("%d of %d are taken on %s", n.taken, n.have, e.fleet.ids[n.node])
		}
	}
}

// asksFor reports whether the app asks for devices of the kind.
func (m *Matcher) asksFor(kind string) bool {
	return slices.ContainsFunc(m.asks, func(a ask) bool { return a.kind == kind })
}
