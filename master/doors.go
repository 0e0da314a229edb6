package master

import (
	"archive/tar"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/pprof"
	"path"
	"strings"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/server"
	"github.com/stowage/stowage/master/git"
	"github.com/stowage/stowage/master/identity"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// doors are the routes about who may come in, what agents fetch, and what machines read.
func (m *Master) doors() map[string]server.Handler {
	return map[string]server.Handler{
		"tokens": server.JSON(m.getTokens), "createToken": m.createToken, "revokeToken": server.JSON(m.revokeToken),
		"join": server.Body(m.join), "renew": server.Body(m.renew), "repository": m.repository,
		"openapi": func(w http.ResponseWriter, _ *server.Call) error {
			w.Header().Set("Content-Type", "application/json")
			_, err := w.Write(api.OpenAPI())
			return stop(err)
		},
		"health": m.health, "metrics": m.getMetrics,
	}
}

func tokenView(t identity.Token) api.Token {
	return api.Token{ID: t.ID, Kind: string(t.Kind), Name: t.Name, Created: t.Created, Expires: t.Expires}
}

func (m *Master) getTokens(*server.Call) (any, error) {
	list := []api.Token{}
	for _, t := range m.tokens.List() {
		list = append(list, tokenView(t))
	}
	return list, nil
}

func (m *Master) createToken(w http.ResponseWriter, c *server.Call) error {
	q, err := server.Read[api.TokenRequest](c)
	if err != nil {
		return err
	}
	kind := identity.Kind(q.Kind)
	var ttl spec.Duration
	switch {
	case q.TTL == "" && kind == identity.Agent:
		ttl = identity.DefaultJoinTTL
	case q.TTL == "", q.TTL == "never":
	default:
		if ttl, err = spec.ParseDuration(q.TTL); err != nil || ttl == 0 {
			return badRequest(fmt.Sprintf("%q is no life time", q.TTL), `write it as "12h" or "30d", or "never"`)
		}
	}
	if kind != identity.Operator && kind != identity.Reader && kind != identity.Agent {
		return badRequest(fmt.Sprintf("%q is no kind of token", q.Kind), "use operator, reader or agent")
	}
	secret, token, err := m.tokens.Create(kind, q.Name, ttl)
	if err != nil {
		return &api.Error{Status: http.StatusUnprocessableEntity, Message: err.Error()}
	}
	m.config.Log.Info("token created", "who", c.Who, "token", token.ID, "kind", token.Kind)
	answer := api.NewToken{Token: tokenView(token), Secret: secret}
	if kind == identity.Agent {
		answer.Join = identity.JoinToken(m.authority.Fingerprint(), secret)
		answer.Link = m.config.reached(m.listenLink.Addr())
	}
	return server.Reply(w, http.StatusCreated, answer)
}

func (m *Master) revokeToken(c *server.Call) (any, error) {
	ok, err := m.tokens.Revoke(c.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, notFound("token", c.PathValue("id"), "see stowage token ls")
	}
	m.config.Log.Info("token revoked", "who", c.Who, "token", c.PathValue("id"))
	return api.Applied{}, nil
}

// join gives an agent with a token its first certificate.
func (m *Master) join(c *server.Call, q api.JoinRequest) (any, error) {
	if err := m.free(c, q.Node); err != nil {
		m.config.Log.Warn("join refused", "node", q.Node, "who", c.Who, "error", err)
		return nil, err
	}
	return m.sign(c, q.Node, q.CSR)
}

// free returns an error while the name of a node belongs to an agent that is in touch, or was a moment ago. One that has
// lost its disk may join again once it is unknown.
func (m *Master) free(c *server.Call, node spec.NodeID) error {
	taken := m.link.Linked(node)
	if m.term.Load() != nil {
		err := m.look(c.Context(), func(core *control.Core) {
			n, ok := core.Node(node)
			taken = taken || ok && n.State != spec.NodeUnknown && n.State != spec.NodeDown
		})
		if err != nil {
			return err
		}
	} else if m.machine.joined(node) {
		return m.unavailable(errNoTerm) // nobody watches the node at the moment
	}
	if !taken {
		return nil
	}
	return &api.Error{Status: http.StatusConflict, Message: fmt.Sprintf("there is a node %s already, and its agent is in touch", node),
		Remedy: fmt.Sprintf("choose another name with --node, or stop the agent of that node and join %s later", spec.NodeUnknownAfter)}
}

// renew gives an agent its next certificate. It is for the node that asks, whatever the request says.
func (m *Master) renew(c *server.Call, q api.JoinRequest) (any, error) {
	if q.Node != "" && q.Node != c.Node {
		return nil, &api.Error{Status: http.StatusForbidden, Message: fmt.Sprintf("the certificate is that of %s, not of %s", c.Node, q.Node), Remedy: "join with a token to take another name"}
	}
	return m.sign(c, c.Node, q.CSR)
}

func (m *Master) sign(c *server.Call, node spec.NodeID, csr string) (any, error) {
	cert, err := m.authority.SignAgent(node, csr)
	if err != nil {
		return nil, badRequest(err.Error(), "send node and csr, a PEM certificate request with an ECDSA P-256 key")
	}
	m.config.Log.Info("certificate signed", "node", node, "who", c.Who)
	return api.JoinAnswer{Certificate: cert, CA: m.authority.PEM(), Link: m.config.reached(m.listenLink.Addr())}, nil
}

// repository sends a file or folder of a commit as a tar archive. A single file is called ".".
func (m *Master) repository(w http.ResponseWriter, c *server.Call) error {
	name := path.Clean(c.PathValue("path"))
	if !fs.ValidPath(name) {
		return badRequest(fmt.Sprintf("%q is no path in a repository", c.PathValue("path")), "")
	}
	tree, err := m.repo.Tree(c.PathValue("commit"))
	if err != nil {
		status := http.StatusNotFound
		if k := git.KindOf(err); k == git.Damaged || k == git.Failed {
			status = http.StatusInternalServerError
		}
		return &api.Error{Status: status, Message: err.Error()}
	}
	info, err := fs.Stat(tree, name)
	if err != nil {
		return notFound("file", name, "look at commit "+spec.Commit(c.PathValue("commit")).Short())
	}
	flow := server.NewFlow(w, "application/x-tar")
	out := tar.NewWriter(flow)
	if info.IsDir() {
		err = archive(out, tree, name)
	} else {
		err = archiveFile(out, tree, name, ".", info)
	}
	if err == nil {
		err = out.Close()
	}
	if err != nil {
		// The archive lacks its end, which is how the reader knows.
		m.config.Log.Warn("archive cut short", "path", name, "error", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

// archive writes a folder with all that is below it.
func archive(out *tar.Writer, tree fs.FS, root string) error {
	return fs.WalkDir(tree, root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := "."
		if p != root {
			name = strings.TrimPrefix(p, root+"/")
		}
		info, err := d.Info()
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return out.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755})
		case d.Type()&fs.ModeSymlink != 0:
			target, err := fs.ReadLink(tree, p)
			if err != nil {
				return err
			}
			return out.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777})
		}
		return archiveFile(out, tree, p, name, info)
	})
}

func archiveFile(out *tar.Writer, tree fs.FS, p, name string, info fs.FileInfo) error {
	mode := int64(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	if err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: mode}); err != nil {
		return err
	}
	f, err := tree.Open(p)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, f)
	return errors.Join(err, f.Close())
}

func (m *Master) health(w http.ResponseWriter, _ *server.Call) error {
	t := m.trouble.Load()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if m.term.Load() == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, err := fmt.Fprintln(w, cmp.Or(string(t.phase), "ok"))
	return stop(err)
}

// profiles serves pprof to operators when that was asked for.
func (m *Master) profiles() map[string]server.Handler {
	if !m.config.Profile {
		return nil
	}
	wrap := func(f http.HandlerFunc) server.Handler {
		return func(w http.ResponseWriter, c *server.Call) error { f(w, c.Request); return nil }
	}
	return map[string]server.Handler{
		"GET /debug/pprof/": wrap(pprof.Index), "GET /debug/pprof/profile": wrap(pprof.Profile),
		"GET /debug/pprof/trace": wrap(pprof.Trace), "GET /debug/pprof/symbol": wrap(pprof.Symbol),
	}
}
