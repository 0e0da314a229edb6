// Package journal keeps the decisions of the masters: an ordered list of entries that a majority of the members has on
// disk, and the machine (the caller's state) that those entries build.
//
// # Shape
//
//	Open ──► Lead(ctx, run) ──► Append(ctx, entries...) ──► Machine.Apply on every member
//	                                        │
//	                                        └─► log segments on disk ──► snapshot when they grow ──► old segments removed
//
// One member, in process and without a network, is the default: give Config.Dir, Config.ID and Config.Machine. Several
// members differ in configuration only: Config.Members names them all and Config.Link is how they reach each other
// (ListenTCP, with or without TLS). A member alone leads a few milliseconds after Open; with several, a dead leader is
// replaced after one and a half to three times Config.Timeout.
//
// # What is guaranteed
//
//   - An Append that returned nil is on the disks of a majority and survives kill -9 of every member at any moment.
//   - The entries of one Append are applied together or not at all, and in order.
//   - An Append that failed tells through FateOf whether nothing was written for certain, or whether that is unknown.
//   - Being leader means being inside the function given to Lead. Its context ends with the leadership, and what a former
//     leader still tries to append is refused.
//
// # Disk
//
//	format          the layout's version and the member's id
//	lock            held while a process has the journal open
//	vote            term and vote of this member; fixed size, so that a full disk cannot stop an election
//	log/            segments, and the list of segments (meta)
//	snapshots/      the newest two, each with a checksum
//
// Before the disk is full, Append refuses (ErrFull) and the journal stays open and keeps its leadership. Every entry and
// every snapshot begins with its format's version; what is newer than this program is refused with ErrNewer.
package journal
