package master

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stowage/stowage/master/git"
	"github.com/stowage/stowage/plugins/host"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/hcl"
)

const (
	// keptRevisions are kept in memory: head, followed, waiting, and what people compare with.
	keptRevisions = 16
	// schemaTimeout is how long a framework driver may take to start and to tell its schema.
	schemaTimeout = 15 * time.Second
	// reloadAfter is when a commit is read again whose drivers did not answer.
	reloadAfter = 5 * time.Second
)

// revisions reads commits: what cluster they describe, and which programs they bring.
type revisions struct {
	repo *git.Repo
	path string
	host *host.Host

	parsing sync.Mutex // who holds it may use parsed
	parsed  *hcl.Cache // of the last load: the next commit is mostly the same

	mu       sync.Mutex
	kept     []spec.Revision        // newest last
	programs map[string]spec.Commit // where the programs of plugins that may run lie, by SHA-256
	trusted  []spec.Plugin          // of revisions of the followed branch: what previews may run
}

func newRevisions(repo *git.Repo, path string) *revisions {
	return &revisions{repo: repo, path: path, parsed: hcl.NewCache(), programs: map[string]spec.Commit{}}
}

// remember takes up what a term begins with, so that its plugins are found and nothing is read twice.
func (r *revisions) remember(s *control.State) {
	if s.Following != nil {
		r.keep(s.Following.Revision)
		r.trust(s.Following.Revision.Commit, s.Following.Revision.Cluster)
	}
	if s.Pending != nil {
		r.keep(s.Pending.Revision)
		r.trust(s.Pending.Revision.Commit, s.Pending.Revision.Cluster)
	}
}

func (r *revisions) keep(rev spec.Revision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = slices.DeleteFunc(r.kept, func(o spec.Revision) bool { return o.Commit == rev.Commit })
	if r.kept = append(r.kept, rev); len(r.kept) > keptRevisions {
		r.kept = slices.Delete(r.kept, 0, 1)
	}
}

func (r *revisions) trust(commit spec.Commit, cluster *spec.Cluster) {
	if cluster == nil {
		return
	}
	for _, p := range cluster.Plugins {
		r.allow(commit, p)
	}
}

func (r *revisions) allow(commit spec.Commit, p spec.Plugin) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.programs[p.SHA256] = commit
	if !r.knows(p) {
		r.trusted = append(r.trusted, p)
	}
}

// knows reports whether the followed branch has this very plugin. The lock is held.
func (r *revisions) knows(p spec.Plugin) bool {
	return slices.ContainsFunc(r.trusted, func(o spec.Plugin) bool {
		return o.Name == p.Name && o.Kind == p.Kind && o.Command == p.Command && o.SHA256 == p.SHA256 && slices.Equal(o.Args, p.Args)
	})
}

// read returns what a commit describes. With followed, the commit belongs to the followed branch and its plugins may
// run. transient says that reading it again later may give another answer.
func (r *revisions) read(ctx context.Context, c git.Commit, followed bool) (rev spec.Revision, transient bool) {
	r.mu.Lock()
	i := slices.IndexFunc(r.kept, func(o spec.Revision) bool { return o.Commit == spec.Commit(c.Hash) })
	if i >= 0 {
		rev = r.kept[i]
	}
	r.mu.Unlock()
	if i >= 0 {
		return rev, false
	}
	rev = spec.Revision{Commit: spec.Commit(c.Hash), Subject: c.Subject, Author: c.Author, Time: spec.TimeOf(c.Time)}
	tree, err := r.repo.Tree(c.Hash)
	if err != nil {
		rev.Diagnostics = []spec.Diagnostic{{Severity: spec.SeverityError, Summary: "Commit cannot be read", Detail: err.Error() + "."}}
		return rev, true
	}
	rev.Cluster, rev.Diagnostics, transient = r.load(ctx, tree, func(p spec.Plugin) bool {
		if followed {
			r.allow(rev.Commit, p)
		}
		return followed
	})
	if followed {
		r.trust(rev.Commit, rev.Cluster)
	}
	if !transient {
		r.keep(rev)
	}
	return rev, transient
}

