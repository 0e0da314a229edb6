package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Reference is docs/reference/commands.md: every command with its flags, made from the commands themselves.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Commands\n\nMade from the commands themselves; `stowage COMMAND --help` says the same.\n\n## Everywhere\n\n")
	root := (&shell{}).root()
	flags(&b, root.PersistentFlags())
	b.WriteString("\nExit codes: 0 for success, 1 for an error. `stowage plan --detailed-exitcode` exits with 2 when not all is as the commit says;\n`stowage exec` exits with the code of the command it ran, 127 when there is no such command, 126 when it is not executable.\n")
	for _, g := range root.Groups() {
		fmt.Fprintf(&b, "\n## %s\n", strings.TrimSuffix(g.Title, ":"))
		for _, c := range root.Commands() {
			if c.GroupID == g.ID {
				describe(&b, c)
			}
		}
	}
	b.WriteString("\n## Others\n")
	for _, c := range root.Commands() {
		if c.GroupID == "" && c.Name() != "help" {
			describe(&b, c)
		}
	}
	return b.String()
}

func describe(b *strings.Builder, c *cobra.Command) {
	if c.HasSubCommands() {
		for _, sub := range c.Commands() {
			describe(b, sub)
		}
		if !c.Runnable() || c.Args == nil {
			return
		}
	}
	fmt.Fprintf(b, "\n### `%s`\n\n%s.\n", strings.TrimSuffix(c.UseLine(), " [flags]"), c.Short)
	if c.Long != "" {
		fmt.Fprintf(b, "\n%s\n", c.Long)
	}
	if c.Example != "" {
		fmt.Fprintf(b, "\n%s\n", "    "+strings.TrimSpace(c.Example))
	}
	if c.NonInheritedFlags().HasAvailableFlags() {
		b.WriteString("\n")
		flags(b, c.NonInheritedFlags())
	}
}

func flags(b *strings.Builder, set *pflag.FlagSet) {
	b.WriteString("| flag | meaning | default |\n|---|---|---|\n")
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		value := f.DefValue
		if value == "[]" || value == "false" {
			value = ""
		}
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(b, "| %s | %s | %s |\n", name, strings.ReplaceAll(f.Usage, "|", "\\|"), value)
	})
}
