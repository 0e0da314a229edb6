package sim

import (
	"fmt"

	"github.com/stowage/stowage/spec"
)

// What a script may speak of. A name that nothing has would be said, or expected, of nothing: the script would go on and
// prove less than it says.

// known are the apps of all commits of a scenario, with how many slots each has at most; -1 is any number.
type known struct {
	apps map[spec.AppName]int
	any  bool // framework drivers make apps that stand in no file
}

func (s *scenario) known() *known {
	k := &known{apps: map[spec.AppName]int{}}
	for _, r := range s.revisions { // any order: the largest counts
		if r.Cluster != nil {
			k.add(r.Cluster)
		}
	}
	return k
}

func (k *known) add(c *spec.Cluster) {
	k.any = k.any || len(c.Frameworks) > 0
	for _, app := range c.Apps {
		slots := app.Count
		if app.Scaling != nil {
			slots = max(slots, app.Scaling.Max)
		}
		if before, again := k.apps[app.Name]; before < 0 || app.Kind == spec.KindSystem {
			slots = -1
		} else if again {
			slots = max(slots, before)
		}
		k.apps[app.Name] = slots
	}
}

// knows complains of an app that no commit has. An app of a run goes by the name of the app whose run it is.
func (p *player) knows(name string) error {
	if p.known == nil {
		p.known = p.scenario.known()
	}
	app := template(spec.AppName(name))
	if _, ok := p.known.apps[app]; ok || p.known.any {
		return nil
	}
	return fmt.Errorf("no commit has an app %s%s", app, meant(string(app), sortedKeys(p.known.apps)))
}

func (p *player) knowsSlot(text string) error {
	s, err := spec.ParseSlot(text)
	if err != nil {
		return err
	}
	if err := p.knows(string(s.App)); err != nil {
		return err
	}
	slots, ok := p.known.apps[template(s.App)]
	if !ok || slots < 0 || s.Index < slots {
		return nil
	}
	return fmt.Errorf("%s has no slot %d in any commit: it has %d, which begin at 0", s.App, s.Index, slots)
}

func (p *player) knowsNode(name string) error {
	if p.world.named[spec.NodeID(name)] != nil {
		return nil
	}
	return fmt.Errorf("there is no node %s%s", name, meant(name, sortedKeys(p.world.named)))
}

// ofApp, ofSlot and ofNode make commands that are about something whose name comes first.
func ofApp(do func(*player, []string) error) func(*player, []string) error {
	return named((*player).knows, do)
}

func ofSlot(do func(*player, []string) error) func(*player, []string) error {
	return named((*player).knowsSlot, do)
}

func ofNode(do func(*player, []string) error) func(*player, []string) error {
	return named((*player).knowsNode, do)
}

func named(knows func(*player, string) error, do func(*player, []string) error) func(*player, []string) error {
	return func(p *player, args []string) error {
		if err := knows(p, args[0]); err != nil {
			return err
		}
		return do(p, args)
	}
}

// meant says what may have been meant; "" when nothing is near.
func meant[T ~string](given string, names []T) string {
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = string(n)
	}
	if c := spec.Closest(given, texts); c != "" {
		return ": did you mean " + c + "?"
	}
	return ""
}

// orAll is what may have been meant, or all that there is.
func orAll(meant, all string) string {
	if meant != "" {
		return meant
	}
	return all
}
