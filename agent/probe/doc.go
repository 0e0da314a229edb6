// Package probe runs the health checks of a node: http, https, tcp, grpc and grpcs, and exec, which runs a command in a task by a
// function of the caller's.
//
// A [Prober] has one schedule for all checks. A check that waits for its turn is an element of a heap and nothing more: no
// goroutine, no timer, no connection. What runs at the same time is bounded, separately for network and exec, so that hanging
// commands do not hold up the rest.
//
// # When a check runs
//
// For the first time after a short random delay, so that a node full of checks does not run them in step. Until it has passed once
// it is repeated quickly, doubling from 100 ms to the interval: an allocation that is up is known to be up at once, and one that
// takes minutes costs little. After that, each interval counts from the start of the run before; a run that takes
// longer than the interval is followed by the next without a break, never by two at once.
//
// # What counts
//
// An http check passes with a status from 200 to 399, or those that it names, and if the beginning of the body matches where it says so;
// redirects are not followed, as where they lead is another server's health. A grpc check passes when the health service of the server
// answers SERVING. A tcp check passes when the connection is accepted. An exec check passes with exit code 0. A passing check becomes
// failing after Failures bad runs in a row, a failing one passing after Successes good ones.
package probe
