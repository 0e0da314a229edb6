package hcl

import (
	"fmt"
	"strconv"

	"github.com/stowage/stowage/spec"
)

// defaultWishWeight is the middle of what affinities and spreads may weigh.
const defaultWishWeight = 50

var appDefaults = func() spec.App {
	return spec.App{
		Kind: spec.KindService, Count: 1, Role: spec.DefaultRole, Priority: spec.DefaultPriority,
		Update: updateTable.fresh(), Restart: restartTable.fresh(), Reschedule: rescheduleTable.fresh(), Network: networkTable.fresh(),
	}
}

var appTable = &table[spec.App]{
	doc:      "A set of like allocations: count slots, each with the same tasks. Names nest with \"/\".",
	defaults: appDefaults,
	args: []argument[spec.App]{
		{name: "for_each", kind: "map or set of texts", doc: "Makes one app for each element, called NAME/KEY. each.key and each.value stand for the element"},
		arg("kind", oneOf(spec.KindService, spec.KindBatch, spec.KindSystem), func(a *spec.App) *spec.Kind { return &a.Kind },
			"service: runs until told to stop. batch: runs until its tasks exit with 0. system: a service with one allocation on every node that fits"),
		arg("count", whole(0, spec.MaxCount), func(a *spec.App) *int { return &a.Count }, "How many allocations; not for system. With scaling: how many at first, its min when not written"),
		arg("role", text[spec.RoleName](), func(a *spec.App) *spec.RoleName { return &a.Role }, "The party to fair sharing that pays for it"),
		arg("pool", text[spec.PoolName](), func(a *spec.App) *spec.PoolName { return &a.Pool }, fmt.Sprintf("The node pool it runs in; %q when not written. %q, for system apps: every pool", spec.DefaultPool, spec.AllPools)),
		arg("priority", whole(0, 100), func(a *spec.App) *int { return &a.Priority }, "Higher ones are placed first, and may displace others where the cluster allows preemption"),
		arg("gang", flag, func(a *spec.App) *bool { return &a.Gang },
			"All allocations that are missing get a place at once, or none does; a change replaces all of them together (strategy recreate when nothing is written)"),
		arg("pinned", flag, func(a *spec.App) *bool { return &a.Pinned }, "Rebalancing leaves its allocations where they are"),
		arg("depends_on", dependencies, func(a *spec.App) *[]spec.Dependency { return &a.DependsOn },
			fmt.Sprintf("Apps that must be healthy first: a list of names, or of { app = \"shop/db\", deadline = \"5m\", on_failure = \"continue\" }. After the deadline (%q when not written) this app has failed, or with on_failure = \"continue\" starts all the same. A batch app that depends on one with a schedule has runs too: one after each run of that, once it is complete, or with on_failure = \"continue\" once it has ended", spec.DefaultDependencyDeadline)),
		arg("schedule", schedule, func(a *spec.App) **spec.Schedule { return &a.Schedule },
			fmt.Sprintf("Of a batch app: its work is done once each time it is due, by a run. { cron = \"0 3 * * *\", timezone = \"Europe/Berlin\", overlap = \"forbid\", catch_up = \"1h\", deadline = \"2h\", enabled = true }. Without cron it runs when dispatched. overlap while a run is under way: forbid (with cron the default) skips the firing, allow (without) starts another, replace cancels it. A firing missed by at most catch_up (%q) is made up for, once. A run, with all that follow from it, has failed after deadline (%q)", spec.DefaultCatchUp, spec.DefaultRunDeadline)),
	},
	blocks: []nested[spec.App]{
		{name: "scaling", doc: "The count belongs, within bounds, to whoever scales the app.", table: scalingTable, decode: func(d *decoder, b *block, a *spec.App) {
			a.Scaling = &spec.Scaling{}
			scalingTable.decode(d, b, a.Scaling)
		}},
		one("network", func(a *spec.App) *spec.Network { return &a.Network }, networkTable, "The network of an allocation; its tasks share it."),
		policyBlock(func(a *spec.App, p spec.PolicyRef) { a.Policy = &p }, "Another policy than the pool's or the cluster's for this app."),
		several("constraint", "", constraintTable, func(_ *decoder, b *block, a *spec.App, c spec.Constraint) {
			c.Pos = position(b.TypeRange)
			a.Constraints = append(a.Constraints, c)
		}, "A rule that a node must meet."),
		several("affinity", "", affinityTable, func(_ *decoder, b *block, a *spec.App, c spec.Affinity) {
			c.Pos = position(b.TypeRange)
			a.Affinities = append(a.Affinities, c)
		}, "A wish: nodes that meet it are preferred."),
		several("spread", "", spreadTable, func(_ *decoder, b *block, a *spec.App, s spec.Spread) {
			s.Pos = position(b.TypeRange)
			a.Spreads = append(a.Spreads, s)
		}, "Allocations evenly over the values of an attribute; the first such block counts most."),
		one("update", func(a *spec.App) *spec.Update { return &a.Update }, updateTable, "How a change to what runs is rolled out."),
		one("restart", func(a *spec.App) *spec.Restart { return &a.Restart }, restartTable, "What happens on the node when a task exits."),
		one("reschedule", func(a *spec.App) *spec.Reschedule { return &a.Reschedule }, rescheduleTable, "What happens in the cluster when an allocation failed or its node is lost."),
		several("parameter", "name", parameterTable, addParameter, "A value that whoever dispatches a run gives it."),
		{name: "task", label: "name", many: true, doc: "One container. The tasks of an app share a node and a network.", table: taskTable, decode: decodeTask},
	},
	check: checkApp,
}

