package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/stowage/stowage/agent"
	"github.com/stowage/stowage/agent/facts"
	"github.com/stowage/stowage/agent/registry"
	"github.com/stowage/stowage/cmd/stowage/view"
	"github.com/stowage/stowage/master"
	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/client"
	"github.com/stowage/stowage/master/git"
	"github.com/stowage/stowage/spec"
)

// dev is a whole cluster on this machine, in one process but for the executors: a master and a few agents that divide
// the machine among them.
type dev struct {
	*shell
	agents     int
	repo       string
	path       string // the folder of the repository that is followed; "" is its root
	demo       string
	dataDir    string
	apiAddr    string
	registries registry.Config
	log        *slog.Logger

	issued []byte // the credentials, as they were left for the command line
}

func (s *shell) devCommand() *cobra.Command {
	d := &dev{shell: s}
	log := logFlags{}
	c := &cobra.Command{Use: "dev [FOLDER]", Short: "Run a whole cluster on this machine, for trying and developing", Args: cobra.MaximumNArgs(1),
		Long: "Starts a master that follows the Git repository around a folder, and a few agents that divide this machine among them.\nOf the repository it follows the folder around that one which holds the cluster block.\nCtrl-C takes everything down without a trace.",
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if len(args) > 0 {
				if cmd.Flags().Changed("repo") {
					return errors.New("name the repository once: as FOLDER or with --repo")
				}
				if err = mustBeFolder(args[0]); err != nil {
					return err
				}
				d.repo = args[0]
			}
			if d.log, err = s.logger(log); err != nil {
				return err
			}
			return d.run(cmd.Context())
		}}
	c.Flags().IntVar(&d.agents, "agents", 3, "how many agents")
	c.Flags().StringVar(&d.repo, "repo", ".", "repository to follow, a URL or a folder in it")
	c.Flags().StringVar(&d.demo, "demo", "", "commit this folder to a new repository and show what happens")
	registryFlags(c, &d.registries)
	c.Flags().StringVar(&d.apiAddr, "api", "127.0.0.1:7470", "address of the API; another port is taken when this one is in use")
	log.add(c, "error")
	return c
}

const (
	// devReady bounds how long the cluster may take to be ready for work.
	devReady = 30 * time.Second
	// devDown bounds how long taking it down may take.
	devDown = 30 * time.Second
)

