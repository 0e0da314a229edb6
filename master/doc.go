// Package master is the daemon that decides. It is a shell around the pure core in reconcile/control: one goroutine owns
// the core, everybody else sends it events and looks at what it shows.
//
//	repository ─RevisionSeen─┐                        ┌─► Record ─► journal (durable before anything that follows)
//	agents     ─Reported…────┤                        ├─► Send ───► link ─► agents
//	API        ─Approve…─────┼─► inbox ─► core.Step ──┼─► Expand ─► plugins, outside of the loop ─► Expanded
//	plugins    ─Expanded…────┤    (loop.go)           ├─► Publish ► story ─► API
//	time       ─Tick─────────┘                        └─► Answer ─► API
//
// Run opens what is needed, and leads while the journal says so: a term (term.go) is one core from the journal's state
// to the end of the leadership or to the first record that could not be written. What happens then: the core is thrown
// away, since it knows things that never became durable; agents connect again and report in full; a new core starts.
//
// What reads the core does so through snapshots (snapshot.go): made at most once per change, shared, never changed.
package master
