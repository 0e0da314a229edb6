package hcl

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/stowage/stowage/spec"
)

var clusterTable = &table[spec.Cluster]{
	doc: "What holds for the whole cluster. A repository has exactly one.",
	defaults: func() spec.Cluster {
		return spec.Cluster{
			Sync:       syncTable.fresh(),
			Policy:     spec.PolicyRef{Name: spec.DefaultPolicy},
			Disruption: disruptionTable.fresh(),
		}
	},
	args: []argument[spec.Cluster]{
		arg("preemption", flag, func(c *spec.Cluster) *bool { return &c.Preemption },
			fmt.Sprintf("Apps of a higher priority (by at least %d) may displace others when there is no room", spec.PreemptionGap)),
		arg("currency", currency, func(c *spec.Cluster) *string { return &c.Currency }, "What prices of node classes are in, such as EUR. Without it they are told as numbers alone"),
		arg("failure_domains", domains, func(c *spec.Cluster) *[]string { return &c.FailureDomains },
			fmt.Sprintf("Attributes of nodes, at most %d: all nodes with one value may fail together, and every plan says what that would do. Without it: those that apps spread over or group by", spec.MaxFailureDomains)),
	},
	blocks: []nested[spec.Cluster]{
		one("sync", func(c *spec.Cluster) *spec.Sync { return &c.Sync }, syncTable, "How commits take effect."),
		policyBlock(func(c *spec.Cluster, p spec.PolicyRef) { c.Policy = p }, fmt.Sprintf("How nodes are chosen: built in are binpack and spread, others are plugins of kind policy. Without it: %s.", spec.DefaultPolicy)),
		one("overcommit", func(c *spec.Cluster) *spec.Overcommit { return &c.Overcommit }, overcommitTable, "How much more tasks may use than their nodes have, if all of them burst at once. Without it there is no limit."),
		{name: "rebalance", doc: "The cluster moves allocations by itself to where they are better placed. Without it, only when an operator asks: stowage rebalance.", table: rebalanceTable,
			decode: func(d *decoder, b *block, c *spec.Cluster) {
				r := rebalanceTable.fresh()
				rebalanceTable.decode(d, b, &r)
				c.Rebalance = &r
			}},
		one("disruption", func(c *spec.Cluster) *spec.Disruption { return &c.Disruption }, disruptionTable, "One budget for rollouts, drains, preemption and rebalancing together."),
	},
}

// currency is a short word.
var currency = kind[string]{
	name: "currency such as EUR",
	read: func(v cty.Value) (string, error) {
		if v.Type() != cty.String || !currencyForm.MatchString(v.AsString()) {
			return "", mustBe(`a currency of at most eight letters or signs such as "EUR"`, v)
		}
		return v.AsString(), nil
	},
	show: func(s string) string { return s },
}

var currencyForm = regexp.MustCompile(`^[\p{L}\p{Sc}]{1,8}$`)

var overcommitTable = &table[spec.Overcommit]{
	doc: "How much more tasks may use than their nodes have, if all of them burst at once.",
	args: []argument[spec.Overcommit]{
		arg("memory", beyond, func(o *spec.Overcommit) *int { return &o.Memory }, "The part of a node's memory that the memory_max of its tasks may add up to; a task without memory_max counts with its memory"),
	},
}

// maxOvercommit is the largest limit that can be written, in percent: beyond it there might as well be none.
const maxOvercommit = 900

// beyond is a percentage of at least all.
var beyond = kind[int]{
	name: `percentage such as "150%"`,
	read: func(v cty.Value) (int, error) {
		p, ok := wholePercent(v)
		if !ok || p < 100 || p > maxOvercommit {
			return 0, mustBe(fmt.Sprintf(`a percentage from "100%%" to "%d%%"`, maxOvercommit), v)
		}
		return p, nil
	},
	show: func(p int) string {
		if p == 0 {
			return ""
		}
		return fmt.Sprintf("\"%d%%\"", p)
	},
}

// domains are attributes of nodes that many nodes can share.
var domains = kind[[]string]{
	name: "list of texts",
	read: func(v cty.Value) ([]string, error) {
		names, err := texts.read(v)
		if err != nil {
			return nil, err
		}
		if len(names) > spec.MaxFailureDomains {
			return nil, wrong(fmt.Sprintf("must have at most %d attributes, but here are %d. Name those that fail as one", spec.MaxFailureDomains, len(names)))
		}
		for i, n := range names {
			switch {
			case n == "":
				return nil, wrong("must have names of attributes, but here is an empty one")
			case n == spec.AttributeID:
				return nil, wrong(fmt.Sprintf("must have attributes that nodes share. Remove %q: the loss of each single node is looked at anyway", n))
			case slices.Contains(names[:i], n):
				return nil, wrong(fmt.Sprintf("must have each attribute once. Remove the second %q", shorten(n, 60)))
			}
		}
		return names, nil
	},
	show: texts.show,
}

