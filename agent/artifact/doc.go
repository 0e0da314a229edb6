// Package artifact fetches what tasks ask for beside their image: files, archives and Git repositories behind a URL.
//
// # A process of its own
//
// What comes from outside is not looked at by the agent, which is root of its node. Each step is done by a short-lived helper, which is the
// agent's own program under another name ([Serve]): it runs as a user that owns nothing and that no other helper has ([helperID]), with
// limits on memory and files, in a PID namespace that takes everything with it when it ends, and dies with the agent. It lets nobody without
// privileges look into its memory. It does see the files of the node as anybody may: its mounts are those of the agent. It is given the request on its standard
// input and one open file; it answers with reports and, where something is unpacked, with a plain tar archive, which the image
// store unpacks as it does those of images.
//
//	download   writes what a URL has into the file; goes on where an earlier one stopped. The agent hashes the file itself: a helper
//	           that a server has taken over cannot lie about a checksum
//	clone      has a Git server send a commit, and writes the pack into the file
//	unpack     reads the file and writes a tar archive. It has no network, but for Unix sockets of the node that anybody may connect to
//
// What a repository has at a commit needs no trust either: every object of the pack is hashed, and found by its hash only.
//
// # What is fetched from
//
// Any address but those of the link, of the platform (where clouds hand out the credentials of a machine) and, unless the URL itself
// names it, of the machine. Redirects may not lead from TLS to plain text, and take neither headers nor credentials to another host.
package artifact
