package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/stowage/stowage/agent"
	"github.com/stowage/stowage/agent/image"
	"github.com/stowage/stowage/agent/registry"
	"github.com/stowage/stowage/master"
	"github.com/stowage/stowage/spec"
)

// logFlags are the flags of daemons that say how they log.
type logFlags struct{ level string }

func (l *logFlags) add(c *cobra.Command, level string) {
	c.Flags().StringVar(&l.level, "log-level", level, "debug, info, warn or error")
}

// logger writes to standard error: text on a terminal, JSON elsewhere with --json.
func (s *shell) logger(l logFlags) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil {
		return nil, fmt.Errorf("--log-level %s: use debug, info, warn or error", l.level)
	}
	o := &slog.HandlerOptions{Level: level}
	if s.json {
		return slog.New(slog.NewJSONHandler(s.Stderr, o)), nil
	}
	return slog.New(slog.NewTextHandler(s.Stderr, o)), nil
}

func (s *shell) agentCommand() *cobra.Command {
	var cfg agent.Config
	var log logFlags
	var ports, joinFile, logLimit string
	var machine factFlags
	c := &cobra.Command{Use: "agent", Short: "Run the agent: the daemon on each machine of the cluster", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var err error
		if cfg.Log, err = s.logger(log); err != nil {
			return err
		}
		cfg.Version, cfg.Registries.UserAgent = s.Version, "stowage/"+s.Version
		if cfg.JoinToken, err = s.joinToken(cfg.JoinToken, joinFile); err != nil {
			return err
		}
		if cfg.Executor == "" {
			cfg.Executor = besideUs("stowage-executor")
		}
		if cfg.PortFirst, cfg.PortLast, err = parsePorts(ports); err != nil {
			return err
		}
		if err := machine.parse(&cfg.Facts); err != nil {
			return err
		}
		if logLimit != "" {
			if cfg.LogLimit, err = spec.ParseBytes(logLimit); err != nil || cfg.LogLimit <= 0 {
				return fmt.Errorf("--log-limit %s: write it as an amount such as 2GiB", logLimit)
			}
		}
		return agent.Run(cmd.Context(), cfg)
	}}
	f := c.Flags()
	f.StringVar(&cfg.DataDir, "data", defaultAgentDir, "where the agent keeps its data")
	f.StringVar((*string)(&cfg.Node), "node", "", "name of the node (default: the host name)")
	f.StringVar(&cfg.Master, "master", "", "the master's API, such as https://10.0.0.1:7470; needed to join")
	f.StringVar(&cfg.JoinToken, "join", "", "join token, needed once: stowage token create --kind agent; also STOWAGE_JOIN, which other users cannot see")
	f.StringVar(&joinFile, "join-file", "", "file with the join token")
	f.StringVar(&cfg.Executor, "executor", "", "the stowage-executor binary (default: beside this one)")
	f.StringVar(&cfg.CgroupParent, "cgroup-parent", "stowage", "cgroup below which tasks live")
	f.StringVar(&cfg.Facts.Address, "address", "", "address at which others reach this node (default: that of the default route)")
	f.StringVar((*string)(&cfg.Facts.Pool), "pool", "", "pool that the node is in (default \"default\"): only apps that name it run here")
	machine.add(c)
	f.IntVar(&cfg.ImageDisk.High, "image-disk-high", image.DefaultWatermarks.High, "when so many percent of the disk are used, unpacked images go that nothing uses, the longest unused first")
	f.IntVar(&cfg.ImageDisk.Low, "image-disk-low", image.DefaultWatermarks.Low, "they go until no more of the disk is used than this, in percent")
	f.StringVar(&logLimit, "log-limit", "", "most that the output of tasks may take of the disk, such as 2GiB; that of ended allocations goes first (default: a tenth of the disk, at most 10GiB)")
	registryFlags(c, &cfg.Registries)
	f.StringVar(&ports, "ports", "", "range for ports without a number, such as 20000-32000")
	log.add(c, "info")
	c.AddCommand(s.agentDownCommand())
	return c
}

// joinToken is the one of the flag, of the file, or of the environment; it may be none.
func (s *shell) joinToken(flag, file string) (string, error) {
	switch {
	case flag != "" && file != "":
		return "", errors.New("--join and --join-file both give a token: leave one out")
	case file != "":
		b, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("read join token: %w", err)
		}
		if flag = strings.TrimSpace(string(b)); flag == "" {
			return "", fmt.Errorf("read join token: %s is empty: fill it with stowage token create --kind agent", file)
		}
	case flag == "":
		flag = s.env("STOWAGE_JOIN")
	}
	return flag, nil
}