var (
	nodeOperators  = []spec.Operator{spec.OpEqual, spec.OpNotEqual, spec.OpLess, spec.OpLessEqual, spec.OpGreater, spec.OpGreaterEqual, spec.OpIn, spec.OpNotIn, spec.OpRegexp, spec.OpNotRegexp, spec.OpSet, spec.OpUnset}
	ownOperators   = []spec.Operator{spec.OpDistinct, spec.OpMaxPer, spec.OpGroupBy, spec.OpSame} // over the app's own allocations
	groupOperators = append(ownOperators[:len(ownOperators):len(ownOperators)], spec.OpNear, spec.OpApart)
)

var scalingTable = &table[spec.Scaling]{
	doc: "The count belongs, within bounds, to whoever scales the app: a person or a program, by stowage scale or the API. A commit moves the bounds and leaves a count within them alone.",
	args: []argument[spec.Scaling]{
		arg("min", whole(0, spec.MaxCount), func(s *spec.Scaling) *int { return &s.Min }, "The least count").must(),
		arg("max", whole(1, spec.MaxCount), func(s *spec.Scaling) *int { return &s.Max }, "The greatest count").must(),
	},
}

var constraintTable = &table[spec.Constraint]{
	doc:      "A rule that a node must meet.",
	defaults: func() spec.Constraint { return spec.Constraint{Operator: spec.OpEqual} },
	args: []argument[spec.Constraint]{
		arg("attribute", text[string](), func(c *spec.Constraint) *string { return &c.Attribute }, "What of the node is looked at, such as kernel.version. With app: what is shared or not, node.id when not written"),
		arg("app", text[spec.AppName](), func(c *spec.Constraint) *spec.AppName { return &c.App }, "Another app, for near and apart"),
		arg("operator", oneOf(append(nodeOperators[:len(nodeOperators):len(nodeOperators)], groupOperators...)...), func(c *spec.Constraint) *spec.Operator { return &c.Operator },
			"How it is compared. distinct, max_per, group_by and same look at the allocations of this app together; near and apart at those of another app"),
		ruleValue(func(c *spec.Constraint) (*string, *[]string) { return &c.Value, &c.Values }),
	},
	check: func(d *decoder, b *block, c *spec.Constraint) {
		if b.has("app") || c.Operator == spec.OpNear || c.Operator == spec.OpApart {
			d.checkBeside(b, c)
			return
		}
		if !b.has("attribute") {
			d.at(b.place(), b.env.context, "Missing argument", "A constraint needs the argument attribute: what of the node is looked at, such as kernel.version.")
		}
		d.checkRule(b, c.Attribute, c.Operator, c.Value, c.Values)
		if c.Operator == spec.OpMaxPer || c.Operator == spec.OpGroupBy {
			c.Number, c.Value = d.ruleNumber(b, c.Operator, c.Value), ""
		}
	},
}

var affinityTable = &table[spec.Affinity]{
	doc: "A wish: nodes that meet it are preferred. It names an attribute, or another app to be near (or, with a negative weight, apart from).",
	args: []argument[spec.Affinity]{
		arg("attribute", text[string](), func(c *spec.Affinity) *string { return &c.Attribute }, "What of the node is looked at, such as disk.type. With app: what is shared, node.id when not written"),
		arg("operator", oneOf(nodeOperators...), func(c *spec.Affinity) *spec.Operator { return &c.Operator }, "How it is compared; \"=\" when not written"),
		ruleValue(func(c *spec.Affinity) (*string, *[]string) { return &c.Value, &c.Values }),
		arg("app", text[spec.AppName](), func(c *spec.Affinity) *spec.AppName { return &c.App }, "The app whose allocations to be near"),
		arg("weight", whole(-100, 100), func(c *spec.Affinity) *int { return &c.Weight }, "How strong the wish is"),
	},
	defaults: func() spec.Affinity { return spec.Affinity{Weight: defaultWishWeight} },
	check:    checkAffinity,
}

