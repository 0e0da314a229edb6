package registry

import (
	"context"
	"fmt"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

// helperWithin bounds the wait for a credential helper, which is a program of somebody else.
const helperWithin = 20 * time.Second

// authenticator finds the credentials for a registry. A helper that hangs is left behind: it cannot be told to stop.
func (s *settings) authenticator(ctx context.Context, r name.Registry) (authn.Authenticator, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, helperWithin, fmt.Errorf("the credential helper does not answer within %s", helperWithin))
	defer cancel()
	type answer struct {
		who authn.Authenticator
		err error
	}
	done := make(chan answer, 1)
	go func() {
		if s.credentials == "" {
			who, err := authn.DefaultKeychain.Resolve(r)
			done <- answer{who, err}
			return
		}
		who, err := credentialsIn(s.credentials, r)
		done <- answer{who, err}
	}()
	select {
	case a := <-done:
		return a.who, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Credentials are what the node has for a host that is no registry but keeps files or repositories: those under its name in the same file, none if there are
// none.
func (c *Client) Credentials(ctx context.Context, host string) (authn.AuthConfig, error) {
	r, err := name.NewRegistry(host)
	if err != nil {
		return authn.AuthConfig{}, err
	}
	who, err := c.settings.authenticator(ctx, r)
	if err != nil {
		return authn.AuthConfig{}, err
	}
	found, err := who.Authorization()
	if err != nil || found == nil {
		return authn.AuthConfig{}, err
	}
	return *found, nil
}

// credentialsIn looks a registry up in the config.json of a folder.
func credentialsIn(folder string, r name.Registry) (authn.Authenticator, error) {
	file, err := config.Load(folder)
	if err != nil {
		return nil, err
	}
	key := r.RegistryStr()
	if key == name.DefaultRegistry {
		key = authn.DefaultAuthKey
	}
	c, err := file.GetAuthConfig(key)
	if err != nil {
		return nil, err
	}
	if c.Username == "" && c.Password == "" && c.Auth == "" && c.IdentityToken == "" && c.RegistryToken == "" {
		return authn.Anonymous, nil
	}
	return authn.FromConfig(authn.AuthConfig{Username: c.Username, Password: c.Password, Auth: c.Auth, IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken}), nil
}