var syncTable = &table[spec.Sync]{
	doc: "How commits take effect.",
	defaults: func() spec.Sync {
		return spec.Sync{Approval: spec.ApprovalAuto, Prune: true, MaxPrune: spec.Percent{Value: spec.DefaultMaxPrune}}
	},
	args: []argument[spec.Sync]{
		arg("approval", oneOf(spec.ApprovalAuto, spec.ApprovalManual), func(s *spec.Sync) *spec.Approval { return &s.Approval },
			"auto: every good commit is applied. manual: a commit becomes a plan that waits for stowage apply"),
		arg("prune", flag, func(s *spec.Sync) *bool { return &s.Prune }, "Apps that left the repository are stopped"),
		arg("max_prune", percent, func(s *spec.Sync) *spec.Percent { return &s.MaxPrune }, "More apps than this going at once wait for approval"),
		{name: "signed_by", kind: "list", doc: "Not in this version: following only commits that are signed by certain keys", set: notYetSigned},
	},
}

// insideRepository reports whether a path stays below the repository's root.
func insideRepository(p string) bool {
	c := path.Clean(p)
	return p != "" && !path.IsAbs(c) && c != ".." && !strings.HasPrefix(c, "../")
}

func notYetSigned(*spec.Sync, cty.Value) error {
	return wrong("is not in this version: signatures of commits are not verified yet. Remove it, and protect the branch where it is pushed to")
}

var disruptionTable = &table[spec.Disruption]{
	doc: "One budget for rollouts, drains, preemption and rebalancing together.",
	defaults: func() spec.Disruption {
		return spec.Disruption{MaxUnavailable: spec.Percent{Value: spec.DefaultMaxUnavailable}}
	},
	args: []argument[spec.Disruption]{
		arg("max_unavailable", percent, func(s *spec.Disruption) *spec.Percent { return &s.MaxUnavailable }, "How much of an app's count may be missing at a time, failures included"),
		maybe("max_total", percent, func(s *spec.Disruption) **spec.Percent { return &s.MaxTotal }, "How many slots of the whole cluster may be missing before nothing more is taken from its work. Without it: each app's budget alone"),
		arg("windows", windowNames, func(s *spec.Disruption) *[]spec.WindowName { return &s.Windows }, "The windows that apps keep to which name none in their update block. Without it: changes are made at any time"),
	},
	check: func(d *decoder, b *block, s *spec.Disruption) { checkWindows(d, b, s.Windows) },
}

var rebalanceTable = &table[spec.Rebalance]{
	doc: "The cluster moves allocations by itself to where they are better placed, replacement first.",
	defaults: func() spec.Rebalance {
		return spec.Rebalance{Every: spec.DefaultRebalanceEvery, MinGain: spec.DefaultMinGain, MaxMoves: spec.DefaultRebalanceMoves, Parallel: spec.DefaultRebalanceParallel}
	},
	args: []argument[spec.Rebalance]{
		arg("windows", windowNames, func(r *spec.Rebalance) *[]spec.WindowName { return &r.Windows }, "The windows in which moves begin, any of them. Without it: at any time"),
		arg("every", duration, func(r *spec.Rebalance) *spec.Duration { return &r.Every }, "The time between two looks, unless an app's own window opens before; what was placed less long ago stays where it is"),
		arg("min_gain", gainKind, func(r *spec.Rebalance) *spec.Milli { return &r.MinGain }, "What a gain has to be worth for each of its moves: 8 for a rule that no longer holds or a slot without a place, 10 divided by the moves for a node, 2 for evenness"),
		arg("max_moves", whole(1, spec.MaxRebalanceMoves), func(r *spec.Rebalance) *int { return &r.MaxMoves }, "How many moves one look may begin"),
		arg("parallel", whole(1, spec.MaxRebalanceMoves), func(r *spec.Rebalance) *int { return &r.Parallel }, "How many are on their way at a time; of an app no more than its max_parallel"),
	},
	check: func(d *decoder, b *block, r *spec.Rebalance) {
		checkWindows(d, b, r.Windows)
		if r.Every < spec.MinRebalanceEvery && b.sound("every") {
			d.at(b.placeOf("every"), b.env.context, "Wrong value for every", fmt.Sprintf("Moves need time to show what they are good for: every is at least %s, but here it is %s.", spec.Duration(spec.MinRebalanceEvery), r.Every))
		}
	},
}

// gainKind is how many moves a move has to be worth.
var gainKind = kind[spec.Milli]{
	name: "number from 1 to 10",
	read: func(v cty.Value) (spec.Milli, error) {
		m, ok := milli(v)
		if !ok || m < 1000 || m > 10_000 {
			return 0, mustBe("a number from 1 to 10", v)
		}
		return m, nil
	},
	show: spec.Milli.String,
}

