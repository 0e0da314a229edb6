package hcl

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/stowage/stowage/spec"
)

// checkName checks the first label of a block.
func (d *decoder) checkName(b *block, noun string, check func(string) error) bool {
	name := b.label(0)
	err := check(name)
	if err == nil && noun != "app" && noun != "role" && noun != "framework" && strings.Contains(name, ".") {
		err = fmt.Errorf("%q is not a name: use lower-case letters, digits and inner hyphens", shorten(name, 60))
	}
	if err != nil {
		d.at(b.place(), b.env.context, "Invalid name", fmt.Sprintf("This is no name for a %s: %v.", noun, err))
	}
	return err == nil
}

// ruleValue is the value of a constraint or affinity: a text, or a list for in and not_in.
func ruleValue[T any](at func(*T) (*string, *[]string)) argument[T] {
	return argument[T]{
		name: "value", kind: "text, number or list of texts", doc: "What it is compared with: a list for in and not_in, a number for max_per and group_by, nothing for set, unset, distinct and same",
		set: func(t *T, v cty.Value) error {
			one, many := at(t)
			if isList(v) {
				l, err := texts.read(v)
				*many = l
				return err
			}
			s, ok := asText(v)
			if !ok {
				return mustBe("a text, a number or a list of texts", v)
			}
			*one = s
			return checkText(s)
		},
	}
}

