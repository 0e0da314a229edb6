// Package identity tells who is who: the cluster's own certificate authority, the master's certificate, the agents'
// certificates, and the tokens of people and programs. All of it is made at the first start; there is nothing to
// configure and no way to be without.
//
//	DIR/ca.pem, ca.key            the authority (ECDSA P-256), ten years
//	DIR/server.pem, server.key    the master's certificate, renewed when it nears its end or when a name is missing
//	DIR/tokens.json               hashes of the tokens, never the tokens themselves
//	DIR/../credentials.json       address, authority and an operator's token for the commands on this machine
//
// An agent joins with a token that carries the fingerprint of the authority, so that it knows the master before it says
// anything: see JoinToken. It gets a certificate for the key it made itself, and from then on the certificate is its
// name. A token of kind agent opens nothing but that door.
package identity
