package hcl

import (
	"crypto/x509"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/stowage/stowage/spec"
)

var checkTable = &table[spec.Check]{
	doc: "Asks a task whether it is well. What follows from the answers is said by start, gate and restart; a check with none of them is only shown.",
	defaults: func() spec.Check {
		return spec.Check{Interval: spec.DefaultCheckInterval, Timeout: spec.DefaultCheckTimeout, Failures: spec.DefaultCheckFailures}
	},
	args: []argument[spec.Check]{
		arg("type", oneOf(checkTypes...), func(c *spec.Check) *spec.CheckType { return &c.Type },
			"http, https: path answers with a status that counts as well. tcp: the port accepts a connection. grpc, grpcs: the health protocol of gRPC (grpc.health.v1) answers SERVING. exec: command exits with 0 inside the task").must(),
		arg("port", text[string](), func(c *spec.Check) *string { return &c.Port }, "The name of a port of the app's network, for all types but exec"),
		arg("path", text[string](), func(c *spec.Check) *string { return &c.Path }, "For http and https; \"/\" when not written").atNode(),
		arg("command", texts, func(c *spec.Check) *[]string { return &c.Command }, "For exec").atNode(),
		arg("method", text[string](), func(c *spec.Check) *string { return &c.Method }, "For http and https; \"GET\" when not written"),
		arg("headers", headers, func(c *spec.Check) *map[string]string { return &c.Headers }, "For http and https, such as { Host = \"shop.example.com\" }").atNode(),
		arg("status", texts, func(c *spec.Check) *[]string { return &c.Status }, "For http and https: what counts as well, such as [\"204\", \"300-399\"]; [\"200-399\"] when not written"),
		arg("body", text[string](), func(c *spec.Check) *string { return &c.Body }, "For http and https: a regular expression (RE2) that must match in the first 4KiB of the body"),
		arg("service", text[string](), func(c *spec.Check) *string { return &c.Service }, "For grpc and grpcs: the service asked about; the server as a whole when not written"),
		arg("ca", text[string](), func(c *spec.Check) *string { return &c.CA }, "For https and grpcs: certificates (PEM) that may have signed the task's, such as file(\"ca.pem\"); those of the node when not written"),
		arg("server_name", text[string](), func(c *spec.Check) *string { return &c.ServerName }, "For https and grpcs: the name that the certificate must have; the address that is asked when not written"),
		arg("skip_verify", flag, func(c *spec.Check) *bool { return &c.SkipVerify }, "For https and grpcs: any certificate will do"),
		arg("interval", duration, func(c *spec.Check) *spec.Duration { return &c.Interval }, "Between two questions"),
		arg("timeout", duration, func(c *spec.Check) *spec.Duration { return &c.Timeout }, "For one answer"),
		arg("failures", whole(1, 1000), func(c *spec.Check) *int { return &c.Failures }, "In a row before a passing check counts as failing"),
		{name: "successes", kind: whole(1, 1000).name, doc: "In a row before a check that does not pass counts as passing, of a task that has just started too", set: setSuccesses,
			show: func(*spec.Check) string { return "1" }},
		arg("gate", flag, func(c *spec.Check) *bool { return &c.Gate }, "The allocation is healthy only while this passes"),
		arg("restart", flag, func(c *spec.Check) *bool { return &c.Restart }, "When it fails, the task is stopped and started again, as the app's restart block says"),
		arg("start", flag, func(c *spec.Check) *bool { return &c.Start }, "The task has started when this passes for the first time: until then its other checks wait, and the allocation is not healthy"),
		arg("within", duration, func(c *spec.Check) *spec.Duration { return &c.Within }, fmt.Sprintf("For start: when it has not passed so long after the task was started, the task is stopped and started again; %q when not written", spec.DefaultCheckWithin)),
	},
	check: checkCheck,
}

var checkTypes = []spec.CheckType{spec.CheckHTTP, spec.CheckHTTPS, spec.CheckTCP, spec.CheckGRPC, spec.CheckGRPCS, spec.CheckExec}

