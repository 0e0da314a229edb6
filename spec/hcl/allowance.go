package hcl

import (
	"fmt"
	"path"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/stowage/stowage/spec"
)

var allowanceTable = &table[spec.Allowance]{
	doc: "Lets some apps weaken the isolation of their tasks: without one, no app may. Patterns are as in a shell, where \"*\" stands for anything but \"/\". A node can refuse all the same: stowage agent --no-weak-isolation.",
	args: []argument[spec.Allowance]{
		arg("roles", roleNames, func(a *spec.Allowance) *[]spec.RoleName { return &a.Roles }, "Apps of these roles, and of those below them. Without it: of any"),
		arg("apps", patterns, func(a *spec.Allowance) *[]string { return &a.Apps }, "Names and patterns of apps; \"infra/**\" is all below infra. Without it: any"),
		arg("privileged", flag, func(a *spec.Allowance) *bool { return &a.Privileged }, "Everything, privileged included"),
		arg("seccomp", patterns, func(a *spec.Allowance) *[]string { return &a.Seccomp }, "none, and patterns of profiles, from the root of the repository"),
		arg("capabilities", capabilities, func(a *spec.Allowance) *[]string { return &a.Capabilities }, "What cap_add may name; [\"ALL\"]: anything"),
		arg("new_privileges", flag, func(a *spec.Allowance) *bool { return &a.NewPrivileges }, "no_new_privileges may be false"),
		arg("unmasked_paths", patterns, func(a *spec.Allowance) *[]string { return &a.Unmasked }, "What unmasked_paths may name"),
		arg("host_devices", patterns, func(a *spec.Allowance) *[]string { return &a.HostDevices }, "Device files of the node that host_device may name"),
	},
	check: func(d *decoder, b *block, a *spec.Allowance) {
		if !b.sound("roles", "apps", "seccomp", "capabilities", "unmasked_paths", "host_devices") {
			return
		}
		if len(a.Seccomp)+len(a.Capabilities)+len(a.Unmasked)+len(a.HostDevices) == 0 && !a.Privileged && !a.NewPrivileges {
			d.at(b.place(), b.env.context, "Empty allowance", "The allowance allows nothing. Say what, such as capabilities = [\"NET_RAW\"], or remove it.")
		}
		for _, n := range []string{"roles", "apps"} {
			if b.has(n) && len(a.Roles)+len(a.Apps) == 0 {
				d.at(b.placeOf(n), b.env.context, "Wrong value for "+n, fmt.Sprintf("The list %s is empty, which would mean any. Name some, or remove the argument.", n))
			}
		}
	},
}

// roleNames are names of roles.
var roleNames = kind[[]spec.RoleName]{
	name: "list of roles",
	read: func(v cty.Value) ([]spec.RoleName, error) {
		names, err := texts.read(v)
		out := make([]spec.RoleName, len(names))
		for i, n := range names {
			out[i] = spec.RoleName(n)
		}
		return out, err
	},
	show: func([]spec.RoleName) string { return "" },
}

// patterns are texts in which * and ? stand for others.
var patterns = kind[[]string]{
	name: "list of texts",
	read: func(v cty.Value) ([]string, error) {
		all, err := texts.read(v)
		if err != nil {
			return nil, err
		}
		if len(all) > spec.MaxPoints {
			return nil, wrong(fmt.Sprintf("must have at most %d patterns, but here are %d", spec.MaxPoints, len(all)))
		}
		for _, p := range all {
			if _, err := path.Match(p, ""); err != nil || p == "" {
				return nil, wrong(fmt.Sprintf("must have patterns such as \"infra/*\", but here is %q", shorten(p, 60)))
			}
		}
		return all, nil
	},
	show: texts.show,
}

func (l *loader) decodeAllowance(b *block) {
	a := allowanceTable.fresh()
	a.Name, a.Pos = b.label(0), position(b.TypeRange)
	l.checkName(b, "allowance", spec.CheckLabel)
	allowanceTable.decode(&l.decoder, b, &a)
	if len(l.allowances) >= spec.MaxAllowances {
		l.at(b.place(), b.env.context, "Too many allowances", fmt.Sprintf("The commit makes more than %d allowances. Make fewer.", spec.MaxAllowances))
		return
	}
	if !declare(l, l.allowances, "allowance", a.Name, &a, b) {
		return
	}
	l.later = append(l.later, func() {
		for _, r := range a.Roles {
			if l.roles[r] == nil && r != spec.DefaultRole && !l.broken {
				l.at(b.placeOf("roles"), b.env.context, "Unknown role", fmt.Sprintf("There is no role named %q.%s", shorten(string(r), 60), didYouMean(string(r), toStrings(sortedKeys(l.roles)))))
			}
		}
	})
}

// checkAllowed refuses what weakens the isolation of a task though no allowance lets it.
func (l *loader) checkAllowed(task, isolation *block, a *spec.App, t *spec.Task) {
	if l.broken {
		return // the allowance may stand in the file that could not be read
	}
	var all []spec.Allowance
	for _, n := range sortedKeys(l.allowances) {
		all = append(all, *l.allowances[n].value)
	}
	refused, covering := spec.Refused(all, a, t)
	for _, w := range refused {
		place := isolation.placeOf(w.Argument)
		for _, c := range isolation.Body.Blocks {
			if w.Argument == "host_device" && c.Type == "host_device" && len(c.Labels) > 0 && strings.HasSuffix(w.Written, `"`+c.Labels[0]+`"`) {
				place = c.LabelRanges[0]
			}
		}
		l.at(place, task.env.context, "Not allowed", w.Refusal(a, covering))
	}
}
