// Package git follows a branch of a Git repository and hands out the trees of its commits. Nothing of it needs the git
// program.
//
//	Open ──► Follow(ctx, func(Head))      a call for every new commit, and for every change of what is wrong
//	     └─► Resolve, Log, Distance       commits by name, their history
//	     └─► Tree(hash) fs.FS             what a commit holds, read when asked for
//
// A repository on this machine (a path or a file:// address; bare, with a work tree, or a linked work tree) is read where it
// lies. Its folders of references are watched; a change there is a hint to look, and what the branch then says is the
// truth. A slow poll covers file systems that do not tell.
//
// A repository elsewhere (https://, ssh://, user@host:path) is mirrored into Config.StoreDir: branches and tags, with their
// whole history, since a forced push must be followed too. One process writes to a store. A fetch that is cut short at
// any moment leaves the store as it was: objects come first, and the references are one file that is replaced as a whole.
// A store that turns out damaged is given up and made again, because it holds nothing that the remote has not.
//
// Submodules are not followed: they are visible in a tree, and opening one is an error that says so.
package git
