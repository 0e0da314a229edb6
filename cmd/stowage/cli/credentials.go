package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/stowage/stowage/master/api/client"
)

// defaultMasterDir is where a master keeps its data when it is not told otherwise; root finds its credentials there.
const defaultMasterDir = "/var/lib/stowage/master"

// credentialFiles are the places where the command line looks for credentials, in order: what it is told, a stowage dev
// that runs on this machine, this user's settings, a master on this machine.
func (s *shell) credentialFiles() []string {
	if s.credentials != "" {
		return []string{s.credentials}
	}
	if path := s.env("STOWAGE_CREDENTIALS"); path != "" {
		return []string{path}
	}
	return []string{filepath.Join(s.home(), "dev.json"), filepath.Join(s.home(), "credentials.json"), defaultMasterDir + "/credentials.json"}
}

// client returns a client of the master.
func (s *shell) client() (*client.Client, error) {
	files := s.credentialFiles()
	for _, path := range files {
		c, err := client.Load(path)
		if errors.Is(err, fs.ErrNotExist) && len(files) > 1 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read credentials %s: %w", path, err)
		}
		return c, nil
	}
	return nil, errors.New("no credentials found: start a cluster here with `stowage dev`, or copy credentials.json from the master's data directory to " + files[1])
}

// printLine prints a value as one line of JSON.
func (s *shell) printLine(v any) error { return json.NewEncoder(s.Stdout).Encode(v) }

// copyFile copies a file, for its owner only.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
