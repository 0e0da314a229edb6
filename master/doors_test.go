package master_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/client"
	"github.com/stowage/stowage/master/identity"
	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/hcl"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// as returns a client with another token.
func (c *cluster) as(t testing.TB, token string) *client.Client {
	t.Helper()
	cred, err := identity.ReadCredentials(c.ready.Credentials)
	if err != nil {
		t.Fatal(err)
	}
	other, err := client.New(client.Credentials{Address: cred.Address, CA: cred.CA, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return other
}

func statusOf(err error) int {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

func TestWhoMayDoWhat(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": manual(header)})
	ctx := t.Context()
	make := func(kind string) (api.NewToken, *client.Client) {
		token, err := c.client.CreateToken(ctx, api.TokenRequest{Kind: kind, Name: kind})
		if err != nil {
			t.Fatal(err)
		}
		return *token, c.as(t, token.Secret)
	}
	readerToken, reader := make("reader")
	_, agent := make("agent")
	if _, err := reader.Status(ctx); err != nil {
		t.Errorf("a reader cannot read: %v", err)
	}
	if _, err := reader.Apply(ctx, api.ApplyRequest{ID: "p-1"}); statusOf(err) != http.StatusForbidden {
		t.Errorf("a reader applies: %v", err)
	}
	if _, err := reader.CreateToken(ctx, api.TokenRequest{Kind: "operator"}); statusOf(err) != http.StatusForbidden {
		t.Errorf("a reader makes a token: %v", err)
	}
	if _, err := agent.Status(ctx); statusOf(err) != http.StatusForbidden {
		t.Errorf("a join token reads: %v", err)
	}
	for _, bad := range []string{"", "stw_operator_x", readerToken.Secret + "x"} {
		if _, err := c.as(t, bad).Status(ctx); statusOf(err) != http.StatusUnauthorized {
			t.Errorf("token %q: %v", bad, err)
		}
	}
	if _, err := c.client.RevokeToken(ctx, readerToken.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := reader.Status(ctx); statusOf(err) != http.StatusUnauthorized {
		t.Errorf("a revoked token reads: %v", err)
	}
	list, err := c.client.Tokens(ctx)
	if err != nil || len(list) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := c.client.CreateToken(ctx, api.TokenRequest{Kind: "god"}); statusOf(err) != http.StatusBadRequest {
		t.Errorf("a token of an unknown kind: %v", err)
	}
}

// Every route refuses those without a token, but for the few that are open.
func TestEveryRouteAsksForAToken(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": manual(header)})
	cred, err := identity.ReadCredentials(c.ready.Credentials)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(cred.CA))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	h := &http.Client{Transport: transport}
	for _, r := range api.Routes {
		path := strings.NewReplacer("{app...}", "a/b", "{path...}", "a/b", "{node}", "n", "{id}", "x", "{commit}", "c").Replace(r.Path)
		req, err := http.NewRequestWithContext(t.Context(), r.Method, c.ready.API+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := h.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if open := r.Access == api.Open; open != (resp.StatusCode != http.StatusUnauthorized) {
			t.Errorf("%s %s answers %d: %s", r.Method, path, resp.StatusCode, body)
		}
	}
	// What is not there is told in the same form.
	resp, err := h.Get(c.ready.API + "/v1/nothing")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound || !bytes.Contains(body, []byte(`"remedy"`)) {
		t.Errorf("an unknown path answers %d: %s", resp.StatusCode, body)
	}
	if _, err := http.Get(strings.Replace(c.ready.API, "https", "http", 1) + "/healthz"); err == nil {
		resp, _ := http.Get(strings.Replace(c.ready.API, "https", "http", 1) + "/healthz")
		if resp.StatusCode == http.StatusOK {
			t.Error("the API answers without TLS")
		}
		resp.Body.Close()
	}
	if _, err := http.Get(c.ready.API + "/healthz"); err == nil {
		t.Error("a client that does not know the authority was content")
	}
}

func TestAgentsCannotPretend(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header)})
	a := joinAgent(t, c, "n1")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	leads := func(s *api.Status) bool { return s.Phase == api.PhaseLeading }
	c.status(t, "leads", leads)
	if err := a.attach(ctx, "n2"); status.Code(err) != codes.PermissionDenied {
		t.Errorf("another node's name: %v", err)
	}
	without := *joinAgent(t, c, "n3")
	without.certificate = tls.Certificate{}
	if err := without.attach(ctx, "n3"); status.Code(err) != codes.Unavailable {
		t.Errorf("no certificate: %v", err)
	}
	// Another cluster's authority counts nothing here.
	other := newCluster(t, map[string]string{"cluster.hcl": auto(header)})
	foreign := joinAgent(t, other, "n1")
	foreign.link, foreign.roots = a.link, a.roots
	if err := foreign.attach(ctx, "n1"); status.Code(err) != codes.Unavailable {
		t.Errorf("a certificate of another cluster: %v", err)
	}
	// A token of an operator is no join token, and a join token works for agents only.
	token, err := c.client.CreateToken(ctx, api.TokenRequest{Kind: "reader"})
	if err != nil {
		t.Fatal(err)
	}
	join, err := c.client.CreateToken(ctx, api.TokenRequest{Kind: "agent"})
	if err != nil {
		t.Fatal(err)
	}
	fingerprint, _, err := identity.ParseJoinToken(join.Join)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, code := postJoin(t, c, identity.JoinToken(fingerprint, token.Secret), "n9"); code != http.StatusForbidden {
		t.Errorf("joining with a reader's token answers %d", code)
	}
	if _, err := c.client.RevokeToken(ctx, join.ID); err != nil {
		t.Fatal(err)
	}
	if _, _, code := postJoin(t, c, join.Join, "n9"); code != http.StatusUnauthorized {
		t.Errorf("joining with a revoked token answers %d", code)
	}
}

func TestAgentsFetchFromTheRepository(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header), "image/index.json": "{}", "image/blobs/x": "layer"})
	commit := gitIn(t, c.repo, "rev-parse", "HEAD")
	a := joinAgent(t, c, "n1")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.roots, Certificates: []tls.Certificate{a.certificate}}}
	defer transport.CloseIdleConnections()
	h := &http.Client{Transport: transport}
	fetch := func(path string) (int, map[string]string) {
		resp, err := h.Get(c.ready.API + "/v1/repository/" + commit + "/" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		files := map[string]string{}
		if resp.StatusCode != http.StatusOK {
			return resp.StatusCode, nil
		}
		for r := tar.NewReader(resp.Body); ; {
			head, err := r.Next()
			if err == io.EOF {
				return resp.StatusCode, files
			}
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			files[head.Name] = string(text)
		}
	}
	if code, files := fetch("image"); code != 200 || files["index.json"] != "{}" || files["blobs/x"] != "layer" {
		t.Errorf("the folder: %d %v", code, files)
	}
	if code, files := fetch("image/blobs/x"); code != 200 || fmt.Sprint(files) != "map[.:layer]" {
		t.Errorf("the file: %d %v", code, files)
	}
	if code, _ := fetch("nothing"); code != http.StatusNotFound {
		t.Errorf("what is not there: %d", code)
	}
	if code, _ := fetch("..%2f..%2fetc/passwd"); code == 200 {
		t.Error("a path left the repository")
	}
	// The certificate opens this door only.
	resp, err := h.Get(c.ready.API + "/v1/status")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("the status for an agent: %d", resp.StatusCode)
	}
}

