// Package api is what the master offers to people and programs: the requests and answers as Go types, the table of all
// routes, and the OpenAPI description that is generated from both. The server is in package server, the Go client in
// package client; neither knows a route that does not stand in the table.
//
// Every answer is JSON, but for logs, archives and metrics. Streams are server-sent events. An error is an Error, with
// what to do about it.
package api
