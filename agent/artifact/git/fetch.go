// Package git fetches one commit of a repository for the helpers of package artifact, which alone use it: one writes the pack that a server sends
// into a file, another reads the files of the commit out of it. What is read is what the commit's hash says: every object is hashed, and found by
// its hash only. No program is run and no repository is made.
package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// Ask says which commit is wanted.
type Ask struct {
	URL    string // https or http
	Commit string // 40 hexadecimal digits; "": what Ref means now
	Ref    string // a branch or tag, or "" for the default branch; with Commit where to look for it if the server gives no single commits
	// User and Password, or Bearer, are who asks.
	User, Password, Bearer string
}

// Errors that another attempt does not change.
var (
	ErrDenied  = errors.New("the server does not let this node read it: name who may in the credentials of the node (stowage agent --registry-credentials)")
	ErrMissing = errors.New("there is no such repository, or this node may not see it")
	ErrNoRef   = errors.New("the repository has no branch or tag of that name")
)

// Fetch writes the pack with a commit and its files to w, and returns the commit. Where the server allows it nothing else is in it.
func Fetch(ctx context.Context, client *http.Client, a Ask, w io.Writer) (commit string, err error) {
	where, err := transport.NewEndpoint(a.URL)
	if err != nil {
		return "", err
	}
	var who transport.AuthMethod
	switch {
	case a.Bearer != "":
		who = &githttp.TokenAuth{Token: a.Bearer}
	case a.User != "" || a.Password != "":
		who = &githttp.BasicAuth{Username: a.User, Password: a.Password}
	}
	s, err := githttp.NewClient(client).NewUploadPackSession(where, who)
	if err != nil {
		return "", err
	}
	defer s.Close()
	offered, err := s.AdvertisedReferencesContext(ctx)
	if err != nil {
		return "", explain(err)
	}
	request, commit, err := choose(offered, a)
	if err != nil {
		return "", err
	}
	answer, err := s.UploadPack(ctx, request)
	if err != nil {
		return "", explain(err)
	}
	defer answer.Close()
	var pack io.Reader = answer
	switch {
	case request.Capabilities.Supports(capability.Sideband64k):
		pack = sideband.NewDemuxer(sideband.Sideband64k, answer)
	case request.Capabilities.Supports(capability.Sideband):
		pack = sideband.NewDemuxer(sideband.Sideband, answer)
	}
	if _, err := io.Copy(w, pack); err != nil {
		return "", err
	}
	return commit, nil
}

func explain(err error) error {
	switch {
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		return ErrDenied
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return ErrMissing
	}
	return err
}

// choose makes the request for a commit: for it alone where the server gives single ones, and else for all that it may be in.
func choose(offered *packp.AdvRefs, a Ask) (request *packp.UploadPackRequest, commit string, err error) {
	request = packp.NewUploadPackRequestFromCapabilities(offered.Capabilities)
	if offered.Capabilities.Supports(capability.NoProgress) {
		if err := request.Capabilities.Set(capability.NoProgress); err != nil {
			return nil, "", err
		}
	}
	tip, commit, found := find(offered, a)
	switch {
	case !found && a.Commit == "":
		return nil, "", fmt.Errorf("%w: %q", ErrNoRef, a.Ref)
	case found:
		request.Wants = []plumbing.Hash{tip}
	case offered.Capabilities.Supports(capability.AllowReachableSHA1InWant), offered.Capabilities.Supports(capability.AllowTipSHA1InWant):
		request.Wants = []plumbing.Hash{plumbing.NewHash(a.Commit)}
	default:
		return everything(offered, a, request)
	}
	if offered.Capabilities.Supports(capability.Shallow) {
		request.Depth = packp.DepthCommits(1)
		if err := request.Capabilities.Set(capability.Shallow); err != nil {
			return nil, "", err
		}
	}
	return request, commit, nil
}

// find looks for the commit among what is offered by name: tip is what to ask for, a tag or the commit itself.
func find(offered *packp.AdvRefs, a Ask) (tip plumbing.Hash, commit string, found bool) {
	if a.Commit != "" {
		want := plumbing.NewHash(a.Commit)
		for name, h := range offered.References {
			if h == want || offered.Peeled[name] == want {
				return h, a.Commit, true
			}
		}
		return plumbing.ZeroHash, a.Commit, false
	}
	if a.Ref == "" {
		if offered.Head == nil {
			return plumbing.ZeroHash, "", false
		}
		return *offered.Head, offered.Head.String(), true
	}
	for _, name := range named(a.Ref) {
		if h, ok := offered.References[name]; ok {
			commit := h
			if peeled, ok := offered.Peeled[name]; ok {
				commit = peeled
			}
			return h, commit.String(), true
		}
	}
	return plumbing.ZeroHash, "", false
}

// named are the full names that a branch or tag may have, as git looks for them.
func named(ref string) []string { return []string{"refs/tags/" + ref, "refs/heads/" + ref, ref} }

// everything asks for the whole history of the branch or tag, or of all of them.
func everything(offered *packp.AdvRefs, a Ask, request *packp.UploadPackRequest) (*packp.UploadPackRequest, string, error) {
	seen := map[plumbing.Hash]bool{}
	for name, h := range offered.References {
		wanted := strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/")
		if a.Ref != "" {
			wanted = slices.Contains(named(a.Ref), name)
		}
		if wanted && !seen[h] {
			seen[h] = true
			request.Wants = append(request.Wants, h)
		}
	}
	if len(request.Wants) == 0 {
		return nil, "", fmt.Errorf("%w: %q", ErrNoRef, a.Ref)
	}
	return request, a.Commit, nil
}
