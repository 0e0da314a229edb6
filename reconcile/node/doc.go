// Package node is the core of the agent: everything it decides, and nothing it does. Core.Step takes what happened
// (events.go) and answers with what to do (effects.go); it never asks a clock, and the same events give the same
// effects.
//
// It obeys assignments with a newer generation only. What an assignment does not mention is left alone and reported;
// only Want = stop stops. Without a master everything goes on as it was decided last.
//
// An allocation's way, forward only:
//
//	            Prepare        Start            all main tasks run
//	placed ───► preparing ───► starting ──────► running ──────┐
//	   │            │              │               │          │ exits beyond restart: failed
//	   │            └── failed ◄───┴───────────────┘          │ all main tasks exit 0 (batch): complete
//	   └─ Want = stop: ─────────► stopping ───────────────────┴─► complete | failed
//
// Starting are the prestart tasks, one after the other, then the sidecars, then the main tasks; stopping are these, then the poststop
// tasks run, then the sidecars stop. A task's way to its end, each stage remembered before it begins:
//
//	running ───► delayed ───► commanded ───► signalled ───► killed ───► (exit)
//	        Asked        Until          Commanded      Signalled
//
// An ended allocation stays in memory until an assignment no longer lists it; then its folder is cleaned, the master
// told that it is gone, and it is forgotten.
package node