func (d *dev) run(ctx context.Context) (err error) {
	began := time.Now()
	if d.agents < 1 || d.agents > 20 {
		return fmt.Errorf("--agents %d: from 1 to 20", d.agents)
	}
	if info, statErr := os.Stat(d.repo); statErr == nil && info.IsDir() && d.demo == "" { // and not a URL
		if d.repo, err = filepath.Abs(d.repo); err != nil {
			return fmt.Errorf("find repository: %w", err)
		}
		d.repo, d.path = around(d.repo)
	}
	if err := clearLeftovers(ctx); err != nil {
		d.say("An earlier stowage dev was killed, and not all of it can be cleared: %v", err)
	}
	if d.dataDir, err = os.MkdirTemp("", devPrefix); err != nil {
		return fmt.Errorf("make data directory: %w", err)
	}
	lock, err := lockDev(d.dataDir)
	if err != nil {
		return errors.Join(err, os.RemoveAll(d.dataDir))
	}
	defer lock.Close()
	if d.demo != "" {
		if d.repo, err = d.demoRepository(ctx); err != nil {
			return errors.Join(err, os.RemoveAll(d.dataDir))
		}
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	var parts sync.WaitGroup
	failed := make(chan error, d.agents+1)
	part := func(f func() error) {
		parts.Go(func() {
			if err := f(); err != nil {
				failed <- err
			}
		})
	}
	defer func() {
		stop()
		parts.Wait()
		err = errors.Join(err, d.takeDown())
	}()
	linkAddr, err := d.addresses()
	if err != nil {
		return err
	}
	tags, err := registry.New(d.registries)
	if err != nil {
		return err
	}
	masterDir := filepath.Join(d.dataDir, "master")
	part(func() error {
		return master.Run(run, master.Config{DataDir: masterDir, Repository: git.Config{URL: d.repo}, Path: d.path, API: d.apiAddr, Link: linkAddr, FirstNodes: d.agents, Tags: tags, Version: d.Version, Log: d.log})
	})
	c, err := d.connect(ctx, masterDir, failed)
	if err != nil {
		return err
	}
	if err := d.startAgents(run, c, part); err != nil {
		return err
	}
	if err := d.waitForNodes(ctx, c, failed); err != nil {
		return err
	}
	d.say("Ready after %d ms: a master and %s on this machine, following %s", time.Since(began).Milliseconds(), spec.Plural(d.agents, "agent"), d.followed())
	d.sayMissing()
	d.sayRepository(ctx, c)
	return d.play(ctx, c, failed)
}

func (d *dev) say(format string, args ...any) { fmt.Fprintf(d.Stdout, format+"\n", args...) }

// followed is the folder that is followed, or the repository's URL.
func (d *dev) followed() string {
	if d.path == "" {
		return d.repo
	}
	return filepath.Join(d.repo, filepath.FromSlash(d.path))
}

// addresses picks the ports: the usual ones when they are free.
func (d *dev) addresses() (link string, err error) {
	if d.apiAddr, err = freeAddress(d.apiAddr); err != nil {
		return "", err
	}
	return freeAddress("127.0.0.1:7471")
}

// play shows the demo, or waits, until the person or the world says stop.
func (d *dev) play(ctx context.Context, c *client.Client, failed <-chan error) error {
	inputEnded := make(chan struct{}) // the demo ends with its input, so that scripts can run it
	if d.demo != "" {
		go func() {
			_, _ = io.Copy(io.Discard, d.Stdin)
			close(inputEnded)
		}()
		if err := d.showDemo(ctx, c); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	} else {
		d.say("In another terminal:\n  stowage status    stowage plan %s    stowage ps\nCtrl-C takes everything down without a trace.", d.repo)
	}
	select {
	case err := <-failed:
		return err
	case <-inputEnded:
		d.say("\nStandard input is closed: taking everything down.")
	case <-ctx.Done():
		d.say("\nTaking everything down.")
	}
	return nil
}

// connect waits until the master answers and leaves credentials where the command line looks for them.
func (d *dev) connect(ctx context.Context, masterDir string, failed <-chan error) (*client.Client, error) {
	deadline := time.Now().Add(devReady)
	for {
		c, err := client.Load(filepath.Join(masterDir, "credentials.json"))
		if err == nil {
			if _, err = c.Status(ctx); err == nil {
				return c, d.leaveCredentials(ctx, filepath.Join(masterDir, "credentials.json"))
			}
		}
		select {
		case err := <-failed:
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the master does not answer within %s: %w", devReady, err)
		}
	}
}

func (d *dev) agentDir(i int) string { return filepath.Join(d.dataDir, fmt.Sprintf("n%d", i+1)) }

// devPorts is how many dynamic ports each agent may give.
const devPorts = 500

func (d *dev) startAgents(ctx context.Context, c *client.Client, part func(func() error)) error {
	token, err := c.CreateToken(ctx, api.TokenRequest{Kind: "agent", Name: "stowage dev", TTL: "1h"})
	if err != nil {
		return err
	}
	whole, err := facts.Read(facts.Options{DataDir: d.dataDir})
	if err != nil {
		return err
	}
	others := spec.Resources{
		CPU:    whole.Capacity.CPU - whole.Capacity.CPU/spec.MilliCPU(d.agents),
		Memory: whole.Capacity.Memory - whole.Capacity.Memory/spec.Bytes(d.agents),
		Disk:   whole.Capacity.Disk - whole.Capacity.Disk/spec.Bytes(d.agents),
	}
	for i := range d.agents {
		cfg := agent.Config{
			Node: spec.NodeID(fmt.Sprintf("n%d", i+1)), DataDir: d.agentDir(i), Master: c.Address(), JoinToken: token.Join,
			Executor: besideUs("stowage-executor"), CgroupParent: filepath.Base(d.dataDir) + fmt.Sprintf("-n%d", i+1), Version: d.Version, Log: d.log, Registries: d.registries,
			Facts: facts.Options{Address: "127.0.0.1", Reserved: others, NoCores: d.agents > 1, // they share the machine's
				Attributes: map[string]string{"rack": fmt.Sprintf("r%d", i%2+1)}},
			PortFirst: spec.DynamicPortFirst + i*devPorts, PortLast: spec.DynamicPortFirst + (i+1)*devPorts - 1,
		}
		part(func() error { return agent.Run(ctx, cfg) })
	}
	return nil
}

func (d *dev) waitForNodes(ctx context.Context, c *client.Client, failed <-chan error) error {
	deadline := time.Now().Add(devReady)
	for {
		st, err := c.Status(ctx)
		if err == nil && st.Nodes.Ready == d.agents {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the agents are not ready within %s (%v): --log-level info tells more", devReady, err)
		}
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// leaveCredentials copies the master's credentials to where the command line looks for them first, unless they would take
// the place of those of another cluster that runs: then it says how to reach each.
func (d *dev) leaveCredentials(ctx context.Context, from string) error {
	var err error
	if d.issued, err = os.ReadFile(from); err != nil {
		return fmt.Errorf("read credentials: %w", err)
	}
	file := filepath.Join(d.home(), "dev.json")
	if answers(ctx, file) {
		d.say("Another stowage dev runs here, and the command line goes on to reach that one. To reach this one, give each command --credentials %s, or\n  export STOWAGE_CREDENTIALS=%[1]s", from)
		return nil
	}
	return copyFile(from, file)
}

// devAnswer bounds how long another cluster may take to answer before it counts as gone.
const devAnswer = 3 * time.Second

// answers reports whether a master answers to these credentials.
func answers(ctx context.Context, credentials string) bool {
	c, err := client.Load(credentials)
	if err != nil {
		return false // there are none, or nobody can use them
	}
	ctx, cancel := context.WithTimeout(ctx, devAnswer)
	defer cancel()
	_, err = c.Status(ctx)
	return err == nil
}

// removeCredentials takes them away again, unless a cluster that was started since has left its own.
func (d *dev) removeCredentials() error {
	file := filepath.Join(d.home(), "dev.json")
	if now, err := os.ReadFile(file); err != nil || !bytes.Equal(now, d.issued) {
		return nil
	}
	return os.Remove(file)
}

// takeDown removes everything: tasks, executors, data and credentials.
func (d *dev) takeDown() error {
	ctx, cancel := context.WithTimeout(context.Background(), devDown)
	defer cancel()
	return errors.Join(takeDownAgents(ctx, d.dataDir), d.removeCredentials())
}

// sayMissing tells what this machine or this user cannot do.
func (d *dev) sayMissing() {
	if os.Getuid() != 0 {
		d.say("Without root, tasks run in user namespaces: limits on cpu, memory and processes are not enforced.")
	}
}

// sayRepository tells what is wrong with the repository; the master follows it all the same once that is mended.
func (d *dev) sayRepository(ctx context.Context, c *client.Client) {
	if st, err := c.Status(ctx); err == nil && st.Source.Error != "" {
		d.say("! %s\n  stowage init writes a starter repository; it is followed as soon as it has a commit.", st.Source.Error)
	}
}

// demoRepository makes a repository with the cluster file of the demo; its apps are committed later, before the eyes of
// whoever watches.
func (d *dev) demoRepository(ctx context.Context) (string, error) {
	repo := filepath.Join(d.dataDir, "repo")
	if err := os.MkdirAll(repo, 0o755); err != nil {
		return "", fmt.Errorf("make demo repository: %w", err)
	}
	if err := copyFile(filepath.Join(d.demo, "cluster.hcl"), filepath.Join(repo, "cluster.hcl")); err != nil {
		return "", fmt.Errorf("copy demo: %w", err)
	}
	return repo, errors.Join(
		d.git(ctx, repo, "init", "-q", "-b", "main"),
		d.git(ctx, repo, "config", "user.name", "Demo"), d.git(ctx, repo, "config", "user.email", "demo@example.com"),
		d.git(ctx, repo, "add", "-A"), d.git(ctx, repo, "commit", "-q", "-m", "an empty cluster"))
}

func (d *dev) git(ctx context.Context, repo string, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", repo}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// showDemo plans the working tree, commits it, and follows until everything runs.
func (d *dev) showDemo(ctx context.Context, c *client.Client) error {
	if err := os.CopyFS(d.repo, onlyNew{os.DirFS(d.demo), d.repo}); err != nil {
		return fmt.Errorf("copy demo: %w", err)
	}
	d.say("\n$ stowage plan ./        # what would these files do?\n")
	plan, err := c.PlanTree(ctx, os.DirFS(d.repo))
	if err != nil {
		return err
	}
	p := d.page()
	p.Plan(plan, view.PlanOptions{})
	d.say("\n$ git add -A && git commit -m 'the quickstart'        # approval = \"auto\": a good commit is applied\n")
	if err := errors.Join(d.git(ctx, d.repo, "add", "-A"), d.git(ctx, d.repo, "commit", "-q", "-m", "the quickstart")); err != nil {
		return err
	}
	began := time.Now()
	if err := d.follow(ctx, c); err != nil {
		return err
	}
	d.say("\nEverything runs, %d ms after the commit.\n\n$ stowage ps\n", time.Since(began).Milliseconds())
	list, err := c.Allocations(ctx, client.AllocationFilter{})
	if err != nil {
		return err
	}
	d.page().Allocations(list)
	d.say("\nNow, in another terminal:\n"+
		"  cd %[1]s\n"+
		"  edit variables.hcl, say web_count = 5; then  stowage plan ./  and  git commit -am 'more web'\n"+
		"  stowage status · stowage ps · stowage logs -f shop/web · stowage exec -it shop/web[0] -- sh\n"+
		"  stowage explain shop/web[0]        # why it is where it is, and its story\n"+
		"  kill -9 any of it, and look again\n"+
		"Ctrl-C here takes everything down without a trace.", d.repo)
	return nil
}
