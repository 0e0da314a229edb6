// Package registry talks to OCI registries: the master asks what a tag means now, agents fetch manifests and layers by digest.
//
// # What is trusted
//
// Nothing but a digest. What is fetched by one is verified against it by whoever reads it ([Client.Document] does so
// itself), so a mirror or a registry can withhold, not forge. A tag means whatever the registry says: that is asked over TLS,
// unless [Config.PlainHTTP] names the host or it is this machine.
//
// Documents and answers are of bounded size. Redirects lead to no scheme but https (http where the registry itself may speak it), and
// no connection that a registry asks for goes to loopback or link-local addresses, where the machine's own services and the
// metadata of clouds are, unless the registry itself is there.
//
// # Mirrors
//
// For content that is named by a digest the mirrors of a registry are asked first, in order, and the registry last. A tag is looked up in
// the same order: who configures a mirror takes its word.
//
// # Credentials
//
// Those of docker's config.json, with its credential helpers, read anew for each connection: of [Config.Credentials], or where
// docker and podman keep them. Without any a registry is asked anonymously.
package registry