var stopTable = &table[spec.Stop]{
	doc: "How a task is asked to end: delay, command, signal, timeout, in this order.",
	defaults: func() spec.Stop {
		return spec.Stop{Signal: spec.DefaultStopSignal, Timeout: spec.DefaultStopTimeout}
	},
	args: []argument[spec.Stop]{
		arg("delay", duration, func(s *spec.Stop) *spec.Duration { return &s.Delay }, "So long the task works on after its allocation, which was healthy, is told as not healthy any more, so that those who ask it for work can go elsewhere"),
		arg("command", texts, func(s *spec.Stop) *[]string { return &s.Command }, "Run inside the task before the signal").atNode(),
		arg("command_timeout", duration, func(s *spec.Stop) *spec.Duration { return &s.CommandTimeout }, fmt.Sprintf("For the command: after it the signal is sent all the same; %q when not written", spec.DefaultStopCommandTimeout)),
		arg("signal", oneOf(signals...), func(s *spec.Stop) *string { return &s.Signal }, "Sent then"),
		arg("timeout", duration, func(s *spec.Stop) *spec.Duration { return &s.Timeout }, "After this the whole group is killed"),
	},
	check: func(d *decoder, b *block, s *spec.Stop) {
		switch {
		case len(s.Command) == 0 && b.has("command_timeout"):
			d.at(b.placeOf("command_timeout"), b.env.context, "Argument without effect", "There is no command to wait for. Remove command_timeout, or add command.")
		case len(s.Command) > 0 && s.Command[0] == "":
			d.at(b.placeOf("command"), b.env.context, "Wrong value for command", "The first element of command is the program, and here it is empty.")
		case len(s.Command) > 0 && s.CommandTimeout == 0 && b.has("command_timeout") && b.sound("command_timeout"):
			d.at(b.placeOf("command_timeout"), b.env.context, "Wrong value for command_timeout", "The command would have no time at all. Give it some, or remove the command.")
		case len(s.Command) > 0 && s.CommandTimeout == 0:
			s.CommandTimeout = spec.DefaultStopCommandTimeout
		}
	},
}

// headers are a map of texts that fit into a request.
var headers = kind[map[string]string]{
	name: "map of texts",
	read: func(v cty.Value) (map[string]string, error) {
		m, err := textMap.read(v)
		for _, k := range sortedKeys(m) {
			if !headerForm.MatchString(k) {
				return nil, wrong(fmt.Sprintf("must have names of headers such as \"Accept\", but here is %q", shorten(k, 60)))
			}
			if strings.ContainsAny(m[k], "\r\n") {
				return nil, wrong(fmt.Sprintf("must have values of one line, but that of %q has more", shorten(k, 60)))
			}
		}
		if len(m) > spec.MaxCheckHeaders {
			return nil, wrong(fmt.Sprintf("has %d headers; at most %d are allowed", len(m), spec.MaxCheckHeaders))
		}
		return m, err
	},
	show: textMap.show,
}

// headerForm is a token of RFC 9110, section 5.6.2.
var headerForm = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}$")

var methods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodOptions}

func addCheck(d *decoder, b *block, t *spec.Task, c spec.Check) {
	c.Name = b.label(0)
	d.checkName(b, "check", spec.CheckLabel)
	if slices.ContainsFunc(t.Checks, func(o spec.Check) bool { return o.Name == c.Name }) {
		d.at(b.place(), b.env.context, "Duplicate check", fmt.Sprintf("The task has a check %q already. Rename one of them.", shorten(c.Name, 60)))
	}
	if len(t.Checks) == spec.MaxChecks {
		d.at(b.place(), b.env.context, "Too many checks", fmt.Sprintf("A task has at most %d checks.", spec.MaxChecks))
		return
	}
	t.Checks = append(t.Checks, c)
}

