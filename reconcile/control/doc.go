// Package control is the core of the master: everything it decides, and nothing it does. Core.Step takes what happened
// (event.go), decides at most once, and answers with what to do (effect.go).
//
//	core := control.New(config, state, now)       // state: the journal, replayed
//	effects := core.Step(now, events...)          // any number of events, one plan
//
// Hard state (State) is what the journal says; it changes by Entry and State.Apply alone, on every master alike. Soft
// state (who is connected, what the agents last said) is rebuilt from the agents' full reports after a change of leader.
//
// # From commit to work
//
//	RevisionSeen ──► (Expand ⇄ Expanded) ──► plan ──► approval = auto, no guards: Followed
//	                                          └─────► else: Pending ──► Approve ──► Followed
//	Followed, and every later event ──► reconcile.Plan ──► reconcile.Decide ──► Record{Decided} ──► Send to agents
//
// What is followed decides until another revision is; healing needs no approval.
//
// # A new leader
//
// It neither plans nor sends before every node of the journal has sent its full report, or been silent for
// spec.NodeUnknownAfter. An empty journal may be a lost one: unless Config.Fresh says that the cluster is new, it waits
// SettleFor for agents to come back, adopts what they hold, and goes on from the highest generation that they mention.
package control
