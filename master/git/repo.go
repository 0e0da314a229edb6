package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

// Defaults of Config.
const (
	// DefaultPollLocal: watching tells at once, this is for file systems that do not tell. It costs one small file read.
	DefaultPollLocal = 2 * time.Second
	// DefaultPollRemote: a new commit is seen after 8 s on average; others wait 120 s or more.
	DefaultPollRemote = 15 * time.Second
	// DefaultStall: Git servers send a sign of life every 5 s while they prepare a pack.
	DefaultStall = 30 * time.Second
	// DefaultFetchLimit bounds a whole fetch, also one that drips.
	DefaultFetchLimit = 30 * time.Minute
)

const shortLength = 8 // of an abbreviated hash

// Config says which branch of which repository to follow. URL is required; StoreDir too where the URL is not local.
type Config struct {
	URL      string // a path, file://, https://, http://, ssh:// or user@host:path
	Branch   string // empty for the repository's default branch
	StoreDir string // where a mirror of a remote repository is kept

	Token     string // sent as password over https
	TokenFile string // read before every fetch instead of Token, so that it can be renewed
	TokenUser string // the user sent with the token; "git" by default
	CAFile    string // certificates to trust besides the system's

	SSHKeyFile     string // private key; by default the agent at SSH_AUTH_SOCK is asked
	KnownHostsFile string // by default those of OpenSSH, of the user and of the system

	Poll       time.Duration // between looks at the repository
	Stall      time.Duration // how long a server may be silent
	FetchLimit time.Duration // how long a fetch may take

	Log *slog.Logger // nil for quiet
}

// Commit is what is told about a commit.
type Commit struct {
	Hash    string // 40 hexadecimal digits
	Short   string // its first 8
	Subject string // the first line of the message
	Author  string // name and address
	Time    time.Time
	Parents []string
}

// Repo is one repository that is followed. Its methods may be called from any goroutine.
type Repo struct {
	config Config
	remote bool
	path   string // of a local repository
	where  string // the URL without credentials
	log    *slog.Logger
	poke   chan struct{}

	fetching sync.Mutex // one fetch at a time
	mirror   *mirror    // of a remote repository

	mu      sync.Mutex
	local   *objects // of a local repository, once found
	contact time.Time
}

// Open checks config and, for a remote repository, opens or makes the store. Whether the repository is there is a
// question for Follow, which goes on asking.
func Open(ctx context.Context, config Config) (*Repo, error) {
	r := &Repo{config: config, log: config.Log, poke: make(chan struct{}, 1)}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := r.address(); err != nil {
		return nil, err
	}
	setDefault(&r.config.Stall, DefaultStall)
	setDefault(&r.config.FetchLimit, DefaultFetchLimit)
	if !r.remote {
		setDefault(&r.config.Poll, DefaultPollLocal)
		return r, nil
	}
	setDefault(&r.config.Poll, DefaultPollRemote)
	if config.StoreDir == "" {
		return nil, &Error{Kind: Failed, Where: r.where, What: "a remote repository needs a directory to be mirrored into", Remedy: "set the store directory"}
	}
	m, err := openMirror(config.StoreDir, r.where)
	if err != nil {
		return nil, r.explain(err)
	}
	r.mirror = m
	return r, nil
}

func setDefault(d *time.Duration, to time.Duration) {
	if *d <= 0 {
		*d = to
	}
}

// address finds out whether the URL is local, and what of it may be shown.
func (r *Repo) address() error {
	raw := r.config.URL
	if raw == "" {
		return errors.New("open git repository: no address given")
	}
	ep, err := transport.NewEndpoint(raw)
	if err != nil {
		return &Error{Kind: Failed, Where: redact(raw), What: "the address cannot be understood", Remedy: "give a path, https://host/path, ssh://user@host/path or user@host:path", Err: err}
	}
	r.where = redact(raw)
	switch ep.Protocol {
	case "file":
		r.path, err = filepath.Abs(ep.Path)
		r.where = r.path
		return err
	case "https", "http", "ssh":
		r.remote = true
		return nil
	}
	return &Error{Kind: Unsupported, Where: r.where, What: fmt.Sprintf("the protocol %s:// is not supported", ep.Protocol), Remedy: "use https:// or ssh://; the git protocol has neither secrecy nor proof of who answers"}
}

// redact removes a password from an address.
func redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.User == nil || u.Host == "" {
		return raw
	}
	if _, has := u.User.Password(); has || u.Scheme != "ssh" {
		u.User = url.User(u.User.Username())
		if u.Scheme != "ssh" {
			u.User = nil
		}
	}
	return u.String()
}

// Close gives the store back. Trees handed out before remain readable.
func (r *Repo) Close() error {
	if r.mirror == nil {
		return nil
	}
	return r.mirror.close()
}

// Poke makes Follow look at once, as a web hook would.
func (r *Repo) Poke() {
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

// LastContact is when the repository could last be read, zero for never.
func (r *Repo) LastContact() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.contact
}

func (r *Repo) touch() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.contact = time.Now()
}

