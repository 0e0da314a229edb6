package control

import (
	"github.com/stowage/stowage/spec"
)

// refusals are the complaints about apps of a driver that weaken the isolation of their tasks though no allowance of the cluster lets
// them. People's own apps were judged when their files were read.
func refusals(cluster *spec.Cluster, x *spec.Expansion) []spec.Diagnostic {
	var out []spec.Diagnostic
	for _, app := range x.Apps {
		for i := range app.Tasks {
			refused, covering := spec.Refused(cluster.Allowances, app, &app.Tasks[i])
			for _, w := range refused {
				out = append(out, spec.Diagnostic{Severity: spec.SeverityError, Summary: "Not allowed", Pos: app.Pos, Context: "framework " + app.Framework,
					Detail: w.Refusal(app, covering)})
			}
		}
	}
	return out
}

// clusterOf is the cluster that a commit describes, among those that are looked at; nil: it is none of them any more.
func (c *Core) clusterOf(commit spec.Commit) *spec.Cluster {
	if k := c.candidate; k != nil && k.revision.Commit == commit {
		return k.revision.Cluster
	}
	if f := c.state.Following; f != nil && f.Revision.Commit == commit {
		return f.Revision.Cluster
	}
	return nil
}
