// Package disk keeps the folders of tasks within the disk that they asked for.
//
// Where the file system has project quotas (ext4 made with -O project,quota and mounted with prjquota, xfs mounted with prjquota; Linux 5.14),
// the kernel does it: each folder is a project of its own, and a write beyond its limit fails with EDQUOT. It costs nothing. But outside of
// user namespaces the owner of a file may set its project to any number: it holds only those who are kept from the calls that do it.
//
// Elsewhere, and of all others, folders are measured, and who has written too much is reported, to be stopped. Measuring means to walk through a folder, so it is
// done only when there is a reason: once a second one call tells how much of the file system is in use, and no folder can have grown by
// more than that has, unless something else shrank at the same time; therefore every folder is also measured once in a while. All walks
// together take no more than a twentieth of a processor, and folders with many names are walked through beside the others (look.go). What such a limit
// does not see: files that are removed and still open, and anything that is written and removed again between two looks.
//
// With the bytes a limit holds the files: see Limiter.Set.
//
// See docs/decisions/0027-disk-limits.md for what else there could be.
package disk
