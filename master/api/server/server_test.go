package server

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/identity"
)

func config(t *testing.T) Config {
	t.Helper()
	dir := t.TempDir()
	a, err := identity.OpenAuthority(dir, nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := identity.OpenTokens(filepath.Join(dir, "tokens.json"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	handlers := map[string]Handler{}
	for _, r := range api.Routes {
		handlers[r.ID] = JSON(func(*Call) (any, error) { return r.ID, nil })
	}
	return Config{Handlers: handlers, Tokens: tokens, Authority: a, Log: slog.New(slog.DiscardHandler)}
}

func TestRoutesAndHandlersAgree(t *testing.T) {
	c := config(t)
	if _, err := New(c); err != nil {
		t.Error(err)
	}
	c.Handlers["more"] = c.Handlers["status"]
	if _, err := New(c); err == nil {
		t.Error("a handler without a route was accepted")
	}
	delete(c.Handlers, "more")
	delete(c.Handlers, "status")
	if _, err := New(c); err == nil {
		t.Error("a route without a handler was accepted")
	}
}

func TestEachKindOfTokenOpensItsDoors(t *testing.T) {
	c := config(t)
	secrets := map[identity.Kind]string{}
	for _, k := range []identity.Kind{identity.Operator, identity.Reader, identity.Agent} {
		secret, _, err := c.Tokens.Create(k, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		secrets[k] = secret
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	may := map[api.Access]map[identity.Kind]bool{
		api.Open: {identity.Operator: true, identity.Reader: true, identity.Agent: true},
		api.Read: {identity.Operator: true, identity.Reader: true}, api.Fetch: {identity.Operator: true, identity.Reader: true},
		api.Operate: {identity.Operator: true}, api.Join: {identity.Agent: true}, api.Agent: {},
	}
	for _, r := range api.Routes {
		path := strings.NewReplacer("{app...}", "a", "{path...}", "a", "{node}", "n", "{id}", "x", "{commit}", "c").Replace(r.Path)
		for kind, secret := range secrets {
			q := httptest.NewRequest(r.Method, path, nil)
			q.Header.Set("Authorization", "Bearer "+secret)
			w := httptest.NewRecorder()
			s.http.Handler.ServeHTTP(w, q)
			if got := w.Code == http.StatusOK; got != may[r.Access][kind] {
				t.Errorf("%s %s with a token of kind %s answers %d", r.Method, path, kind, w.Code)
			}
		}
	}
}

func TestRequestsAndErrorsHaveOneForm(t *testing.T) {
	c := config(t)
	secret, _, err := c.Tokens.Create(identity.Operator, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	c.Handlers["apply"] = Body(func(_ *Call, q api.ApplyRequest) (any, error) {
		if q.ID == "broken" {
			return nil, errors.New("open /x: no such file")
		}
		return q, nil
	})
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]struct {
		code int
		text string
	}{
		`{"id":"p-1"}`:    {200, `"p-1"`},
		``:                {200, `{}`},
		`{"idd":"p-1"}`:   {400, "idd"},
		`[`:               {400, "openapi"},
		`{"id":"broken"`:  {400, "error"},
		`{"id":"broken"}`: {500, "no such file"},
	} {
		q := httptest.NewRequest("POST", "/v1/apply", strings.NewReader(body))
		q.Header.Set("Authorization", "Bearer "+secret)
		w := httptest.NewRecorder()
		s.http.Handler.ServeHTTP(w, q)
		text, err := io.ReadAll(w.Result().Body)
		if err != nil || w.Code != want.code || !strings.Contains(string(text), want.text) || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s answers %d %s", body, w.Code, text)
		}
	}
	w := httptest.NewRecorder()
	s.http.Handler.ServeHTTP(w, httptest.NewRequest("DELETE", "/v1/status", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("another method answers %d", w.Code)
	}
}
