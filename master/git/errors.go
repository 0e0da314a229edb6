package git

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

// Kind says what is wrong with a repository, in one word.
type Kind string

// The kinds of errors.
const (
	Missing     Kind = "missing"     // no repository there, or none that we may see
	Empty       Kind = "empty"       // a repository without a commit
	NoBranch    Kind = "no branch"   // the branch that is followed does not exist
	NoRevision  Kind = "no revision" // no such branch, tag or commit
	Unsupported Kind = "unsupported" // a format that cannot be read
	Denied      Kind = "denied"      // the credentials are missing or wrong
	Untrusted   Kind = "untrusted"   // the server's key or certificate is not one to trust
	Unreachable Kind = "unreachable" // the server does not answer, or not in time
	Damaged     Kind = "damaged"     // objects are missing or not what they should be
	Full        Kind = "full"        // the disk of the store is full
	Locked      Kind = "locked"      // another process writes to the store
	Failed      Kind = "failed"      // anything else
)

// Error is what is wrong with a repository and what to do about it.
type Error struct {
	Kind   Kind
	Where  string // the repository, without credentials
	What   string // a sentence: what is wrong
	Remedy string // what to do about it; may be empty
	Err    error  // the cause; may be nil
}

// Error returns all of it in one line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "git repository %s: %s", e.Where, e.What)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	if e.Remedy != "" {
		fmt.Fprintf(&b, " (%s)", e.Remedy)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of an error of this package, Failed for one from elsewhere, and "" for nil.
func KindOf(err error) Kind {
	var e *Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &e):
		return e.Kind
	}
	return Failed
}

// errStalled is the cause when a server keeps a connection open and sends nothing.
var errStalled = errors.New("the server sent nothing for too long")

// explain gives an error from below its kind, its sentence and its remedy.
func (r *Repo) explain(err error) error {
	var known *Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	e := &Error{Kind: Failed, Where: r.where, What: "cannot be read", Err: err}
	var netErr net.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		e.Kind, e.What, e.Remedy = Denied, "the server wants other credentials", "check that the token or key is set, has not expired, and may read this repository"
	case errors.Is(err, transport.ErrRepositoryNotFound):
		e.Kind, e.What, e.Remedy = Missing, "the server knows no such repository", "check the address; many servers also say this when the credentials may not see it"
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return r.empty()
	case errors.As(err, &certificate):
		e.Kind, e.What, e.Remedy = Untrusted, "the server's certificate is not signed by anyone this machine trusts", "name the file with the certificate of its authority"
	case isFull(err):
		e.Kind, e.What, e.Remedy = Full, "no room to store what was fetched", "free some space; the next attempt goes on"
	case errors.Is(err, fs.ErrPermission) && !r.remote:
		e.Kind, e.What, e.Remedy = Denied, "this process may not read it", "give the user that runs the master the right to read the repository"
	case errors.Is(err, plumbing.ErrObjectNotFound), errors.Is(err, errCorrupt):
		e.Kind, e.What = Damaged, "objects are missing or broken"
		e.Remedy = "run `git fsck` there, and restore it from another clone"
		if r.remote {
			e.Remedy = "the store is made again from the remote by itself"
		}
	case errors.Is(err, errStalled), errors.As(err, &netErr), errors.Is(err, context.DeadlineExceeded):
		e.Kind, e.What, e.Remedy = Unreachable, "the server does not answer", "check the address, the network and the server; attempts go on"
	}
	return e
}

func (r *Repo) empty() error {
	return &Error{Kind: Empty, Where: r.where, What: "it has no commit yet", Remedy: "commit and push to " + r.branchText()}
}

func (r *Repo) branchText() string {
	if r.config.Branch == "" {
		return "its default branch"
	}
	return fmt.Sprintf("branch %q", r.config.Branch)
}

func isNotExist(err error) bool { return errors.Is(err, os.ErrNotExist) }