// objects returns where to read objects and references from.
func (r *Repo) objects() (*objects, error) {
	if r.remote {
		o := r.mirror.objects()
		if o == nil {
			return nil, &Error{Kind: Unreachable, Where: r.where, What: "nothing has been fetched yet"}
		}
		return o, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.local != nil && r.local.dir.same() {
		return r.local, nil
	}
	r.local = nil
	dir, err := findGitDir(r.path)
	if err != nil {
		return nil, r.explainLocal(err)
	}
	r.local = newObjects(dir)
	if err := r.supported(r.local); err != nil {
		r.local = nil
		return nil, err
	}
	return r.local, nil
}

func (r *Repo) explainLocal(err error) error {
	if !isNotExist(err) {
		return r.explain(err)
	}
	e := &Error{Kind: Missing, Where: r.where, What: "there is no repository", Remedy: "`git init` or `git clone` there; it is taken up as soon as it exists"}
	if _, serr := os.Stat(r.path); serr == nil {
		e.What = "the folder is there, but it is no repository"
	}
	return e
}

// supported refuses formats that would be misread.
func (r *Repo) supported(o *objects) error {
	cfg, err := o.config()
	if err != nil {
		return &Error{Kind: Damaged, Where: r.where, What: "its config file cannot be read", Remedy: "correct " + filepath.Join(o.dir.common, "config"), Err: err}
	}
	ext := cfg.Raw.Section("extensions")
	if v := ext.Option("refstorage"); v != "" && !strings.EqualFold(v, "files") {
		return &Error{Kind: Unsupported, Where: r.where, What: fmt.Sprintf("its references are stored as %q", v), Remedy: "run `git refs migrate --ref-format=files` there"}
	}
	if v := ext.Option("objectformat"); v != "" && !strings.EqualFold(v, "sha1") {
		return &Error{Kind: Unsupported, Where: r.where, What: fmt.Sprintf("its objects are named by %s", v), Remedy: "use a repository with SHA-1 names: `git init --object-format=sha1`"}
	}
	return nil
}

// head returns the commit the followed branch points to.
func (r *Repo) head(o *objects) (Commit, error) {
	name := plumbing.HEAD
	if r.config.Branch != "" {
		name = plumbing.NewBranchReferenceName(r.config.Branch)
	}
	h, err := o.ref(name)
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		branches, berr := o.branches()
		if berr != nil {
			return Commit{}, r.explain(berr)
		}
		if len(branches) == 0 {
			return Commit{}, r.empty()
		}
		return Commit{}, &Error{Kind: NoBranch, Where: r.where, What: "it has no " + r.branchText(), Remedy: "push that branch, or follow one of: " + someOf(branches)}
	}
	if err != nil {
		return Commit{}, r.explain(err)
	}
	c, err := o.complete(h)
	if err != nil {
		return Commit{}, r.explain(err)
	}
	return commitOf(c), nil
}

// someOf lists names, but not hundreds.
func someOf(names []string) string {
	const most = 8
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}

func commitOf(c *object.Commit) Commit {
	subject, _, _ := strings.Cut(strings.TrimLeft(c.Message, "\n"), "\n")
	out := Commit{
		Hash: c.Hash.String(), Short: c.Hash.String()[:shortLength], Subject: strings.TrimSpace(subject),
		Author: strings.TrimSpace(c.Author.Name + " <" + c.Author.Email + ">"), Time: c.Committer.When,
	}
	for _, p := range c.ParentHashes {
		out.Parents = append(out.Parents, p.String())
	}
	return out
}

// Resolve finds the commit that ref names: a full hash, a branch, a tag, HEAD, or the beginning of a hash (at least four
// digits) that only one commit has. For a remote repository it fetches once if ref is not known yet.
func (r *Repo) Resolve(ctx context.Context, ref string) (Commit, error) {
	c, err := r.resolve(ref)
	if kind := KindOf(err); r.remote && (kind == NoRevision || kind == Unreachable) {
		if ferr := r.fetch(ctx); ferr != nil {
			return Commit{}, ferr
		}
		c, err = r.resolve(ref)
	}
	return c, err
}

func (r *Repo) resolve(ref string) (Commit, error) {
	o, err := r.objects()
	if err != nil {
		return Commit{}, err
	}
	h, err := o.revision(ref)
	if errors.Is(err, errNoRevision) {
		if err == errNoRevision {
			err = nil // adds nothing
		}
		return Commit{}, &Error{Kind: NoRevision, Where: r.where, What: fmt.Sprintf("%q names no commit", ref), Remedy: "give a branch, a tag or a commit's hash that has been pushed", Err: err}
	}
	if err != nil {
		return Commit{}, r.explain(err)
	}
	c, err := o.commit(h)
	if err != nil {
		return Commit{}, r.explain(err)
	}
	return commitOf(c), nil
}

// Tree returns what a commit holds. It reads nothing but the commit until asked, and stays readable for as long as the
// repository has the commit. Besides fs.FS it is an fs.ReadDirFS, fs.ReadFileFS, fs.StatFS and fs.ReadLinkFS; Sys of a
// file's info is its Blob.
func (r *Repo) Tree(hash string) (fs.FS, error) {
	o, err := r.objects()
	if err != nil {
		return nil, err
	}
	if !plumbing.IsHash(hash) {
		return nil, fmt.Errorf("read tree of %q: not the full hash of a commit", hash)
	}
	c, err := o.commit(plumbing.NewHash(hash))
	if err != nil {
		return nil, r.explain(err)
	}
	return &tree{objects: o, root: c.TreeHash, time: c.Committer.When}, nil
}
