// Policy-binpack serves the built-in policies as plugins: the smallest scheduling policy that can be written, and the
// proof that what is built in and what is brought from outside are the same thing. Its argument chooses the policy.
package main

import (
	"fmt"
	"os"

	"github.com/stowage/stowage/plugins/sdk"
	"github.com/stowage/stowage/reconcile/place"
)

func main() {
	name := place.Binpack.Name
	if len(os.Args) > 1 {
		name = os.Args[1]
	}
	policy, ok := place.BuiltIn(name)
	if !ok {
		fmt.Fprintf(os.Stderr, "there is no built-in policy %q: choose binpack or spread\n", name)
		os.Exit(2)
	}
	sdk.ServePolicy(name, "1.0", policy)
}
