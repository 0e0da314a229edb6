// Package sdk is what the author of a plugin imports: it serves an implementation of one of the ports to a Stowage
// master. See doc_test.go.
package sdk
