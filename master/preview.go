package master

import (
	"context"
	"crypto/rand"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/server"
	"github.com/stowage/stowage/plugins"
	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// previews are the routes that plan and change nothing.
func (m *Master) previews() map[string]server.Handler {
	return map[string]server.Handler{
		"makePlan": m.oneTree(server.JSON(m.makePlan)), "pendingPlan": server.JSON(m.pendingPlan), "plan": server.JSON(m.getPlan),
		"makeInput": m.oneTree(m.makeInput), "pendingInput": m.oneTree(m.pendingInput), "diff": server.JSON(m.getDiff), "validate": m.oneTree(server.JSON(m.validate)),
	}
}

// makePlan plans a commit, or the tree in the request's body.
func (m *Master) makePlan(c *server.Call) (any, error) {
	s, err := supposition(c)
	if err != nil {
		return nil, err
	}
	rev, err := m.given(c)
	if err != nil {
		return nil, err
	}
	return m.preview(c.Context(), rev, false, s)
}

// given is the revision that a request names, or brings along as a tree.
func (m *Master) given(c *server.Call) (spec.Revision, error) {
	q := c.URL.Query()
	if ref := q.Get("ref"); ref != "" {
		return m.revision(c, ref)
	}
	cluster, ds, err := m.uploaded(c)
	if err != nil {
		return spec.Revision{}, err
	}
	if cluster == nil {
		return spec.Revision{}, &api.Error{Status: http.StatusUnprocessableEntity, Message: "the tree cannot be used", Remedy: "mend what the diagnostics name", Diagnostics: ds}
	}
	return spec.Revision{Subject: q.Get("subject"), Cluster: cluster, Diagnostics: ds}, nil
}

func (m *Master) uploaded(c *server.Call) (*spec.Cluster, []spec.Diagnostic, error) {
	t, err := readTree(http.MaxBytesReader(nil, c.Body, maxUpload+1<<20))
	if err != nil {
		return nil, nil, err
	}
	cluster, ds, _ := m.revisions.load(c.Context(), t, func(spec.Plugin) bool { return false })
	return cluster, ds, nil
}

func (m *Master) validate(c *server.Call) (any, error) {
	cluster, ds, err := m.uploaded(c)
	if err != nil {
		return nil, err
	}
	v := api.Validation{Diagnostics: ds}
	if cluster != nil {
		v.Cluster, v.Apps = cluster.Name, len(cluster.Apps)
	}
	return v, nil
}

// supposition reads what a plan is to assume of the nodes.
func supposition(c *server.Call) (spec.Supposition, error) {
	q := c.URL.Query()
	s, err := spec.ParseSupposition(q["without"], q["with"])
	if err != nil {
		return s, badRequest(err.Error(), "see stowage plan --help")
	}
	return s, nil
}

// preview plans a revision on the present state, beside the loop, or on that with other nodes.
func (m *Master) preview(ctx context.Context, rev spec.Revision, signed bool, s spec.Supposition) (*spec.Plan, error) {
	in, err := m.previewInput(ctx, rev, signed)
	if err != nil {
		return nil, err
	}
	if in, err = reconcile.Suppose(in, s); err != nil {
		return nil, badRequest(err.Error(), "see stowage node ls, and the node_class blocks of what is planned")
	}
	plan, _ := reconcile.Plan(in)
	return &plan, nil
}

// previewInput is all that the plan of a revision depends on.
func (m *Master) previewInput(ctx context.Context, rev spec.Revision, signed bool) (in reconcile.Input, err error) {
	var questions []expansion
	if err := m.look(ctx, func(c *control.Core) { questions = unanswered(c, rev.Cluster) }); err != nil {
		return in, err
	}
	var expansions []spec.Expansion
	for _, q := range questions {
		x := q.known
		if x == nil {
			answer := m.host.Expand(ctx, q.plugin, q.question)
			x = &answer
		}
		expansions = append(expansions, *x)
	}
	images, err := m.lookedUp(ctx, rev, expansions)
	if err != nil {
		return in, err
	}
	behind := 0
	if from := m.machine.following(); from != "" && rev.Commit != "" && from != rev.Commit {
		// Commits of another branch may lie anywhere; then nothing is told.
		behind, _, _ = m.repo.Distance(string(from), string(rev.Commit))
	}
	settled := false
	err = m.look(ctx, func(c *control.Core) {
		if settled = c.Status().Settled; settled {
			in = c.PreviewInput(rev, control.Answers{Expansions: expansions, Images: images}, signed, behind)
		}
	})
	if err == nil && !settled {
		err = settling()
	}
	return in, err
}

// lookedUp asks registries about the images of a revision by tag that have no recorded digest.
func (m *Master) lookedUp(ctx context.Context, rev spec.Revision, expansions []spec.Expansion) (map[string]control.Lookup, error) {
	var open []string
	if err := m.look(ctx, func(c *control.Core) { open = c.UnpinnedOf(rev, expansions) }); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	images := make(map[string]control.Lookup, len(open))
	m.lookUpAll(ctx, open, func(image string, l control.Lookup) {
		mu.Lock()
		defer mu.Unlock()
		images[image] = l
	})
	return images, nil
}

// settling refuses a plan while it would leave out what agents have not reported yet.
func settling() error {
	return &api.Error{Status: http.StatusServiceUnavailable, Message: "the master has just begun to lead and waits for its agents to report what they run", Remedy: "try again in a few seconds"}
}

// expansion is a framework block of a preview, with what is known of it or what to ask about it.
type expansion struct {
	plugin   spec.Plugin
	question *plugins.Question
	known    *spec.Expansion
}

// unanswered lists the blocks of a cluster. Those that stand so in the revision that is followed are known already.
func unanswered(c *control.Core, cluster *spec.Cluster) (list []expansion) {
	var followed *spec.Cluster
	if f := c.State().Following; f != nil {
		followed = f.Revision.Cluster
	}
	for i := range cluster.Frameworks {
		block := &cluster.Frameworks[i]
		p := slices.IndexFunc(cluster.Plugins, func(p spec.Plugin) bool {
			return p.Name == block.Driver && p.Kind == spec.PluginFramework
		})
		if p < 0 {
			list = append(list, expansion{known: &spec.Expansion{Driver: block.Driver, Name: block.Name, Held: "no plugin of kind framework is called " + block.Driver + ": add a plugin block"}})
			continue
		}
		e := expansion{plugin: cluster.Plugins[p]}
		if followed != nil && slices.ContainsFunc(followed.Frameworks, func(o spec.Framework) bool {
			return o.Driver == block.Driver && o.Name == block.Name && reflect.DeepEqual(o.Config, block.Config)
		}) && slices.ContainsFunc(followed.Plugins, func(o spec.Plugin) bool { return o.Name == e.plugin.Name && o.SHA256 == e.plugin.SHA256 }) {
			e.known = c.State().Expansions[block.Name]
		}
		if e.known == nil {
			e.question = plugins.About(*block, c.Allocations(), c.State().Versions, c.Nodes())
		}
		list = append(list, e)
	}
	return list
}

// pendingPlan is the plan that waits; without one, what the head of the branch would do now.
func (m *Master) pendingPlan(c *server.Call) (any, error) {
	suppose, err := supposition(c)
	if err != nil {
		return nil, err
	}
	s, err := m.snapshot(c.Context())
	if err != nil {
		return nil, err
	}
	if s.status.Settled && s.pending != nil && suppose.Empty() {
		return s.pending.Plan, nil
	}
	rev, signed, err := s.head()
	if err != nil {
		return nil, err
	}
	return m.preview(c.Context(), rev, signed, suppose) // the loop's own plan leaves out what only people read
}

// head is the revision whose plan waits, or else the one that is followed.
func (s *snapshot) head() (rev spec.Revision, signed bool, err error) {
	switch {
	case !s.status.Settled:
		return rev, false, settling()
	case s.pending != nil:
		return s.pending.Revision, s.pending.Signed, nil
	case s.status.Failure != nil:
		r := s.status.Failure
		return rev, false, &api.Error{Status: http.StatusUnprocessableEntity, Message: "commit " + r.Commit.Short() + " cannot be used", Remedy: "mend what the diagnostics name and commit", Diagnostics: r.Diagnostics}
	case s.following == nil:
		return rev, false, &api.Error{Status: http.StatusNotFound, Message: "no commit is followed yet", Remedy: "look at stowage status"}
	}
	return s.following.Revision, false, nil
}

// makeInput sends all that the plan of a commit, or of the tree in the request's body, depends on.
func (m *Master) makeInput(w http.ResponseWriter, c *server.Call) error {
	rev, err := m.given(c)
	if err != nil {
		return err
	}
	return m.sendInput(w, c, rev, false)
}

// pendingInput sends all that the plan depends on which waits, or else that of the head of the branch.
func (m *Master) pendingInput(w http.ResponseWriter, c *server.Call) error {
	s, err := m.snapshot(c.Context())
	if err != nil {
		return err
	}
	rev, signed, err := s.head()
	if err != nil {
		return err
	}
	return m.sendInput(w, c, rev, signed)
}

func (m *Master) sendInput(w http.ResponseWriter, c *server.Call, rev spec.Revision, signed bool) error {
	in, err := m.previewInput(c.Context(), rev, signed)
	if err != nil {
		return err
	}
	s := reconcile.Save(in, rand.Text())
	w.Header().Set("Content-Type", "application/gzip")
	return api.WriteInput(w, &s)
}

func (m *Master) findPlan(c *server.Call, id string) (*spec.Plan, error) {
	var plan *spec.Plan
	known := false
	err := m.look(c.Context(), func(core *control.Core) {
		if plan, known = core.Plan(spec.PlanID(id)); !known && core.Last().ID == spec.PlanID(id) {
			last := core.Last()
			plan, known = &last, true
		}
	})
	switch {
	case err != nil:
		return nil, err
	case !known:
		return nil, notFound("plan", id, "see stowage history")
	case plan == nil:
		return nil, &api.Error{Status: http.StatusGone, Message: "plan " + id + " took effect too long ago; only its summary is kept", Remedy: "see stowage history"}
	}
	return plan, nil
}

func (m *Master) getPlan(c *server.Call) (any, error) { return m.findPlan(c, c.PathValue("id")) }

func (m *Master) getDiff(c *server.Call) (any, error) {
	q := c.URL.Query()
	from, err := m.findPlan(c, q.Get("from"))
	if err != nil {
		return nil, err
	}
	to, err := m.findPlan(c, q.Get("to"))
	if err != nil {
		return nil, err
	}
	d := api.Diff{From: from.ID, To: to.ID}
	a, b := steps(from), steps(to)
	for _, s := range a.order {
		switch other, ok := b.text[s]; {
		case !ok:
			d.Only = append(d.Only, a.text[s])
		case other != a.text[s]:
			d.Changed = append(d.Changed, a.text[s]+" → "+strings.TrimPrefix(other, s.String()+" "))
		}
	}
	for _, s := range b.order {
		if _, ok := a.text[s]; !ok {
			d.New = append(d.New, b.text[s])
		}
	}
	return d, nil
}

type stepTexts struct {
	order []spec.Slot
	text  map[spec.Slot]string
}

// steps says in a few words what a plan does to each slot.
func steps(p *spec.Plan) stepTexts {
	s := stepTexts{text: map[spec.Slot]string{}}
	for i := range p.Apps {
		for _, c := range p.Apps[i].Changes {
			text := c.Slot.String() + " " + string(c.Kind)
			if c.From != "" && c.From != c.Node {
				text += " from " + string(c.From)
			}
			if c.Node != "" {
				text += " on " + string(c.Node)
			}
			if old, ok := s.text[c.Slot]; ok {
				s.text[c.Slot] = old + ", " + strings.TrimPrefix(text, c.Slot.String()+" ")
				continue
			}
			s.order = append(s.order, c.Slot)
			s.text[c.Slot] = text
		}
	}
	return s
}