var spreadTable = &table[spec.Spread]{
	doc:      "Allocations evenly over the values of an attribute, or in the proportions of its targets.",
	defaults: func() spec.Spread { return spec.Spread{Weight: defaultWishWeight} },
	args: []argument[spec.Spread]{
		arg("attribute", text[string](), func(s *spec.Spread) *string { return &s.Attribute }, "The attribute, such as zone").must(),
		arg("weight", whole(1, 100), func(s *spec.Spread) *int { return &s.Weight }, "How strong the wish is"),
	},
	blocks: []nested[spec.Spread]{
		several("target", "value", targetTable, func(d *decoder, b *block, s *spec.Spread, percent int) {
			if _, twice := s.Targets[b.label(0)]; twice {
				d.at(b.place(), b.env.context, "Duplicate target", fmt.Sprintf("There is a target %q already. Merge the two.", shorten(b.label(0), 60)))
			}
			if s.Targets == nil {
				s.Targets = map[string]int{}
			}
			s.Targets[b.label(0)] = percent
		}, "How much of the app goes where the attribute has this value."),
	},
	check: func(d *decoder, b *block, s *spec.Spread) {
		total := 0
		for _, v := range sortedKeys(s.Targets) {
			total += s.Targets[v]
		}
		if total > 100 {
			d.at(b.place(), b.env.context, "Targets over 100 percent", fmt.Sprintf("The targets of this spread add up to %d percent. Make them 100 or less; what is missing goes to the other values.", total))
		}
	},
}

var targetTable = &table[int]{
	doc: "How much of the app goes where the attribute has this value.",
	args: []argument[int]{
		arg("percent", whole(0, 100), func(p *int) *int { return p }, "The part of the app's count").must(),
	},
}

var updateTable = &table[spec.Update]{
	doc: "How a change to what runs is rolled out.",
	defaults: func() spec.Update {
		return spec.Update{
			Strategy: spec.StrategyRolling, MaxParallel: spec.DefaultMaxParallel, HealthyFor: spec.DefaultHealthyFor,
			Deadline: spec.DefaultUpdateDeadline, AutoPromote: true, AutoRevert: true,
		}
	},
	args: []argument[spec.Update]{
		arg("strategy", oneOf(spec.StrategyRolling, spec.StrategyCanary, spec.StrategyBlueGreen, spec.StrategyRecreate), func(u *spec.Update) *spec.Strategy { return &u.Strategy },
			"rolling: max_parallel at a time. canary: a few extra first, promotion replaces the rest. blue_green: as many new as old, promotion stops the old. recreate: all at once"),
		arg("max_parallel", whole(1, spec.MaxCount), func(u *spec.Update) *int { return &u.MaxParallel }, "How many are replaced at a time; each must be healthy before the next"),
		arg("canary", whole(0, spec.MaxCount), func(u *spec.Update) *int { return &u.Canary }, "How many extra ones come first; 1 with strategy canary when not written"),
		arg("healthy_for", duration, func(u *spec.Update) *spec.Duration { return &u.HealthyFor }, "A rollout goes on once an allocation has been healthy for so long without a break: it is settled then"),
		arg("deadline", duration, func(u *spec.Update) *spec.Duration { return &u.Deadline }, "Without progress for this long the rollout has failed"),
		arg("auto_promote", flag, func(u *spec.Update) *bool { return &u.AutoPromote }, "Healthy canaries are promoted without asking"),
		arg("auto_revert", flag, func(u *spec.Update) *bool { return &u.AutoRevert }, "A failed rollout goes back by itself"),
		arg("min_healthy", part, func(u *spec.Update) *spec.Milli { return &u.MinHealthy }, "The part of count that stays healthy throughout, such as \"50%\""),
		arg("surge", part, func(u *spec.Update) *spec.Milli { return &u.Surge }, "The part of count that may be started on top, such as \"25%\""),
		arg("windows", windowNames, func(u *spec.Update) *[]spec.WindowName { return &u.Windows },
			"The windows that a change which replaces what works waits for, any of them; [] for none. Without it: those of the cluster's disruption block"),
	},
	check: func(d *decoder, b *block, u *spec.Update) {
		checkWindows(d, b, u.Windows)
		if u.Strategy == spec.StrategyCanary && u.Canary == 0 && b.sound("canary") {
			if b.has("canary") {
				d.at(b.placeOf("canary"), b.env.context, "Wrong value for canary", "The strategy canary needs at least one canary. Write canary = 1, or take another strategy.")
			}
			u.Canary = 1
		}
		if u.Canary > 0 && u.Strategy != spec.StrategyCanary && b.sound("strategy", "canary") {
			d.at(b.placeOf("canary"), b.env.context, "Argument without effect", fmt.Sprintf("Canaries come with the strategy canary, and this one is %s. Write strategy = \"canary\", or remove canary.", u.Strategy))
		}
		if u.Deadline <= u.HealthyFor && b.sound("deadline", "healthy_for") {
			d.at(b.placeOf("deadline"), b.env.context, "Wrong value for deadline", fmt.Sprintf("The deadline of %s is over before an allocation can have been healthy for %s. Make it longer than healthy_for.", u.Deadline, u.HealthyFor))
		}
	},
}

