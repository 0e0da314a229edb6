package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

const (
	// maxHaves is how many commits the server is told that we have: enough to find common ground after a forced push.
	maxHaves = 256
	// maxRefs bounds the references taken from a server.
	maxRefs = 100_000
)

// session is one conversation with a server: what it has, then what we want of it.
type session interface {
	AdvertisedReferencesContext(context.Context) (*packp.AdvRefs, error)
	UploadPack(context.Context, *packp.UploadPackRequest) (*packp.UploadPackResponse, error)
	Close() error
}

// fetch brings the store up to the remote: every branch and tag, also moved ones, and removes what is gone there.
func (r *Repo) fetch(ctx context.Context) error {
	r.fetching.Lock()
	defer r.fetching.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, r.config.FetchLimit)
	defer cancel()
	err := r.explain(r.exchange(limited))
	if KindOf(err) == Damaged && r.mirror.objects() != nil {
		r.log.Warn("git store is damaged and made again", "repository", r.where, "error", err)
		r.mirror.giveUp()
		err = r.explain(r.exchange(limited))
	}
	if err == nil {
		r.touch()
	}
	return err
}

func (r *Repo) exchange(ctx context.Context) (err error) {
	s, err := r.dial(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := s.Close(); err == nil && cerr != nil && !errors.Is(cerr, io.EOF) {
			r.log.Debug("git session closed", "repository", r.where, "error", cerr)
		}
	}()
	adv, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		return err
	}
	refs, err := wanted(adv)
	if err != nil {
		return err
	}
	if len(refs) == 0 {
		return transport.ErrEmptyRemoteRepository
	}
	store, fresh, err := r.mirror.begin()
	if err != nil {
		return err
	}
	have, err := store.refs()
	if err != nil {
		return err
	}
	head := defaultBranch(adv, refs)
	if !fresh && maps.Equal(have, refs) && "refs/heads/"+headBranch(store.dir) == head {
		return r.verify(store)
	}
	req, err := request(adv, refs, have, store)
	if err != nil {
		return err
	}
	if len(req.Wants) > 0 {
		if err := r.receive(ctx, s, store, req); err != nil {
			return errors.Join(err, tidy(store.dir.git))
		}
	}
	if err := store.check(refs); err != nil {
		return err
	}
	return r.mirror.take(store, fresh, refs, head)
}

// verify makes sure that the followed commit can still be read from the store.
func (r *Repo) verify(store *objects) error {
	if _, err := r.head(store); KindOf(err) == Damaged {
		return err
	}
	return nil
}

// wanted picks branches and tags, and refuses names that do not belong into a file of references.
func wanted(adv *packp.AdvRefs) (map[string]plumbing.Hash, error) {
	refs := map[string]plumbing.Hash{}
	for name, h := range adv.References {
		if !strings.HasPrefix(name, "refs/heads/") && !strings.HasPrefix(name, "refs/tags/") {
			continue
		}
		if err := plumbing.ReferenceName(name).Validate(); err != nil || strings.ContainsAny(name, " \t\r\n\x00") {
			return nil, fmt.Errorf("the server names a reference %q: %w", name, errCorrupt)
		}
		if len(refs) >= maxRefs {
			return nil, fmt.Errorf("the server has more than %d branches and tags", maxRefs)
		}
		refs[name] = h
	}
	return refs, nil
}

// defaultBranch returns the reference that the server's HEAD stands for, "" where it does not tell.
func defaultBranch(adv *packp.AdvRefs, refs map[string]plumbing.Hash) string {
	for _, v := range adv.Capabilities.Get(capability.SymRef) {
		if target, ok := strings.CutPrefix(v, "HEAD:"); ok && strings.HasPrefix(target, "refs/heads/") && plumbing.ReferenceName(target).Validate() == nil {
			return target
		}
	}
	if adv.Head != nil {
		for _, name := range []string{"refs/heads/main", "refs/heads/master"} {
			if refs[name] == *adv.Head {
				return name
			}
		}
	}
	return ""
}

// request asks for what the references name and the store does not have. What the store's own references name is there
// with all that belongs to it; an object that merely exists may be the rest of a fetch that was cut short.
func request(adv *packp.AdvRefs, refs, have map[string]plumbing.Hash, store *objects) (*packp.UploadPackRequest, error) {
	req := packp.NewUploadPackRequestFromCapabilities(adv.Capabilities)
	if adv.Capabilities.Supports(capability.NoProgress) {
		if err := req.Capabilities.Set(capability.NoProgress); err != nil {
			return nil, err
		}
	}
	known := map[plumbing.Hash]bool{}
	for _, h := range have {
		known[h] = true
	}
	asked := map[plumbing.Hash]bool{}
	for _, h := range refs {
		if !known[h] && !asked[h] {
			asked[h] = true
			req.Wants = append(req.Wants, h)
		}
	}
	req.Haves = store.recent(have, maxHaves)
	return req, nil
}

// recent returns what references name, and then their newest ancestors, up to a limit.
func (o *objects) recent(refs map[string]plumbing.Hash, limit int) []plumbing.Hash {
	var out, next []plumbing.Hash
	seen := map[plumbing.Hash]bool{}
	for _, h := range refs {
		next = append(next, h)
	}
	for len(next) > 0 && len(out) < limit {
		h := next[0]
		next = next[1:]
		if seen[h] {
			continue
		}
		seen[h] = true
		c, err := o.commit(h)
		if err != nil {
			continue // a tag's object, or damage, which shows itself elsewhere
		}
		out = append(out, h)
		next = append(next, c.ParentHashes...)
	}
	return out
}

// receive asks for the objects and writes them to the store.
func (r *Repo) receive(ctx context.Context, s session, store *objects, req *packp.UploadPackRequest) error {
	res, err := s.UploadPack(ctx, req)
	if errors.Is(err, transport.ErrEmptyUploadPackRequest) {
		return nil
	}
	if err != nil {
		return err
	}
	defer res.Close()
	var pack io.Reader = res
	switch {
	case req.Capabilities.Supports(capability.Sideband64k):
		pack = sideband.NewDemuxer(sideband.Sideband64k, res)
	case req.Capabilities.Supports(capability.Sideband):
		pack = sideband.NewDemuxer(sideband.Sideband, res)
	}
	// The reader's own error matters: the library reports a connection that ended as a malformed pack.
	from := &cause{ctx: ctx, r: pack}
	if err := receive(store, from); err != nil {
		if from.err != nil {
			return fmt.Errorf("receive objects: %w", from.err)
		}
		return fmt.Errorf("write objects: %w", err)
	}
	return nil
}

// cause remembers why reading ended before its end.
type cause struct {
	ctx context.Context
	r   io.Reader
	err error
}

// Read reads on unless the context has ended.
func (c *cause) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if ended := c.ctx.Err(); ended != nil {
		err = ended
	}
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// check makes sure that what references name is there.
func (o *objects) check(refs map[string]plumbing.Hash) error {
	for name, h := range refs {
		if _, err := o.read(plumbing.AnyObject, h); err != nil {
			return fmt.Errorf("after fetching %s: %w", name, err)
		}
	}
	return nil
}

// refs returns the references of a store.
func (o *objects) refs() (map[string]plumbing.Hash, error) {
	out := map[string]plumbing.Hash{}
	b, err := os.ReadFile(filepath.Join(o.dir.git, "packed-refs"))
	if isNotExist(err) {
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		hash, name, ok := strings.Cut(strings.TrimSpace(line), " ")
		if ok && plumbing.IsHash(hash) {
			out[name] = plumbing.NewHash(hash)
		}
	}
	return out, nil
}