// checkUses says which arguments go with which types; those that are not here go with all.
var checkUses = map[string][]spec.CheckType{
	"port":        {spec.CheckHTTP, spec.CheckHTTPS, spec.CheckTCP, spec.CheckGRPC, spec.CheckGRPCS},
	"command":     {spec.CheckExec},
	"path":        {spec.CheckHTTP, spec.CheckHTTPS},
	"method":      {spec.CheckHTTP, spec.CheckHTTPS},
	"headers":     {spec.CheckHTTP, spec.CheckHTTPS},
	"status":      {spec.CheckHTTP, spec.CheckHTTPS},
	"body":        {spec.CheckHTTP, spec.CheckHTTPS},
	"service":     {spec.CheckGRPC, spec.CheckGRPCS},
	"ca":          {spec.CheckHTTPS, spec.CheckGRPCS},
	"server_name": {spec.CheckHTTPS, spec.CheckGRPCS},
	"skip_verify": {spec.CheckHTTPS, spec.CheckGRPCS},
}

func checkCheck(d *decoder, b *block, c *spec.Check) {
	if !b.sound("type") || c.Type == "" {
		return // reported
	}
	if b.has("port") && c.Port != "" {
		d.checkPort(b, c.Port)
	}
	need := "port"
	if c.Type == spec.CheckExec {
		need = "command"
	}
	if !b.has(need) {
		d.at(b.place(), b.env.context, "Missing argument", fmt.Sprintf("A check of type %s needs the argument %s.", c.Type, need))
	}
	for _, n := range slices.Sorted(maps.Keys(checkUses)) {
		if b.has(n) && !slices.Contains(checkUses[n], c.Type) {
			d.at(b.placeOf(n), b.env.context, "Argument without effect", fmt.Sprintf("A check of type %s does not use %s. Remove it, or change the type.", c.Type, n))
		}
	}
	if c.Type.HTTP() {
		d.checkRequest(b, c)
	}
	d.checkCertificates(b, c)
	if c.Type == spec.CheckExec && b.has("command") && b.sound("command") && len(c.Command) == 0 {
		d.at(b.placeOf("command"), b.env.context, "Wrong value for command", "The command is empty. Name a program.")
	}
	for _, n := range []struct {
		name  string
		value spec.Duration
	}{{"interval", c.Interval}, {"timeout", c.Timeout}} {
		if n.value < 10*spec.Millisecond {
			d.at(b.placeOf(n.name), b.env.context, "Wrong value for "+n.name, fmt.Sprintf("%s must be at least 10ms, but here it is %s.", n.name, n.value))
		}
	}
	for _, n := range []struct{ name, value string }{{"ca", c.CA}, {"body", c.Body}, {"service", c.Service}, {"server_name", c.ServerName}} {
		if len(n.value) > spec.MaxCheckText {
			d.at(b.placeOf(n.name), b.env.context, "Wrong value for "+n.name, fmt.Sprintf("%s is longer than %s.", n.name, spec.Bytes(spec.MaxCheckText)))
		}
	}
	d.checkFollows(b, c)
}

// checkFollows checks what is said to follow from the answers.
func (d *decoder) checkFollows(b *block, c *spec.Check) {
	for _, n := range []struct {
		name string
		set  bool
	}{{"gate", c.Gate}, {"restart", c.Restart}} {
		if c.Start && n.set {
			d.at(b.placeOf(n.name), b.env.context, "Two meanings of a check", fmt.Sprintf("A check with start is over when it has passed for the first time, so %s would have no meaning. Write a second check for that.", n.name))
		}
	}
	switch {
	case !c.Start && b.has("within"):
		d.at(b.placeOf("within"), b.env.context, "Argument without effect", "within goes with start = true. Remove it, or add that.")
	case c.Start && b.has("within") && b.sound("within") && c.Within < spec.Second:
		d.at(b.placeOf("within"), b.env.context, "Wrong value for within", fmt.Sprintf("within must be at least 1s, but here it is %s.", c.Within))
	case c.Start && !b.has("within"):
		c.Within = spec.DefaultCheckWithin
	}
}

