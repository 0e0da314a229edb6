package registry

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/stowage/stowage/spec"
)

// Config says how registries are reached. The zero value is good for those on the internet.
type Config struct {
	Mirrors     []string // REGISTRY=HOST or REGISTRY=HOST/PREFIX, asked in order before the registry itself
	PlainHTTP   []string // hosts, as images name them, that are spoken to without TLS
	CAs         []string // HOST=FILE: certificates to trust for that host alone, in PEM
	Credentials string   // folder with a config.json of docker; "": where docker and podman keep it
	UserAgent   string   // of requests
}

// mirror is where the repositories of a registry can be had too.
type mirror struct {
	host, prefix string
}

// settings are a Config, read.
type settings struct {
	mirrors     map[string][]mirror
	plain       map[string]bool
	roots       map[string]*x509.CertPool
	credentials string
	agent       string
}

func (c *Config) read() (settings, error) {
	s := settings{mirrors: map[string][]mirror{}, plain: map[string]bool{}, roots: map[string]*x509.CertPool{}, credentials: c.Credentials, agent: c.UserAgent}
	var errs []error
	for _, text := range c.Mirrors {
		of, at, ok := strings.Cut(text, "=")
		host, prefix, _ := strings.Cut(at, "/")
		// The grammar of images knows what is a host: one is made of each.
		_, err1 := spec.ParseImage(of + "/a/b:c")
		_, err2 := spec.ParseImage(strings.TrimSuffix(at, "/") + "/a/b:c")
		if !ok || err1 != nil || err2 != nil || host == "" {
			errs = append(errs, fmt.Errorf("mirror %q: write it as REGISTRY=HOST or REGISTRY=HOST:PORT/PREFIX, without a scheme", text))
			continue
		}
		s.mirrors[of] = append(s.mirrors[of], mirror{host, strings.Trim(prefix, "/")})
	}
	for _, host := range c.PlainHTTP {
		if _, err := spec.ParseImage(host + "/a/b:c"); err != nil || strings.Contains(host, "/") {
			errs = append(errs, fmt.Errorf("registry without TLS %q: write it as HOST or HOST:PORT, as images name it", host))
		}
		s.plain[host] = true
	}
	for _, text := range c.CAs {
		host, file, ok := strings.Cut(text, "=")
		if !ok || host == "" || file == "" {
			errs = append(errs, fmt.Errorf("certificates of a registry %q: write them as HOST=FILE", text))
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			errs = append(errs, fmt.Errorf("certificates of registry %s: %w", host, err))
			continue
		}
		if s.roots[host] == nil {
			s.roots[host] = x509.NewCertPool()
		}
		if !s.roots[host].AppendCertsFromPEM(data) {
			errs = append(errs, fmt.Errorf("certificates of registry %s: %s has no certificate in PEM", host, file))
		}
	}
	if c.Credentials != "" {
		if info, err := os.Stat(c.Credentials); err != nil || !info.IsDir() {
			errs = append(errs, fmt.Errorf("credentials of registries: %s is no folder: name the one that has docker's config.json in it", c.Credentials))
		}
	}
	return s, errors.Join(errs...)
}

// mayBePlain reports whether a host may be spoken to without TLS: somebody said so, or it is this machine.
func (s *settings) mayBePlain(host string) bool { return s.plain[host] || loopback(host) }

// loopback reports whether a host, perhaps with a port, names this machine by itself: no resolver is asked.
func loopback(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.Trim(name, "[]")
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}
