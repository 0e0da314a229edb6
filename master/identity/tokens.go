package identity

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stowage/stowage/spec"
)

// Kind is what a token allows.
type Kind string

// The kinds of token.
const (
	Operator Kind = "operator" // everything
	Reader   Kind = "reader"   // looking, not touching
	Agent    Kind = "agent"    // joining as an agent, nothing else
)

// DefaultJoinTTL of tokens of kind agent: a token that lies in a shell's history opens the door for a day only.
const DefaultJoinTTL = spec.Duration(24 * time.Hour)

// MaxTokens that may exist at once.
const MaxTokens = 10_000

// Token is what is kept of a token: everything but the secret.
type Token struct {
	ID      string    `json:"id"`
	Kind    Kind      `json:"kind"`
	Name    string    `json:"name"` // whose it is, for people
	Created spec.Time `json:"created"`
	Expires spec.Time `json:"expires,omitempty"` // zero: never
	Hash    string    `json:"hash,omitempty"`    // SHA-256 of the whole token, hexadecimal
}

// ErrToken is returned for a token that is unknown, revoked or expired.
var ErrToken = errors.New("the token is not valid: it is unknown, revoked or expired")

// Tokens are the tokens of a cluster, kept as hashes in one file. Its methods may be called from any goroutine.
type Tokens struct {
	path string
	now  func() time.Time

	mu   sync.Mutex
	list map[string]Token // by Hash
}

type tokenFile struct {
	FormatVersion int     `json:"format_version"`
	Tokens        []Token `json:"tokens"`
}

const tokenFormat = 1

// OpenTokens reads the tokens in the file at path; none when there is no such file.
func OpenTokens(path string, now func() time.Time) (*Tokens, error) {
	t := &Tokens{path: path, now: now, list: map[string]Token{}}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	var file tokenFile
	if err == nil {
		err = json.Unmarshal(data, &file)
	}
	if err == nil && file.FormatVersion > tokenFormat {
		err = fmt.Errorf("it was written by a newer version of stowage (format %d, known is %d)", file.FormatVersion, tokenFormat)
	}
	if err != nil {
		return nil, fmt.Errorf("read tokens %s: %w", path, err)
	}
	for _, k := range file.Tokens {
		t.list[k.Hash] = k
	}
	return t, nil
}

// Create makes a token and returns it with its secret, which is told this once. A ttl of zero means for ever.
func (t *Tokens) Create(kind Kind, name string, ttl spec.Duration) (string, Token, error) {
	switch {
	case kind != Operator && kind != Reader && kind != Agent:
		return "", Token{}, fmt.Errorf("create token: %q is not a kind: use operator, reader or agent", kind)
	case len(name) > spec.MaxNameLength || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' }):
		return "", Token{}, fmt.Errorf("create token: the name is too long or has control characters: use at most %d bytes of text", spec.MaxNameLength)
	case ttl < 0:
		return "", Token{}, errors.New("create token: the life time is negative")
	}
	var raw [28]byte
	if _, err := rand.Read(raw[:]); err != nil {
		return "", Token{}, fmt.Errorf("create token: %w", err)
	}
	secret := "stw_" + string(kind) + "_" + base64.RawURLEncoding.EncodeToString(raw[4:])
	now := spec.TimeOf(t.now())
	k := Token{ID: hex.EncodeToString(raw[:4]), Kind: kind, Name: name, Created: now, Hash: hashOf(secret)}
	if ttl > 0 {
		k.Expires = now.Add(ttl)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(now)
	if len(t.list) >= MaxTokens {
		return "", Token{}, fmt.Errorf("create token: there are %d already: revoke some", len(t.list))
	}
	t.list[k.Hash] = k
	if err := t.save(); err != nil {
		delete(t.list, k.Hash)
		return "", Token{}, fmt.Errorf("create token: %w", err)
	}
	return secret, k, nil
}

// forget drops what expired more than a day ago; until then it is listed as expired.
func (t *Tokens) forget(now spec.Time) {
	for hash, k := range t.list {
		if k.Expires != 0 && k.Expires.Add(24*spec.Hour) < now {
			delete(t.list, hash)
		}
	}
}

// Check returns what a secret stands for, or ErrToken.
func (t *Tokens) Check(secret string) (Token, error) {
	hash := hashOf(secret)
	t.mu.Lock()
	defer t.mu.Unlock()
	k, ok := t.list[hash]
	if !ok || k.Expires != 0 && k.Expires <= spec.TimeOf(t.now()) {
		return Token{}, ErrToken
	}
	k.Hash = ""
	return k, nil
}

// List returns all tokens, without hashes, by creation.
func (t *Tokens) List() []Token {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.sorted()
	for i := range list {
		list[i].Hash = ""
	}
	return list
}

// Revoke ends a token at once. It reports false when there is none with this ID.
func (t *Tokens) Revoke(id string) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for hash, k := range t.list {
		if k.ID != id {
			continue
		}
		delete(t.list, hash)
		if err := t.save(); err != nil {
			t.list[hash] = k
			return true, fmt.Errorf("revoke token: %w", err)
		}
		return true, nil
	}
	return false, nil
}

func (t *Tokens) sorted() []Token {
	list := make([]Token, 0, len(t.list))
	for _, k := range t.list {
		list = append(list, k)
	}
	slices.SortFunc(list, func(a, b Token) int { return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.ID, b.ID)) })
	return list
}

func (t *Tokens) save() error {
	data, err := json.MarshalIndent(tokenFile{tokenFormat, t.sorted()}, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(t.path, data, 0o600)
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