func TestAWorkingTreeIsPlannedAndNothingHappens(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header), "web.hcl": webApp})
	a := joinAgent(t, c, "n1")
	a.run(t)
	c.running(t, "shop/web", 3)
	ctx := t.Context()
	write(t, c.repo, map[string]string{"web.hcl": replace(webApp, "count = 3", "count = 5")})
	plan, err := c.client.PlanTree(ctx, os.DirFS(c.repo))
	if err != nil {
		t.Fatal(err)
	}
	if plan.Summary.Start != 2 || plan.Summary.Changes() != 2 || plan.Commit != "" {
		t.Errorf("%+v", plan.Summary)
	}
	// What the preview said is what the commit does.
	gitIn(t, c.repo, "commit", "-q", "-a", "-m", "five")
	list := c.running(t, "shop/web", 5)
	for _, app := range plan.Apps {
		for _, ch := range app.Changes {
			if ch.Kind == spec.ChangeStart && list[ch.Index].Node != ch.Node {
				t.Errorf("%s was planned for %s and runs on %s", ch.Slot, ch.Node, list[ch.Index].Node)
			}
		}
	}
	if ref, err := c.client.PlanRef(ctx, "main"); err != nil || ref.Summary.Changes() != 0 || ref.Commit == "" {
		t.Errorf("the branch after it: %+v, %v", ref, err)
	}
	if again, err := c.client.PlanTree(ctx, os.DirFS(c.repo)); err != nil || again.Summary.Changes() != 0 {
		t.Errorf("after it: %+v, %v", again, err)
	}
	var e *api.Error
	if _, err := c.client.PlanTree(ctx, fstest.MapFS{"a.hcl": {Data: []byte("nonsense {")}}); !errors.As(err, &e) || e.Status != http.StatusUnprocessableEntity || len(e.Diagnostics) == 0 {
		t.Errorf("a bad tree: %v", err)
	}
	v, err := c.client.Validate(ctx, os.DirFS(c.repo))
	if err != nil || v.Apps != 1 || len(v.Diagnostics) != 0 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestAPlanThatSupposesIsShownAndNeverApplied(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header) + "\nnode_class \"big\" {\n  cpu = 16\n  memory = \"64GiB\"\n}\n", "web.hcl": webApp})
	a := joinAgent(t, c, "n1")
	a.run(t)
	c.running(t, "shop/web", 3)
	ctx := t.Context()
	alone, err := c.client.MakePlan(ctx, client.What{Without: []string{"node/n1"}})
	if err != nil || alone.Summary.Blocked != 3 || alone.Suppose == nil {
		t.Fatalf("without its only node: %+v, %v", alone, err)
	}
	for _, w := range []client.What{{}, {Ref: "main"}, {Tree: os.DirFS(c.repo)}} {
		w.Without, w.With = []string{"node/n1"}, []string{"1xbig"}
		p, err := c.client.MakePlan(ctx, w)
		if err != nil || p.Summary.Blocked != 0 || p.Summary.Changes() != 3 || p.Suppose == nil || len(p.Suppose.With) != 1 {
			t.Errorf("%+v: %+v, %v", w, p, err)
		}
	}
	var refused *api.Error
	if _, err := c.client.Apply(ctx, api.ApplyRequest{Plan: alone}); !errors.As(err, &refused) || refused.Status != http.StatusBadRequest {
		t.Errorf("applying the plan: %v", err)
	}
	if _, err := c.client.Apply(ctx, api.ApplyRequest{ID: alone.ID}); !errors.As(err, &refused) {
		t.Errorf("applying it by its ID: %v", err)
	}
	if _, err := c.client.MakePlan(ctx, client.What{With: []string{"1xbigg"}}); !errors.As(err, &refused) || refused.Status != http.StatusBadRequest {
		t.Errorf("a class that is not there: %v", err)
	}
	c.running(t, "shop/web", 3)
}