var restartTable = &table[spec.Restart]{
	doc: "What happens on the node when a task exits.",
	defaults: func() spec.Restart {
		return spec.Restart{Attempts: spec.DefaultRestartAttempts, Interval: spec.DefaultRestartInterval, Delay: spec.DefaultRestartDelay, MaxDelay: spec.DefaultRestartMaxDelay}
	},
	args: []argument[spec.Restart]{
		arg("attempts", whole(-1, 1_000_000), func(r *spec.Restart) *int { return &r.Attempts }, "Restarts within interval before the allocation has failed and is placed elsewhere; -1: no limit"),
		arg("interval", duration, func(r *spec.Restart) *spec.Duration { return &r.Interval }, "The window in which restarts are counted"),
		arg("delay", duration, func(r *spec.Restart) *spec.Duration { return &r.Delay }, "Before the first restart; it grows by half each time"),
		arg("max_delay", duration, func(r *spec.Restart) *spec.Duration { return &r.MaxDelay }, "The longest delay"),
		{name: "mode", kind: "text", values: []string{string(spec.RestartFail), string(spec.RestartDelay)},
			doc:  "When the attempts are used up. fail: the allocation has failed. delay: the task waits until interval allows the next restart",
			set:  setRestartMode,
			show: func(*spec.Restart) string { return strconv.Quote(string(spec.RestartFail)) }},
	},
	check: checkRestart,
}

var rescheduleTable = &table[spec.Reschedule]{
	doc: "What happens in the cluster when an allocation failed or its node is lost.",
	defaults: func() spec.Reschedule {
		return spec.Reschedule{After: spec.DefaultRescheduleAfter, Delay: spec.DefaultRescheduleDelay, MaxDelay: spec.DefaultRescheduleMaxDelay}
	},
	args: []argument[spec.Reschedule]{
		arg("after", duration, func(r *spec.Reschedule) *spec.Duration { return &r.After }, "Silence of a node after which its allocations are replaced"),
		arg("delay", duration, func(r *spec.Reschedule) *spec.Duration { return &r.Delay }, "Before a failed allocation is placed again; it doubles each time"),
		arg("max_delay", duration, func(r *spec.Reschedule) *spec.Duration { return &r.MaxDelay }, "The longest delay"),
		arg("max_attempts", whole(1, 1000), func(r *spec.Reschedule) *int { return &r.MaxAttempts },
			fmt.Sprintf("Of an app with runs: how often a slot is placed before its run has failed; %d when not written", spec.DefaultMaxAttempts)),
	},
	check: func(d *decoder, b *block, r *spec.Reschedule) { d.checkDelays(b, r.Delay, r.MaxDelay) },
}

var networkTable = &table[spec.Network]{
	doc:      "The network of an allocation; its tasks share it.",
	defaults: func() spec.Network { return spec.Network{Mode: spec.NetworkHost} },
	args: []argument[spec.Network]{
		arg("mode", networkMode, func(n *spec.Network) *spec.NetworkMode { return &n.Mode }, "host: the node's own network. none: nothing but loopback"),
	},
	blocks: []nested[spec.Network]{
		several("port", "name", portTable, addPort, "A port of the node. port.NAME stands for its number in command, env, dir and check."),
	},
	check: checkNetwork,
}

var portTable = &table[port]{
	doc:      "A port of the node.",
	defaults: func() port { return port{PortSpec: spec.PortSpec{Protocol: spec.TCP}} },
	args: []argument[port]{
		arg("static", whole(1, 65535), func(p *port) *int { return &p.Static }, fmt.Sprintf("This very port; without it a free one from %d to %d", spec.DynamicPortFirst, spec.DynamicPortLast)),
		arg("protocol", oneOf(spec.TCP, spec.UDP), func(p *port) *spec.Protocol { return &p.Protocol }, "The transport"),
		arg("to", whole(1, 65535), func(p *port) *int { return &p.to }, "Not in this version: the port inside an allocation with a network of its own"),
	},
	check: func(d *decoder, b *block, p *port) {
		if p.to != 0 {
			d.at(b.placeOf("to"), b.env.context, "Argument without effect", fmt.Sprintf("In the network mode host a task sees the node's ports, so there is nothing to map to. Remove this and listen on port.%s, or write static = %d.", b.label(0), p.to))
		}
	},
}

// port is a spec.PortSpec and what this version does not offer yet.
type port struct {
	spec.PortSpec
	to int
}