var attributeForm = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_./-]{0,99}$`)

func (d *decoder) checkAttribute(b *block, name string) {
	if name != "" && !attributeForm.MatchString(name) {
		d.at(b.placeOf("attribute"), b.env.context, "Wrong value for attribute", fmt.Sprintf("%q is no name of a node's attribute. They look like kernel.version or rack.", shorten(name, 60)))
	}
}

// orderOperators compare which of two is more.
var orderOperators = []spec.Operator{spec.OpLess, spec.OpLessEqual, spec.OpGreater, spec.OpGreaterEqual}

// checkRule checks that a rule's value fits its operator.
func (d *decoder) checkRule(b *block, attribute string, op spec.Operator, value string, values []string) {
	d.checkAttribute(b, attribute)
	if !b.sound("operator", "value") {
		return
	}
	wantsList := op == spec.OpIn || op == spec.OpNotIn
	wantsNone := slices.Contains([]spec.Operator{spec.OpSet, spec.OpUnset, spec.OpDistinct, spec.OpSame}, op)
	complain := func(detail string) {
		d.at(b.placeOf("value"), b.env.context, "Wrong value for value", detail)
	}
	switch {
	case wantsNone && b.has("value"):
		complain(fmt.Sprintf("The operator %q compares with nothing. Remove the value.", op))
	case wantsNone || op == spec.OpGroupBy && !b.has("value"):
	case !b.has("value"):
		d.at(b.place(), b.env.context, "Missing argument", fmt.Sprintf("The operator %q needs the argument value.", op))
	case wantsList && values == nil && value != "":
		complain(fmt.Sprintf("The operator %q needs a list: value = [%q].", op, shorten(value, 60)))
	case !wantsList && values != nil:
		complain(fmt.Sprintf("The operator %q compares with one value, but here is a list. For lists there are \"in\" and \"not_in\".", op))
	case slices.Contains(orderOperators, op) && !strings.ContainsAny(value, "0123456789"):
		complain(fmt.Sprintf("The operator %q compares numbers and versions such as \"6.1\", but here it is %q. For texts there are \"=\", \"!=\", \"in\" and \"regexp\".", op, shorten(value, 60)))
	case op == spec.OpRegexp || op == spec.OpNotRegexp:
		if _, err := regexp.Compile(value); err != nil {
			complain(fmt.Sprintf("This is no regular expression (RE2): %v.", shorten(strings.TrimPrefix(err.Error(), "error parsing regexp: "), 200)))
		}
	}
}

// ruleNumber reads the number of max_per and group_by.
func (d *decoder) ruleNumber(b *block, op spec.Operator, value string) int {
	if value == "" || !b.sound("operator", "value") {
		return 0
	}
	n, err := strconv.Atoi(value)
	least := map[spec.Operator]int{spec.OpMaxPer: 1, spec.OpGroupBy: 0}[op]
	if err != nil || n < least || n > spec.MaxCount {
		d.at(b.placeOf("value"), b.env.context, "Wrong value for value", fmt.Sprintf("The operator %q needs a whole number from %d to %d, but here it is %q.", op, least, spec.MaxCount, shorten(value, 60)))
	}
	return n
}

func checkAffinity(d *decoder, b *block, a *spec.Affinity) {
	switch {
	case b.has("app"):
		d.checkAttribute(b, a.Attribute)
		if a.Attribute == spec.AttributeID {
			a.Attribute = ""
		}
		for _, n := range []string{"operator", "value"} {
			if b.has(n) {
				d.at(b.placeOf(n), b.env.context, "Argument without effect", fmt.Sprintf("Near an app there is nothing to compare. Remove %s.", n))
			}
		}
		d.checkAppLater(b, a.App)
	case b.has("attribute"):
		if a.Operator == "" {
			a.Operator = spec.OpEqual
		}
		d.checkRule(b, a.Attribute, a.Operator, a.Value, a.Values)
	default:
		d.at(b.place(), b.env.context, "Missing argument", "An affinity needs the argument attribute or app: what to be near to.")
	}
	if a.Weight == 0 && b.sound("weight") {
		d.at(b.placeOf("weight"), b.env.context, "Wrong value for weight", "A weight of 0 is no wish. Take one from -100 to 100.")
	}
}

// checkBeside checks a constraint over where another app runs.
func (d *decoder) checkBeside(b *block, c *spec.Constraint) {
	near := c.Operator == spec.OpNear || c.Operator == spec.OpApart
	switch {
	case !b.sound("operator", "app", "attribute"):
	case !b.has("app"):
		d.at(b.place(), b.env.context, "Missing argument", fmt.Sprintf("The operator %q needs the argument app: whose allocations are meant.", c.Operator))
	case !b.has("operator"):
		d.at(b.place(), b.env.context, "Missing argument", "A constraint on an app needs the argument operator: \"near\" or \"apart\".")
	case !near:
		d.at(b.placeOf("operator"), b.env.context, "Wrong value for operator", fmt.Sprintf("The operator %q compares an attribute with a value. On an app there are \"near\" and \"apart\".", c.Operator))
	case b.has("value"):
		d.at(b.placeOf("value"), b.env.context, "Argument without effect", fmt.Sprintf("The operator %q compares with where the app runs. Remove the value.", c.Operator))
	}
	if c.Attribute == "" {
		c.Attribute = spec.AttributeID
	}
	d.checkAttribute(b, c.Attribute)
	d.checkAppLater(b, c.App)
}

// checkAppLater checks, once all apps are known, that the app of a rule is one of them.
func (d *decoder) checkAppLater(b *block, app spec.AppName) {
	if app == "" {
		return
	}
	d.later = append(d.later, func() {
		if _, ok := d.resolveApp(b.env.scope, app); !ok {
			d.unknownApp(b, "app", app)
		}
	})
}

func (d *decoder) checkDelays(b *block, delay, most spec.Duration) {
	if most < delay && b.sound("delay", "max_delay") {
		d.at(b.placeOf("max_delay"), b.env.context, "Wrong value for max_delay", fmt.Sprintf("max_delay is %s, which is less than the delay of %s. Make it at least that.", most, delay))
	}
}

// networkMode tells which modes there will be.
var networkMode = kind[spec.NetworkMode]{
	name: "text", values: []string{string(spec.NetworkHost), string(spec.NetworkNone)},
	read: func(v cty.Value) (spec.NetworkMode, error) {
		if v.Type() == cty.String {
			if s := v.AsString(); s == "bridge" || strings.HasPrefix(s, "cni/") {
				return "", wrong(fmt.Sprintf("is %q, which is not in this version. Use \"host\", the node's own network, or \"none\"", shorten(s, 60)))
			}
		}
		return oneOf(spec.NetworkHost, spec.NetworkNone).read(v)
	},
	show: func(m spec.NetworkMode) string { return strconv.Quote(string(m)) },
}

func addPort(d *decoder, b *block, n *spec.Network, p port) {
	p.Name, p.Pos = b.label(0), position(b.TypeRange)
	if !d.checkName(b, "port", spec.CheckLabel) {
		return
	}
	for _, o := range n.Ports {
		switch {
		case o.Name == p.Name:
			d.at(b.place(), b.env.context, "Duplicate port", fmt.Sprintf("The network has a port %q already, at %s. Rename one of them.", p.Name, where(o.Pos)))
			return
		case o.Static != 0 && o.Static == p.Static && o.Protocol == p.Protocol:
			d.at(b.placeOf("static"), b.env.context, "Duplicate port", fmt.Sprintf("The port %q at %s has the number %d (%s) already. Give this one another.", o.Name, where(o.Pos), p.Static, p.Protocol))
		}
	}
	n.Ports = append(n.Ports, p.PortSpec)
}

func checkNetwork(d *decoder, b *block, n *spec.Network) {
	slices.SortFunc(n.Ports, func(x, y spec.PortSpec) int { return strings.Compare(x.Name, y.Name) })
	if n.Mode == spec.NetworkNone && len(n.Ports) > 0 {
		d.at(b.placeOf("mode"), b.env.context, "Ports without a network", "In the mode none nothing can reach the ports. Remove them, or take the mode host.")
	}
}

// checkPort checks that the port which a check asks exists.
func (d *decoder) checkPort(b *block, port string) {
	names := make([]string, len(b.env.ports))
	for i, p := range b.env.ports {
		names[i] = p.Name
	}
	if slices.Contains(names, port) {
		return
	}
	hint := didYouMean(port, names)
	switch {
	case len(names) == 0:
		hint = fmt.Sprintf(" Declare it: network { port %q {} }.", shorten(port, 60))
	case hint == "":
		hint = fmt.Sprintf(" There are %s.", list(names))
	}
	d.at(b.placeOf("port"), b.env.context, "Unknown port", fmt.Sprintf("The app's network has no port named %q.%s", shorten(port, 60), hint))
}

var userForm = regexp.MustCompile(`^([a-z_][a-z0-9_-]{0,31}|[0-9]{1,9}(:[0-9]{1,9})?)$`)

func checkTask(d *decoder, b *block, t *spec.Task) {
	switch {
	case b.has("rootfs") && b.has("image"):
		d.at(b.placeOf("image"), b.env.context, "Two root file systems", "A task has rootfs or image, not both. Remove one.")
	case !b.has("rootfs") && !b.has("image"):
		d.at(b.place(), b.env.context, "No root file system", "A task needs the argument image, or rootfs = \"host\" to use the node's own programs.")
	case t.Rootfs == spec.RootfsHost && len(t.Command) == 0 && b.sound("command"):
		d.at(b.placeOf("command"), b.env.context, "No command", "With rootfs = \"host\" there is no image to say what runs. Add command = [\"program\", \"argument\"].")
	}
	if len(t.Command) > 0 && t.Command[0] == "" {
		d.at(b.placeOf("command"), b.env.context, "Wrong value for command", "The first element of command is the program, and here it is empty.")
	}
	remote := strings.HasPrefix(t.Image, "https://") || strings.HasPrefix(t.Image, "http://")
	if remote && !b.has("image_sha256") {
		d.at(b.placeOf("image"), b.env.context, "Missing argument", "An image from a URL needs image_sha256, so that a commit means one thing. Print it with: sha256sum FILE.")
	}
	if !remote && b.has("image_sha256") && b.sound("image") {
		d.at(b.placeOf("image_sha256"), b.env.context, "Argument without effect", "image_sha256 belongs to an image from a URL. Remove it.")
	}
	if t.Memory < spec.MinMemory && b.has("memory") && b.sound("memory") {
		d.at(b.placeOf("memory"), b.env.context, "Wrong value for memory", fmt.Sprintf("memory is %s, but a container needs at least %s to start.", t.Memory, spec.MinMemory))
	}
	if t.MemoryMax != 0 && t.MemoryMax < t.Memory && b.sound("memory", "memory_max") {
		d.at(b.placeOf("memory_max"), b.env.context, "Wrong value for memory_max", fmt.Sprintf("memory_max is %s, which is less than memory, %s. It is the limit to burst to: make it at least that.", t.MemoryMax, t.Memory))
	}
	d.checkNamed(b, t)
	d.checkArtifacts(b, t)
	d.checkLife(b, t)
	if t.User != "" && !userForm.MatchString(t.User) {
		d.at(b.placeOf("user"), b.env.context, "Wrong value for user", fmt.Sprintf("%q is no user. Write a name, a uid such as \"1000\", or uid:gid such as \"1000:1000\".", shorten(t.User, 60)))
	}
	if t.Dir != "" && !path.IsAbs(t.Dir) && !strings.HasPrefix(t.Dir, "${") {
		d.at(b.placeOf("dir"), b.env.context, "Wrong value for dir", fmt.Sprintf("dir is a path inside the container and begins with \"/\", but here it is %q.", shorten(t.Dir, 60)))
	}
}
