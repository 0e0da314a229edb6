// Package host runs plugins: it starts the programs that a repository names, keeps them running, asks them with
// deadlines, holds their answers to the rules of package plugins, and takes them down with itself.
//
// # The life of a plugin
//
//	         ┌────────────── back-off over ──────────────┐
//	         ▼                                            │
//	starting ──hand-shake──► running ──ended, hung──► waiting
//	         └──────── failed ───────────────────────────┘
//	any of them ──no longer wanted──► (gone)
//
// # What is guaranteed
//
//   - What runs is the file that was checked, byte for byte: it is copied into sealed memory while its SHA-256 is
//     taken, and that memory is what the kernel executes. Replacing the file on disk in between changes nothing.
//   - It sees nothing of the host: no environment but PATH, LANG, TMPDIR and the hand-shake's, no open files
//     but its own program, and as standard input a pipe that ends with the host.
//   - It does not outlive the host, even when that is killed with SIGKILL: the kernel kills it (a parent-death signal,
//     bound to a thread that lives as long as the plugin), and the SDK watches the pipe as well.
//   - It is a process group of its own, and whatever of the group is left when the plugin ends is killed. Where the host
//     may make one (as root), it is a process namespace as well, so that nothing the plugin started outlives it.
//   - Every call has a deadline and every answer a largest size. A plugin that misses a deadline is killed and started
//     again like one that crashed, after a delay that doubles from MinBackoff to MaxBackoff.
//   - What it printed last is kept and shown in the reason for which its apps are held.
//
// This is the only package that imports go-plugin.
package host
