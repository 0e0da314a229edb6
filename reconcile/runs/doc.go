// Package runs carries the runs of batch apps on: old records and the time in, new records, events and the next moment
// out. It is as pure as the rest of the core.
//
// A run that is under way is an app of its own, whose slots the planner places like any other's (see reconcile). What
// is decided here is only when one begins, when it waits, and when it has ended:
//
//	fire.go      the clock: which firings are due, which become a run, which are skipped or missed, each exactly once
//	start.go     makes the records of a run and of all that follow from it
//	advance.go   waiting → running → complete, failed or cancelled
//	history.go   which ended runs are remembered
package runs