// What is planned from a saved input is what the master plans.
func TestASavedInputGivesThePlanOfTheMaster(t *testing.T) {
	secret := strings.Replace(webApp, "command", "env = { TOKEN = \"sesame-1\" }\n    command", 1)
	if secret == webApp {
		t.Fatal("the app has no command to stand before")
	}
	c := newCluster(t, map[string]string{"cluster.hcl": manual(header) + "\nnode_class \"big\" {\n  cpu = 16\n  memory = \"64GiB\"\n}\n", "web.hcl": secret})
	a := joinAgent(t, c, "n1")
	a.run(t)
	ctx := t.Context()
	c.status(t, "the plan with the node waits", func(s *api.Status) bool { return s.Pending != nil && s.Pending.Summary.Start == 3 })
	tree := fstest.MapFS{"all.hcl": {Data: []byte(manual(header) + strings.Replace(secret, "sesame-1", "sesame-2", 1))}}
	suppose := []string{"node/n1"}
	for _, w := range []client.What{{}, {Ref: "main"}, {Tree: tree}, {Without: suppose}, {Tree: tree, Without: suppose, With: []string{"2xlike/n1"}}} {
		live, err := c.client.MakePlan(ctx, w)
		if err != nil {
			t.Fatal(err)
		}
		saved, err := c.client.Input(ctx, w)
		if err != nil {
			t.Fatal(err)
		}
		if text, _ := json.Marshal(saved); strings.Contains(string(text), "sesame") {
			t.Errorf("%+v: the saved input tells a secret", w)
		}
		s, _ := spec.ParseSupposition(w.Without, w.With)
		in, err := reconcile.Suppose(saved.Input, s)
		if err != nil {
			t.Fatal(err)
		}
		plan, _ := reconcile.Plan(in)
		if plan.ID != live.ID {
			t.Errorf("%+v: %s from the saved input, %s of the master\n%+v\n%+v", w, plan.ID, live.ID, plan, live)
		}
	}
	head, err := c.client.Input(ctx, client.What{})
	if err != nil {
		t.Fatal(err)
	}
	live, err := c.client.MakePlan(ctx, client.What{Tree: tree})
	if err != nil {
		t.Fatal(err)
	}
	cluster, _ := hcl.Load(tree, hcl.Options{})
	if plan, _ := reconcile.Plan(head.Over(cluster, "")); plan.ID != live.ID {
		t.Errorf("the tree over the saved state: %s, of the master %s\n%+v\n%+v", plan.ID, live.ID, plan, live)
	}
}

