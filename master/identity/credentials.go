package identity

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// Credentials are what a command needs to talk to a master.
type Credentials struct {
	Address string `json:"address"` // https://host:port
	CA      string `json:"ca"`      // PEM
	Token   string `json:"token"`
}

// ReadCredentials reads a file that WriteCredentials wrote.
func ReadCredentials(path string) (Credentials, error) {
	var c Credentials
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	if err != nil {
		return c, fmt.Errorf("read credentials: %w", err)
	}
	return c, nil
}

// WriteCredentials writes a file that only its owner may read.
func WriteCredentials(path string, c Credentials) error {
	data, err := json.MarshalIndent(c, "", "  ")
	if err == nil {
		err = writeFile(path, append(data, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write credentials: %w", err)
	}
	return nil
}

// Local sees to it that the file at path lets the commands on this machine in: with the address given and a token of an
// operator that is good. A token that is still valid is kept.
func Local(path, address string, a *Authority, t *Tokens) (Credentials, error) {
	want := Credentials{Address: address, CA: a.PEM()}
	have, err := ReadCredentials(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		have = Credentials{} // it was damaged: a new one does no harm
	}
	if k, err := t.Check(have.Token); err == nil && k.Kind == Operator {
		want.Token = have.Token
	}
	if want == have {
		return have, nil
	}
	if want.Token == "" {
		if want.Token, _, err = t.Create(Operator, "commands on the master's machine", 0); err != nil {
			return want, err
		}
	}
	return want, WriteCredentials(path, want)
}

const joinPrefix = "stwjoin"

// JoinToken joins the authority's fingerprint and a token of kind agent to the one word that is handed to people:
// stwjoin.FINGERPRINT.SECRET. Whoever has it can tell the true master from any other before speaking to it.
func JoinToken(fingerprint, secret string) string {
	return joinPrefix + "." + fingerprint + "." + secret
}

// ParseJoinToken takes a join token apart.
func ParseJoinToken(text string) (fingerprint, secret string, err error) {
	parts := strings.SplitN(strings.TrimSpace(text), ".", 3)
	if len(parts) != 3 || parts[0] != joinPrefix || len(parts[1]) != 43 || !strings.HasPrefix(parts[2], "stw_") {
		return "", "", errors.New("this is not a join token: it looks like stwjoin.….stw_agent_…; make one with stowage token create --kind agent")
	}
	return parts[1], parts[2], nil
}
