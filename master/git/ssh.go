package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// sshSession talks to git-upload-pack over SSH. The library's own transport neither ends with a context nor notices a
// server that goes silent during the handshake.
type sshSession struct {
	conn    net.Conn
	client  *ssh.Client
	session *ssh.Session
	in      io.WriteCloser
	out     io.Reader
	said    *tail // what the server wrote for people
	unwatch func() bool
}

func (r *Repo) dialSSH(ctx context.Context, ep *transport.Endpoint) (session, error) {
	port := ep.Port
	if port == 0 {
		port = 22
	}
	addr := net.JoinHostPort(ep.Host, strconv.Itoa(port))
	config, done, err := r.sshConfig(ep, addr)
	if err != nil {
		return nil, err
	}
	defer done()
	d := &net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &sshSession{conn: &impatient{conn, r.config.Stall}, said: &tail{}}
	s.unwatch = context.AfterFunc(ctx, func() { conn.Close() })
	if err := s.start(addr, config, ep.Path); err != nil {
		s.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, r.explainSSH(err, addr, ep)
	}
	return s, nil
}

func (s *sshSession) start(addr string, config *ssh.ClientConfig, path string) error {
	c, chans, reqs, err := ssh.NewClientConn(s.conn, addr, config)
	if err != nil {
		return err
	}
	s.client = ssh.NewClient(c, chans, reqs)
	if s.session, err = s.client.NewSession(); err != nil {
		return err
	}
	if s.in, err = s.session.StdinPipe(); err != nil {
		return err
	}
	if s.out, err = s.session.StdoutPipe(); err != nil {
		return err
	}
	s.session.Stderr = s.said
	return s.session.Start("git-upload-pack " + quote(path))
}

// quote makes one word of a path for the shell at the other side.
func quote(s string) string {
	return "'" + strings.NewReplacer("'", `'\''`, "!", `'\!'`).Replace(s) + "'"
}

// AdvertisedReferencesContext reads what the server has.
func (s *sshSession) AdvertisedReferencesContext(ctx context.Context) (*packp.AdvRefs, error) {
	adv := packp.NewAdvRefs()
	err := adv.Decode(s.out)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, packp.ErrEmptyAdvRefs), err == nil && adv.IsEmpty():
		return nil, transport.ErrEmptyRemoteRepository
	case err == nil:
		transport.FilterUnsupportedCapabilities(adv.Capabilities)
		return adv, nil
	}
	s.in.Close()
	if s.session.Wait(); s.said.has("not appear to be a git repository", "not found", "does not exist", "no such") {
		return nil, fmt.Errorf("%w: %s", transport.ErrRepositoryNotFound, s.said)
	}
	if text := s.said.String(); text != "" {
		return nil, fmt.Errorf("the server says: %s", text)
	}
	return nil, err
}

// UploadPack asks for objects. Wants, haves and the end are sent at once; what comes back ends with the pack.
func (s *sshSession) UploadPack(ctx context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	if req.IsEmpty() {
		return nil, transport.ErrEmptyUploadPackRequest
	}
	if err := req.Validate(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err := req.UploadRequest.Encode(&b)
	if err == nil {
		err = req.UploadHaves.Encode(&b, false)
	}
	if err == nil {
		err = pktline.NewEncoder(&b).Encodef("done\n")
	}
	if err == nil {
		_, err = s.in.Write(b.Bytes())
	}
	if err == nil {
		err = s.in.Close()
	}
	if err != nil {
		return nil, err
	}
	res := packp.NewUploadPackResponse(req)
	if err := res.Decode(io.NopCloser(s.out)); err != nil {
		return nil, err
	}
	return res, ctx.Err()
}

// Close ends the connection, whatever state it is in.
func (s *sshSession) Close() error {
	s.unwatch()
	if s.session != nil {
		s.session.Close()
	}
	if s.client != nil {
		s.client.Close()
	}
	s.conn.Close()
	return nil
}

// sshConfig returns how to log in and which host keys to accept. done gives the agent's connection back.
func (r *Repo) sshConfig(ep *transport.Endpoint, addr string) (*ssh.ClientConfig, func(), error) {
	signers, done, err := r.signers()
	if err != nil {
		return nil, nil, err
	}
	user := ep.User
	if user == "" {
		user = "git"
	}
	config := &ssh.ClientConfig{User: user, Auth: []ssh.AuthMethod{ssh.PublicKeysCallback(signers)}}
	if err := r.hostKeys(config, addr); err != nil {
		done()
		return nil, nil, err
	}
	return config, done, nil
}

// signers returns the keys to log in with.
func (r *Repo) signers() (func() ([]ssh.Signer, error), func(), error) {
	none := func() {}
	if file := r.config.SSHKeyFile; file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, none, &Error{Kind: Denied, Where: r.where, What: "the private key cannot be read", Remedy: "make one with `ssh-keygen -t ed25519 -N '' -f " + file + "` and give its public half to the server", Err: err}
		}
		s, err := ssh.ParsePrivateKey(pem)
		if err != nil {
			return nil, none, &Error{Kind: Denied, Where: r.where, What: "the private key " + file + " cannot be used", Remedy: "use a key without a passphrase, or load it into an ssh-agent and set no key file", Err: err}
		}
		return func() ([]ssh.Signer, error) { return []ssh.Signer{s}, nil }, none, nil
	}
	socket := os.Getenv("SSH_AUTH_SOCK")
	if socket == "" {
		return nil, none, &Error{Kind: Denied, Where: r.where, What: "there is no key to log in with", Remedy: "set a private key file, or run an ssh-agent"}
	}
	c, err := net.DialTimeout("unix", socket, dialTimeout)
	if err != nil {
		return nil, none, &Error{Kind: Denied, Where: r.where, What: "the ssh-agent does not answer", Remedy: "start it, or set a private key file", Err: err}
	}
	return agent.NewClient(c).Signers, func() { c.Close() }, nil
}

