package cli

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// TestAround wants the repository around a folder, and of it the folder that holds the cluster.
func TestAround(t *testing.T) {
	root := t.TempDir()
	whole, part, linked, bare, none := filepath.Join(root, "whole"), filepath.Join(root, "part"), filepath.Join(root, "linked"), filepath.Join(root, "bare.git"), filepath.Join(root, "none")
	for _, dir := range []string{whole + "/.git", whole + "/apps/deep", part + "/.git", part + "/examples/night/apps", part + "/docs", linked + "/apps", bare + "/objects", none} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		os.WriteFile(whole+"/main.hcl", []byte("cluster \"whole\" {}\n"), 0o600),
		os.WriteFile(whole+"/apps/web.hcl", []byte("app \"web\" {}\n"), 0o600),
		os.WriteFile(part+"/examples/night/main.hcl", []byte("# the nights\ncluster \"night\" {\n}\n"), 0o600),
		os.WriteFile(linked+"/.git", []byte("gitdir: elsewhere\n"), 0o600),
		os.WriteFile(bare+"/HEAD", []byte("ref: refs/heads/main\n"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	for folder, want := range map[string][2]string{
		whole:                         {whole, ""},
		whole + "/apps/deep":          {whole, ""},
		part + "/examples/night":      {part, "examples/night"},
		part + "/examples/night/apps": {part, "examples/night"},
		part + "/docs":                {part, ""},
		linked + "/apps":              {linked, ""},
		bare:                          {bare, ""},
		none:                          {none, ""},
	} {
		if repo, path := around(folder); repo != want[0] || path != want[1] {
			t.Errorf("around %s is %q of %q, want %q of %q", folder, path, repo, want[1], want[0])
		}
	}
}