// load reads a tree. may says whether a plugin that the followed branch does not have may run.
func (r *revisions) load(ctx context.Context, tree fs.FS, may func(spec.Plugin) bool) (cluster *spec.Cluster, ds []spec.Diagnostic, transient bool) {
	ctx, cancel := context.WithTimeout(ctx, schemaTimeout)
	defer cancel()
	schemas := func(p spec.Plugin) (*spec.Schema, error) {
		r.mu.Lock()
		known := r.knows(p)
		r.mu.Unlock()
		if !known && !may(p) {
			transient = true
			return nil, errors.New("this plugin is not in the revision that is followed, and a preview runs no program that nobody approved: commit the plugin block first, then plan what uses it")
		}
		s, err := r.host.Framework(p).Schema(ctx)
		if err != nil {
			transient = true
			return nil, err
		}
		return &s, nil
	}
	options := hcl.Options{Path: r.path, Schemas: schemas}
	if r.parsing.TryLock() { // a load beside another one parses all by itself
		options.Cache = r.parsed
		defer r.parsing.Unlock()
	}
	cluster, ds = hcl.Load(tree, options)
	if cluster != nil && len(cluster.Sync.SignedBy) > 0 {
		// Failing closed: whoever asks for signatures must not get commits without.
		ds = append(ds, spec.Diagnostic{Severity: spec.SeverityError, Summary: "Signatures cannot be verified", Pos: cluster.Pos,
			Detail: "This version of the master does not verify signatures of commits, so it does not follow a cluster that asks for them. Remove signed_by, and protect the branch where it is pushed."})
		cluster = nil
	}
	return cluster, ds, transient
}

// program opens the program of a plugin: from the commit that named it, or from this machine.
func (r *revisions) program(p spec.Plugin) (io.ReadCloser, error) {
	if strings.HasPrefix(p.Command, "/") {
		return os.Open(filepath.Clean(p.Command))
	}
	r.mu.Lock()
	commit, ok := r.programs[p.SHA256]
	r.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("no commit is known that holds %s", p.Command)
	}
	tree, err := r.repo.Tree(string(commit))
	if err != nil {
		return nil, err
	}
	return tree.Open(strings.TrimPrefix(p.Command, "./"))
}

// follow passes each new head of the branch to the core, until ctx ends. Reading goes on beside watching: what was
// overtaken while another commit was read is not read at all.
func (t *term) follow(ctx context.Context) {
	heads := make(chan git.Commit, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { t.readHeads(ctx, heads) })
	var last, trouble string
	// Its error is the end of ctx, or what the function returns, which is the same.
	_ = t.master.repo.Follow(ctx, func(h git.Head) error {
		contact := control.SourceContact{}
		if h.Err != nil {
			contact.Err = h.Err.Error()
		}
		if contact.Err != trouble { // once, not at every try
			if trouble = contact.Err; trouble != "" {
				t.master.config.Log.Warn("the repository cannot be read; what was read last stays", "error", h.Err)
			} else {
				t.master.config.Log.Info("the repository can be read again")
			}
		}
		if err := t.post(ctx, message{event: contact}); err != nil || h.Commit.Hash == "" || h.Commit.Hash == last {
			return err
		}
		last = h.Commit.Hash
		select {
		case <-heads:
		default:
		}
		heads <- h.Commit
		return nil
	})
}

// readHeads reads commits and tells the core.
func (t *term) readHeads(ctx context.Context, heads <-chan git.Commit) {
	var again <-chan time.Time
	var head git.Commit
	for {
		select {
		case head = <-heads:
		case <-again:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		rev, transient := t.master.revisions.read(ctx, head, true)
		t.master.metrics.load(time.Since(began))
		again = nil
		if transient {
			again = time.After(reloadAfter)
		}
		ev := control.RevisionSeen{Revision: rev, Behind: t.behind(head.Hash)}
		t.head.Store(&ev)
		if t.post(ctx, message{event: ev}) != nil {
			return
		}
	}
}

// behind counts the commits from the followed revision to this one; 0 when that cannot be told.
func (t *term) behind(hash string) int {
	from := t.master.machine.following()
	if from == "" || string(from) == hash {
		return 0
	}
	ahead, _, err := t.master.repo.Distance(string(from), hash)
	if err != nil {
		return 0
	}
	return ahead
}
