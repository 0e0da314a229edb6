package master

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/stowage/stowage/master/git"
)

// Defaults of Config.
const (
	// DefaultAPI is loopback: whoever wants more says so.
	DefaultAPI = "127.0.0.1:7470"
	// DefaultLink is the port beside it.
	DefaultLink = "127.0.0.1:7471"
)

// Config says how to run a master. DataDir and Repository.URL are required.
type Config struct {
	DataDir    string     // this master's own; made if absent
	Repository git.Config // what is followed; StoreDir and Log are set by Run
	Path       string     // folder of the repository with the *.hcl files, slash-separated; "" is its root

	API  string // address of the HTTP API; port 0 takes any
	Link string // address of the agents' link; port 0 takes any
	// Advertise are the names or addresses that others reach this master by, beside those of this machine. The first is
	// what agents are told, when given.
	Advertise []string

	Tags Tags // says what the tags of images mean; nil: nobody knows

	FirstNodes int // of a new cluster: nothing is placed before so many have joined; see control.Config

	Recover   bool              // agents of a cluster whose masters were lost are expected back: wait for them
	Overrides map[string]string // programs run in place of a plugin's checked one, for its development
	Profile   bool              // serve /debug/pprof to operators
	IdleTime  time.Duration     // how long a command of exec may neither read nor print; 0: four hours
	Version   string            // of this program
	Seed      uint64            // of the planner; 0 is as good as any
	Log       *slog.Logger      // nil for quiet

	JournalMinFree int64       // bytes that must stay free on the disk; 0: the journal's default; negative: no check
	Ready          func(Ready) // called once, when both ports answer
	Now            func() time.Time
}

// Ready tells where a master that has started is reached.
type Ready struct {
	API         string // https://host:port
	Link        string // host:port
	Credentials string // path of the file that lets commands on this machine in
	Fingerprint string // of the authority; see identity.JoinToken
}

func (c *Config) defaults() error {
	switch {
	case c.DataDir == "":
		return errors.New("start master: no data folder given: use --data DIR")
	case c.Repository.URL == "":
		return errors.New("start master: no repository given: use --repo with a URL or a path")
	}
	c.Path = strings.Trim(path.Clean("/"+c.Path), "/")
	if c.API == "" {
		c.API = DefaultAPI
	}
	if c.Link == "" {
		c.Link = DefaultLink
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	for _, address := range []string{c.API, c.Link} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return fmt.Errorf("start master: %q is no address: write it as 127.0.0.1:7470 or :7470: %w", address, err)
		}
	}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("start master: make data folder: %w", err)
	}
	c.Repository.StoreDir = filepath.Join(c.DataDir, "repository")
	c.Repository.Log = c.Log.With("part", "git")
	return nil
}

// reached is what others dial to get to a listener: the advertised name, or the address it listens on.
func (c *Config) reached(l net.Addr) string {
	host, port, _ := net.SplitHostPort(l.String())
	if len(c.Advertise) > 0 {
		name := c.Advertise[0]
		if h, _, err := net.SplitHostPort(name); err == nil {
			name = h
		}
		return net.JoinHostPort(name, port)
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil && name != "" {
			return net.JoinHostPort(name, port)
		}
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}