// knownHosts returns the files to look for host keys in, and the one to add to.
func (r *Repo) knownHosts() (files []string, add string) {
	candidates := []string{r.config.KnownHostsFile}
	if r.config.KnownHostsFile == "" {
		candidates = []string{"/etc/ssh/ssh_known_hosts"}
		if home, err := os.UserHomeDir(); err == nil {
			candidates = append([]string{filepath.Join(home, ".ssh", "known_hosts")}, candidates...)
		}
	}
	for _, f := range candidates {
		if _, err := os.Stat(f); err == nil {
			files = append(files, f)
		}
	}
	return files, candidates[0]
}

// hostKeys makes config accept the keys of known_hosts and no other, and ask for the kinds of keys listed there: the
// server would otherwise offer its favourite, which may be another one than is known.
func (r *Repo) hostKeys(config *ssh.ClientConfig, addr string) error {
	files, add := r.knownHosts()
	db, err := knownhosts.NewDB(files...)
	if err != nil {
		return &Error{Kind: Untrusted, Where: r.where, What: "the list of known hosts cannot be read", Remedy: "correct " + strings.Join(files, ", "), Err: err}
	}
	config.HostKeyAlgorithms = db.HostKeyAlgorithms(addr)
	check := db.HostKeyCallback()
	config.HostKeyCallback = func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := check(host, remote, key)
		line := knownhosts.Line([]string{host}, key)
		switch print := ssh.FingerprintSHA256(key); {
		case err == nil:
			return nil
		case knownhosts.IsHostKeyChanged(err):
			return &Error{Kind: Untrusted, Where: r.where, What: fmt.Sprintf("the server shows another key than the known one (%s)", print),
				Remedy: fmt.Sprintf("somebody may be in between: ask the server's operator; if the key is theirs, replace the server's line in %s by: %s", add, line)}
		case knownhosts.IsHostUnknown(err):
			return &Error{Kind: Untrusted, Where: r.where, What: fmt.Sprintf("the server's key is not known (%s)", print),
				Remedy: fmt.Sprintf("compare it with what the server's operator says; if it is theirs, add this line to %s: %s", add, line)}
		}
		return err
	}
	return nil
}

// explainSSH gives errors of the handshake their kind.
func (r *Repo) explainSSH(err error, addr string, ep *transport.Endpoint) error {
	var known *Error
	text := err.Error()
	switch {
	case errors.As(err, &known):
		return known
	case strings.Contains(text, "no common algorithm for host key"):
		_, add := r.knownHosts()
		return &Error{Kind: Untrusted, Where: r.where, What: "the server has no key of the kinds that are known of it", Remedy: "ask its operator, and update its lines in " + add, Err: err}
	case strings.Contains(text, "unable to authenticate"):
		return &Error{Kind: Denied, Where: r.where, What: "the server does not accept the key", Remedy: "give the public half of the key to the server, with the right to read", Err: err}
	}
	return err
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailSize = 1 << 10

// Write takes p in.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if len(t.b) > tailSize {
		t.b = t.b[len(t.b)-tailSize:]
	}
	return len(p), nil
}

// String returns it in one line.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(strings.Fields(string(t.b)), " ")
}

func (t *tail) has(parts ...string) bool {
	text := strings.ToLower(t.String())
	for _, p := range parts {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}