// A preview runs no program that the followed branch does not have.
func TestAPreviewRunsNoUnknownPlugin(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header)})
	mark := t.TempDir() + "/ran"
	tree := fstest.MapFS{"a.hcl": {Data: fmt.Appendf(nil, `%s
plugin "evil" {
  kind    = "framework"
  command = "/bin/sh"
  args    = ["-c", "touch %s"]
  sha256  = "%064d"
}
framework "evil" "x" {}
`, auto(header), mark, 1)}}
	_, err := c.client.PlanTree(t.Context(), tree)
	var e *api.Error
	if !errors.As(err, &e) || len(e.Diagnostics) == 0 {
		t.Fatalf("planned: %v", err)
	}
	found := false
	for _, d := range e.Diagnostics {
		found = found || strings.Contains(d.Detail, "nobody approved")
	}
	if !found {
		t.Errorf("%+v", e.Diagnostics)
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("the program ran")
	}
}

func TestAgentsRenewTheirCertificate(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header)})
	a := joinAgent(t, c, "n1")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: a.roots, Certificates: []tls.Certificate{a.certificate}}}
	defer transport.CloseIdleConnections()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	renew := func(node spec.NodeID) (int, api.JoinAnswer) {
		body, err := json.Marshal(api.JoinRequest{Node: node, CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := (&http.Client{Transport: transport}).Post(c.ready.API+"/v1/renew", "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var answer api.JoinAnswer
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, answer
	}
	if code, _ := renew("n2"); code != http.StatusForbidden {
		t.Errorf("another name answers %d", code)
	}
	code, answer := renew("n1")
	if code != http.StatusOK {
		t.Fatalf("renewing answers %d", code)
	}
	block, _ := pem.Decode([]byte(answer.Certificate))
	a.certificate = tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
	a.run(t)
	c.status(t, "the renewed agent is there", func(s *api.Status) bool { return s.Nodes.Ready == 1 })
}

func TestARemovedNodeComesBackWithWhatItRuns(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header), "web.hcl": webApp})
	a := joinAgent(t, c, "n1")
	a.run(t)
	before := c.running(t, "shop/web", 3)
	if _, err := c.client.RemoveNode(t.Context(), "n1"); statusOf(err) != http.StatusConflict {
		t.Errorf("a node with work is removed: %v", err)
	}
	a.stop()
	c.status(t, "the node is unknown", func(s *api.Status) bool { return s.Nodes.Unknown == 1 })
	if _, err := c.client.RemoveNode(t.Context(), "n1"); err != nil {
		t.Fatal(err)
	}
	a.run(t)
	// Its agent connects again, and is taken up with what it holds; no slot ends up with two.
	after := c.running(t, "shop/web", 3)
	running, _, _ := a.counts()
	if running != 3 {
		t.Errorf("%d run; before %s, after %s", running, describe(before), describe(after))
	}
}

// A name belongs to the agent that is in touch: no token takes it away. It is free again once that agent is gone.
func TestNobodyJoinsUnderATakenName(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header)})
	a := joinAgent(t, c, "n1")
	a.run(t)
	c.status(t, "the agent is there", func(s *api.Status) bool { return s.Nodes.Ready == 1 })
	token, err := c.client.CreateToken(t.Context(), api.TokenRequest{Kind: "agent"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, code := postJoin(t, c, token.Join, "n1"); code != http.StatusConflict {
		t.Errorf("a taken name answers %d", code)
	}
	if _, _, code := postJoin(t, c, token.Join, "n2"); code != http.StatusOK {
		t.Errorf("another name answers %d", code)
	}
	a.stop()
	c.status(t, "the agent is gone", func(s *api.Status) bool { return s.Nodes.Unknown == 1 })
	if _, _, code := postJoin(t, c, token.Join, "n1"); code != http.StatusOK {
		t.Errorf("the name of an agent that is gone answers %d", code)
	}
}
