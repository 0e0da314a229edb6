// Package pipeline is an example: a repository with a nightly pipeline of batch apps, and its story in the simulator.
package pipeline
