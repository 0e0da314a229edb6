// Package rollout decides how fast: which slots of an app start, stop, move, are updated in place or replaced now, and
// which wait for what. It knows one app at a time and no nodes, only whether each allocation's node is well.
//
// Advance carries the record of a rollout on; Decide gives the steps.
//
//	            all healthy
//	rolling ─────────────────────► done
//	  ▲   │                          │ another version is committed
//	  │   │ no progress: deadline    ▼
//	  │   ├──────► reverting ─► failed (the good version runs; nothing more until another version is committed)
//	  │   └──────► failed (nothing to go back to, or auto_revert = false)
//	promoted
//	  │
//	canaries ──► reverting or failed, as above
package rollout
