package cli

import (
	"os"
	"path/filepath"
	"regexp"
)

// clusterBlock begins a cluster block.
var clusterBlock = regexp.MustCompile(`(?m)^\s*cluster\s+"`)

// around finds the repository that a folder is in, as git does, and which folder of it to follow: the nearest one around
// the given folder that holds the cluster block, or all of it when none does. A folder in no repository is returned as
// it is: whoever follows it says so, and takes it up once it is one.
func around(folder string) (repo, path string) {
	for repo = folder; !isRepository(repo); repo = filepath.Dir(repo) {
		if repo == filepath.Dir(repo) {
			return folder, ""
		}
	}
	for at := folder; at != repo; at = filepath.Dir(at) {
		if holdsCluster(at) {
			path, err := filepath.Rel(repo, at)
			if err != nil {
				return repo, ""
			}
			return repo, filepath.ToSlash(path)
		}
	}
	return repo, ""
}

// isRepository accepts working trees, those of git worktree too, and bare repositories.
func isRepository(folder string) bool {
	if _, err := os.Stat(filepath.Join(folder, ".git")); err == nil {
		return true
	}
	_, head := os.Stat(filepath.Join(folder, "HEAD"))
	_, objects := os.Stat(filepath.Join(folder, "objects"))
	return head == nil && objects == nil
}

func holdsCluster(folder string) bool {
	files, err := filepath.Glob(filepath.Join(folder, "*.hcl"))
	if err != nil {
		return false // the folder's name holds characters of a pattern
	}
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && clusterBlock.Match(text) {
			return true
		}
	}
	return false
}