func (d *decoder) checkRequest(b *block, c *spec.Check) {
	if c.Path == "" {
		c.Path = "/"
	}
	if !strings.HasPrefix(c.Path, "/") && !strings.HasPrefix(c.Path, "${") {
		d.at(b.placeOf("path"), b.env.context, "Wrong value for path", fmt.Sprintf("The path of a check begins with \"/\", but here it is %q.", shorten(c.Path, 60)))
	}
	if b.has("method") && b.sound("method") && !slices.Contains(methods, c.Method) {
		d.at(b.placeOf("method"), b.env.context, "Wrong value for method", fmt.Sprintf("%q is no method of a check. There are %s.%s", shorten(c.Method, 60), list(methods), didYouMean(c.Method, methods)))
	}
	for _, s := range c.Status {
		if _, _, err := spec.ParseStatus(s); err != nil {
			d.at(b.placeOf("status"), b.env.context, "Wrong value for status", sentence(shorten(err.Error(), 200)))
		}
	}
	if b.has("status") && b.sound("status") && len(c.Status) == 0 {
		d.at(b.placeOf("status"), b.env.context, "Wrong value for status", "No status would count as well. Name one, or remove the argument.")
	}
	if len(c.Body) > 0 {
		if _, err := regexp.Compile(c.Body); err != nil {
			d.at(b.placeOf("body"), b.env.context, "Wrong value for body", fmt.Sprintf("This is no regular expression (RE2): %v.", shorten(strings.TrimPrefix(err.Error(), "error parsing regexp: "), 200)))
		}
		if c.Method == http.MethodHead {
			d.at(b.placeOf("body"), b.env.context, "Argument without effect", "An answer to HEAD has no body. Remove body, or take another method.")
		}
	}
}

func (d *decoder) checkCertificates(b *block, c *spec.Check) {
	if c.CA != "" && b.sound("ca") && !x509.NewCertPool().AppendCertsFromPEM([]byte(c.CA)) {
		d.at(b.placeOf("ca"), b.env.context, "Wrong value for ca", "There is no certificate in it. It is the text of a PEM file, such as file(\"ca.pem\").")
	}
	if !c.SkipVerify {
		return
	}
	for _, n := range []string{"ca", "server_name"} {
		if b.has(n) {
			d.at(b.placeOf(n), b.env.context, "Argument without effect", fmt.Sprintf("With skip_verify nobody looks at the certificate. Remove %s, or skip_verify.", n))
		}
	}
}

// checkLife checks what of a task depends on when it runs.
func (d *decoder) checkLife(b *block, t *spec.Task) {
	if t.Lifecycle == spec.LifecyclePoststop && !b.has("max_run") {
		t.MaxRun = spec.DefaultPoststopMaxRun
	}
	if b.has("max_run") && b.sound("max_run") && t.MaxRun < spec.Second {
		d.at(b.placeOf("max_run"), b.env.context, "Wrong value for max_run", fmt.Sprintf("max_run must be at least 1s, but here it is %s.", t.MaxRun))
	}
	switch t.Lifecycle {
	case spec.LifecyclePrestart, spec.LifecyclePoststart, spec.LifecyclePoststop:
		if c := b.inner("check"); c != nil {
			d.at(c.place(), b.env.context, "Check without effect", fmt.Sprintf("A %s task runs to its end and is not asked whether it is well. Remove the check.", t.Lifecycle))
		}
	}
}

// setSuccesses keeps the default as nothing, so that checks which never heard of it stay the same version.
func setSuccesses(c *spec.Check, v cty.Value) error {
	n, err := whole(1, 1000).read(v)
	if n == 1 {
		n = 0
	}
	c.Successes = n
	return err
}

// setRestartMode keeps the default as nothing, so that apps which never heard of modes stay the same version.
func setRestartMode(r *spec.Restart, v cty.Value) error {
	m, err := oneOf(spec.RestartFail, spec.RestartDelay).read(v)
	if m == spec.RestartFail {
		m = ""
	}
	r.Mode = m
	return err
}

func checkRestart(d *decoder, b *block, r *spec.Restart) {
	d.checkDelays(b, r.Delay, r.MaxDelay)
	if r.Mode == spec.RestartDelay && r.Attempts < 1 && b.sound("attempts", "mode") {
		detail := "Without a limit there is nothing to wait for. Remove mode, or limit attempts."
		if r.Attempts == 0 {
			detail = "With attempts = 0 no restart is ever allowed. Allow at least one, or remove mode."
		}
		d.at(b.placeOf("mode"), b.env.context, "Argument without effect", detail)
	}
}
