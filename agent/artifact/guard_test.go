package artifact

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stowage/stowage/spec"
)

// TestAProxyIsNotSentToThePlatform: what is asked of a proxy is judged as far as it is written as an address, and the proxy's own address is none that may be fetched
// from.
func TestAProxyIsNotSentToThePlatform(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	target := ""
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.URL.Host == "files.example.com" {
			http.Redirect(w, r, target, http.StatusFound)
			return
		}
		seen = append(seen, r.URL.String())
		_, _ = w.Write([]byte("got"))
	}))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("NO_PROXY", "")
	download := func(to string) (string, error) {
		mu.Lock()
		target, seen = to, nil
		mu.Unlock()
		file := spool(t)
		_, err := new(Fetcher).Download(t.Context(), at("http://files.example.com/x"), spec.ChecksumNone, file, plenty, nil)
		return content(t, file), err
	}
	for _, bad := range []string{"http://169.254.169.254/latest/meta-data", "http://[64:ff9b::a9fe:a9fe]/", "http://[::ffff:127.0.0.1]/", "http://169.254.43518/", "http://0xa9fea9fe/", proxy.URL + "/own"} {
		if _, err := download(bad); err == nil || len(seen) > 0 || !strings.Contains(err.Error(), "nothing is fetched from") && !strings.Contains(err.Error(), "write it in full") {
			t.Errorf("a redirect to %s: %v; the proxy was asked for %q", bad, err, seen)
		}
	}
	for _, good := range []string{"http://other.example.com/y", "http://10.1.2.3/y"} {
		if got, err := download(good); err != nil || got != "got" {
			t.Errorf("a redirect to %s: %v, %q", good, err, got)
		}
	}
}

func TestComplaintsBegin(t *testing.T) {
	var h head
	for _, part := range []string{"fatal error: ", "out of memory\n", strings.Repeat("rax 0x0\n", maxComplaint), "rflags 0x246\n"} {
		if n, err := h.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if h.line() != "fatal error: out of memory" || len(h.text) != maxComplaint {
		t.Errorf("%q of %d bytes", h.line(), len(h.text))
	}
}
