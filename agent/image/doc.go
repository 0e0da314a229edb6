// Package image is a node's image store: it turns an image of a registry, one that lies in the followed repository, in a
// file or behind a URL into read-only folders that overlayfs can stack.
//
// # Input
//
// A [Ref] names an image of a registry by its digest, an OCI image layout (a folder, or a tar archive of one) or an archive as written by "docker save". Tar
// archives may be plain or compressed by gzip or zstd. Of an image for several platforms the one for linux and the
// node's architecture is taken. A URL needs a SHA-256 checksum; a repository path needs none, as its commit pins it.
//
// # On disk
//
//	DIR/format          version of this format, and where overlay attributes are kept ("trusted" or "user")
//	DIR/lock            flock of the process that has the store open
//	DIR/layers/KEY/     one unpacked layer; KEY is derived from the chain of diff IDs up to this layer
//	DIR/images/HEX      record of a prepared image: configuration and layers (JSON)
//	DIR/archives/HEX    which image an archive with this checksum holds, or a manifest or index with this digest leads to
//	DIR/downloads/HEX   a blob that waits to be unpacked; HEX.part: as much of one as has come
//	DIR/tmp/            everything else unfinished; emptied by Open
//
// A layer is unpacked under tmp, flushed to disk, and renamed into layers: a layer that exists is complete, whenever the
// process or the machine dies. Images that share a chain of layers share the folders, and so do all allocations.
// DIR is mode 0700, so that other users of the node do not reach the layers: these keep the set-user-id bits and file capabilities of the
// image. A task runs with no_new_privs, under which they give nothing. With no_new_privileges = false, or privileged, they work
// as in any system: whoever runs in the task may become root of it, with the capabilities that the task was given and no more.
//
// # Pulling
//
// Layers that are not there are downloaded side by side and unpacked from the bottom up as they come. A part of a download outlives the
// process: the next attempt asks for the rest. All of it is hashed before it gets its name, and again while it is unpacked.
//
// # Removing
//
// Images that nobody uses go when the disk fills up ([Store.Collect]): the record first, then the layers that no other record has, by a
// rename into tmp. A record that is there has all its layers at every moment, and layers without a record are found by the next
// collection.
//
// # Hostile images
//
// Nothing in an image is trusted. All names are walked one component at a time below an [os.Root]; symbolic links in the
// folder part of a name are resolved as if the image were the whole file system, so no entry leaves its layer. Names with
// "..", devices, and hard links to something outside the image are refused. Sizes, numbers of entries, lengths and
// expansion ratios have limits with names ([Limits]). Blob digests and diff IDs are verified, always. Of extended
// attributes only "user.*" (without "user.overlay.*") and file capabilities are kept: an image cannot write
// attributes that overlayfs would obey.
//
// # Overlay
//
// Whiteouts become character devices 0/0, opaque folders the attribute trusted.overlay.opaque, or user.overlay.opaque
// where the process may not write the former (without root, or in a user namespace); [Image.UserXattr] tells the mount to
// use "userxattr". Without root, owners are not kept (everything belongs to the agent's user, which is root of the task's user
// namespace) and folders are always writable by their owner.
package image