// policyTable takes settings of any name: what they mean is the policy's affair.
var policyTable = &table[spec.PolicyRef]{
	doc: "How nodes are chosen.",
	others: &open[spec.PolicyRef]{
		doc: "settings of the policy: texts, numbers, true or false",
		set: func(p *spec.PolicyRef, name string, v cty.Value) error {
			s, ok := asText(v)
			if !ok {
				return mustBe("a text, a number, true or false", v)
			}
			if p.Config == nil {
				p.Config = map[string]string{}
			}
			p.Config[name] = s
			return nil
		},
	},
}

func policyBlock[T any](set func(*T, spec.PolicyRef), doc string) nested[T] {
	return nested[T]{name: "policy", label: "name", doc: doc, table: policyTable, decode: func(d *decoder, b *block, into *T) {
		p := spec.PolicyRef{Name: b.label(0)}
		policyTable.decode(d, b, &p)
		d.checkPolicy(b, p)
		set(into, p)
	}}
}

var poolTable = &table[spec.Pool]{
	doc: fmt.Sprintf("A part of the nodes, kept for the apps that name it. An agent says with --pool which one its node is in; without, it is in the pool %q, which needs no block.", spec.DefaultPool),
	args: []argument[spec.Pool]{
		arg("description", text[string](), func(p *spec.Pool) *string { return &p.Description }, "What it is for"),
	},
	blocks: []nested[spec.Pool]{
		policyBlock(func(p *spec.Pool, ref spec.PolicyRef) { p.Policy = &ref }, "Another policy than the cluster's for the apps of this pool."),
	},
}

// manyCores is cores without the bound of a single task.
var manyCores = kind[spec.MilliCPU]{
	name: "number of cores",
	read: func(v cty.Value) (spec.MilliCPU, error) {
		m, ok := milli(v)
		if !ok || m < 0 || m > 1e12 {
			return 0, mustBe("a number of cores such as 64", v)
		}
		return spec.MilliCPU(m), nil
	},
	show: func(m spec.MilliCPU) string {
		if m == 0 {
			return ""
		}
		return m.String()
	},
}

var pluginTable = &table[spec.Plugin]{
	doc: "A scheduling policy or framework driver shipped by others. The master runs it as a program of its own.",
	args: []argument[spec.Plugin]{
		arg("kind", oneOf(spec.PluginPolicy, spec.PluginFramework), func(p *spec.Plugin) *spec.PluginKind { return &p.Kind }, "What it does: policy decides where allocations go, framework turns its blocks into apps").must(),
		arg("command", text[string](), func(p *spec.Plugin) *string { return &p.Command }, "The program: a path in the repository, or an absolute path on the master").must(),
		arg("args", texts, func(p *spec.Plugin) *[]string { return &p.Args }, "Its arguments"),
		arg("sha256", checksum, func(p *spec.Plugin) *string { return &p.SHA256 }, "Checksum of the program; what runs is exactly this file").must(),
	},
	check: func(d *decoder, b *block, p *spec.Plugin) {
		if p.Command != "" && !path.IsAbs(p.Command) && !insideRepository(p.Command) {
			d.at(b.placeOf("command"), b.env.context, "Wrong value for command", fmt.Sprintf("The path %q leaves the repository. Give one inside, or an absolute path on the master.", shorten(p.Command, 100)))
		}
	},
}

// variableSpec stands for a variable in its table; scope.go reads the parts.
type variableSpec struct{}

var variableTable = &table[variableSpec]{
	doc: "A value with a name, used as var.NAME. In a module it is an input.",
	args: []argument[variableSpec]{
		{name: "type", kind: "type", doc: "What values fit: string, number, bool, list(…), set(…), map(…), object({…}), any"},
		{name: "default", kind: "any value", doc: "The value. Outside of modules it is needed: a commit means one thing, so nothing comes from elsewhere"},
		arg("description", text[string](), func(*variableSpec) *string { return new(string) }, "What it is for"),
	},
	blocks: []nested[variableSpec]{{
		name: "validation", many: true, table: validationTable, doc: "A rule for the value.",
		decode: func(d *decoder, b *block, _ *variableSpec) {
			var unused variableSpec
			validationTable.decode(d, b, &unused)
		},
	}},
}

var validationTable = &table[variableSpec]{
	doc: "A rule for the value.",
	args: []argument[variableSpec]{
		argument[variableSpec]{name: "condition", kind: "true or false", doc: "What must be true, as in var.replicas > 0"}.must(),
		argument[variableSpec]{name: "error_message", kind: "text", doc: "What to tell when it is not"}.must(),
	},
}

var movedTable = &table[spec.Moved]{
	doc: "Renames an app without restarting anything.",
	args: []argument[spec.Moved]{
		arg("from", text[spec.AppName](), func(m *spec.Moved) *spec.AppName { return &m.From }, "The name in earlier commits").must(),
		arg("to", text[spec.AppName](), func(m *spec.Moved) *spec.AppName { return &m.To }, "The name in this one").must(),
	},
}