func (s *shell) agentDownCommand() *cobra.Command {
	var dir string
	var purge bool
	c := &cobra.Command{Use: "down", Short: "Take a stopped agent off this machine: end its tasks and their executor", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		if err := agent.Down(cmd.Context(), dir, purge); err != nil {
			return err
		}
		if purge {
			_, err := fmt.Fprintf(s.Stdout, "All tasks have ended, and %s is removed. stowage node remove makes the master forget the node.\n", dir)
			return err
		}
		_, err := fmt.Fprintf(s.Stdout, "All tasks have ended. An agent started on %s again starts what the node should run.\n", dir)
		return err
	}}
	c.Flags().StringVar(&dir, "data", defaultAgentDir, "where the agent kept its data")
	c.Flags().BoolVar(&purge, "purge", false, "remove that directory too, with the logs and all that the tasks wrote")
	return c
}

// defaultAgentDir is where an agent keeps its data.
const defaultAgentDir = "/var/lib/stowage/agent"

// besideUs is a program in the folder of this one, or else one that the PATH knows.
func besideUs(name string) string {
	if self, err := os.Executable(); err == nil {
		path := filepath.Join(filepath.Dir(self), name)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return name
}

func parsePorts(text string) (first, last int, err error) {
	if text == "" {
		return 0, 0, nil
	}
	a, b, ok := strings.Cut(text, "-")
	first, err1 := strconv.Atoi(a)
	last, err2 := strconv.Atoi(b)
	if !ok || err1 != nil || err2 != nil || first < 1 || last < first || last > 65535 {
		return 0, 0, fmt.Errorf("--ports %s: write it as 20000-32000", text)
	}
	return first, last, nil
}

func (s *shell) masterCommand() *cobra.Command {
	var cfg master.Config
	var registries registry.Config
	var log logFlags
	var override []string
	var every string
	c := &cobra.Command{Use: "master", Short: "Run the master: the daemon that follows Git and decides", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		var err error
		if cfg.Log, err = s.logger(log); err != nil {
			return err
		}
		cfg.Version, registries.UserAgent = s.Version, "stowage/"+s.Version
		if cfg.Tags, err = registry.New(registries); err != nil {
			return err
		}
		if every != "" {
			d, err := spec.ParseDuration(every)
			if err != nil {
				return fmt.Errorf("--poll: %w", err)
			}
			cfg.Repository.Poll = time.Duration(d)
		}
		if cfg.Overrides, err = parseOverrides(override); err != nil {
			return err
		}
		if cfg.FirstNodes < 0 {
			return fmt.Errorf("--first-nodes %d: write how many nodes the cluster begins with, or leave it out", cfg.FirstNodes)
		}
		return master.Run(cmd.Context(), cfg)
	}}
	f := c.Flags()
	f.StringVar(&cfg.DataDir, "data", defaultMasterDir, "where the master keeps its data")
	f.StringVar(&cfg.Repository.URL, "repo", "", "repository to follow: a path, https://…, ssh://… or user@host:path")
	f.StringVar(&cfg.Repository.Branch, "branch", "", "branch to follow (default: the repository's own)")
	f.StringVar(&cfg.Path, "path", "", "folder of the repository with the .hcl files (default: its root)")
	f.StringVar(&every, "poll", "", "how often a remote repository is asked, such as 30s")
	f.StringVar(&cfg.Repository.TokenFile, "token-file", "", "file with the token for a repository over https; read before every fetch")
	f.StringVar(&cfg.Repository.TokenUser, "token-user", "", "user that the token belongs to")
	f.StringVar(&cfg.Repository.CAFile, "repo-ca", "", "certificates to trust for the repository, beside the system's")
	f.StringVar(&cfg.Repository.SSHKeyFile, "ssh-key", "", "private key for a repository over ssh (default: the ssh agent)")
	f.StringVar(&cfg.Repository.KnownHostsFile, "known-hosts", "", "host keys of ssh servers (default: the user's and the system's)")
	f.StringVar(&cfg.API, "api", master.DefaultAPI, "address of the API")
	f.StringVar(&cfg.Link, "link", master.DefaultLink, "address of the agents' link")
	f.StringArrayVar(&cfg.Advertise, "advertise", nil, "name or address by which others reach this master; may be repeated")
	f.IntVar(&cfg.FirstNodes, "first-nodes", 0, "how many nodes a new cluster begins with: nothing is placed before so many have joined, or none has for a minute")
	f.BoolVar(&cfg.Recover, "recover", false, "agents of a cluster whose masters were lost are expected back: wait for them before deciding")
	f.StringArrayVar(&override, "plugin-override", nil, "run another program in place of a plugin's checked one, as NAME=PATH; for its development, marked in every plan")
	f.DurationVar(&cfg.IdleTime, "exec-idle", 0, "how long a command of stowage exec may neither read nor print before it is hung up (default 4h)")
	registryFlags(c, &registries)
	f.BoolVar(&cfg.Profile, "profile", false, "serve profiles to operators below /debug/pprof")
	log.add(c, "info")
	return c
}

func parseOverrides(list []string) (map[string]string, error) {
	all := map[string]string{}
	for _, o := range list {
		name, path, ok := strings.Cut(o, "=")
		if !ok || name == "" || path == "" {
			return nil, fmt.Errorf("--plugin-override %s: write it as NAME=PATH", o)
		}
		all[name] = path
	}
	return all, nil
}
