package cli

import (
	"github.com/spf13/cobra"
	"github.com/stowage/stowage/agent/registry"
)

// registryFlags are the flags of daemons that say how registries of images are reached.
func registryFlags(c *cobra.Command, r *registry.Config) {
	f := c.Flags()
	f.StringArrayVar(&r.Mirrors, "registry-mirror", nil, "another place for the images of a registry, asked first, as docker.io=HOST[:PORT][/PREFIX]; may be repeated")
	f.StringArrayVar(&r.PlainHTTP, "registry-http", nil, "registry to speak to without TLS, as HOST[:PORT]; one on this machine needs no leave; may be repeated")
	f.StringArrayVar(&r.CAs, "registry-ca", nil, "certificates to trust for a registry, as HOST[:PORT]=FILE; may be repeated")
	f.StringVar(&r.Credentials, "registry-credentials", "", "folder with docker's config.json, whose credentials and helpers are used, for artifacts too (default: $DOCKER_CONFIG, or where docker and podman keep it)")
}
