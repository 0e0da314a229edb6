package hcl

import (
	"crypto/sha256"

	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Cache keeps the parsed files of the last load that used it, so that the next one parses only what changed. It is for
// one load at a time.
type Cache struct {
	meter meter // the wrapped expressions of all cached files point at it
	files map[string]parsed
	fresh map[string]parsed // of the load under way
}

// parsed is one file that parsed without errors.
type parsed struct {
	sum  [sha256.Size]byte
	body *hclsyntax.Body
	cost guard
}

// NewCache returns an empty cache.
func NewCache() *Cache { return &Cache{files: map[string]parsed{}} }

// begin starts a load with a full budget.
func (c *Cache) begin(budget meter) {
	if budget == (meter{}) {
		budget = meter{bytes: MaxEvaluatedBytes, steps: MaxSteps}
	}
	c.meter = budget
	c.fresh = make(map[string]parsed, len(c.files))
}

// end forgets the files that the load did not see.
func (c *Cache) end() { c.files, c.fresh = c.fresh, nil }

// find returns what is known of a file with exactly this name and text.
func (c *Cache) find(name string, sum [sha256.Size]byte) (parsed, bool) {
	p, ok := c.files[name]
	ok = ok && p.sum == sum
	if ok {
		c.fresh[name] = p
	}
	return p, ok
}
