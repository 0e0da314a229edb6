// Package sim runs the real cores of master and agents in one process, in virtual time, under a script. It is how most
// behaviour is tested, and how users rehearse a commit.
//
// # Scenarios
//
// A scenario is a txtar archive. Its comment is the script: one command a line (several with " · " between), "#" starts
// a remark. The files under NAME/ are the repository at `commit NAME`.
//
//	nodes n[1-5] cpu=4 memory=8GiB disk=100GiB rack=r1    five nodes; n[01-80] counts with zeros; a number is a resource
//	                                                      and an attribute, other values are attributes
//	begin 2026-03-28T12:00:00Z     the clock at which all begins (2026-01-01); first, if at all
//	commit v1                      the next commit; the master follows as it would: auto applies, manual waits
//	approve [exact]                the plan that waits, as it was first shown; approve? may find none
//	hasten                         what is followed waits for no window any more
//	settle                         run until nothing changes any more, but for firings, windows and the cluster's own looks for
//	                               moves, which the clock brings for ever (an error after 24 virtual hours)
//	advance 30s                    run for so long, or until a time such as 2026-03-29T01:00:00Z
//	workload heavy-tailed apps=50 allocations=500    the next commit has made-up apps (Workload)
//	arrivals jobs=100 over=24h     batch apps come one by one, and leave once they are done
//	measure 6h                     from now on it is measured so often what is stranded (Stranded)
//	rewind v1                      history is rewritten: the head of the branch is v1
//	repository gone, repository back
//	crash n3 [wipe], return n3     power off (tasks end, disks stay or are emptied), and on again
//	partition n3 [mute|deaf], heal n3    the link is cut, or one direction of it; tasks run on
//	lag n3 5s, repeat n3           what is said arrives late, or twice; until heal
//	skew n3 1h, skew master -1h    a clock is wrong
//	disk-full n3, disk-free n3     nothing can be saved; also of the master
//	agent-restart n3               the agent is killed and comes back; tasks run on
//	freeze n3, thaw n3             the agent stands still
//	reset n3                       the link breaks once, with all that is under way on it
//	drain n3 [window=nightly] [deadline=1h], undrain n3, remove n3
//	exit shop/web[2] 1 [30s]       whatever runs in that slot exits with 1, from now on
//	unhealthy shop/web[2]          … fails its checks (one that restarts: after failures times interval); healthy shop/web[2] takes either back
//	start shop/web 5s              how long its tasks take to become healthy (1s); never: they do not
//	run nightly 10m                how long the tasks of a batch app work (10s)
//	pull APP 2m|fails|ok, exec APP fails|ok    how starting goes
//	dispatch nightly date=today    a run of an app with a schedule, with parameters
//	cancel nightly                 its runs that are under way; or one by its name
//	stubborn shop/web              its tasks ignore their stop signal
//	restart shop/web, promote shop/web, scale shop/web 5, rollback v1, resume
//	leader-change [recorded|unrecorded]    another master leads, from the journal; at the next decision
//	leader-freeze 20s              the master stands still
//	lose-journal                   all masters and their disks are gone; a new one begins with nothing
//	show allocations | nodes | apps | roles | blocked | runs | plan | events
//	expect allocations APP N       running and healthy ones
//	expect completed APP N         of a batch app
//	expect blocked APP N [TEXT]    slots without a place; TEXT is part of a rule that is named, or of a group of nodes
//	expect failed APP [TEXT]       the plan says that its rollout has failed, with TEXT in the reason
//	expect fix APP TEXT            a change that would give all of its blocked slots a place; TEXT is part of it
//	expect node NODE N             allocations on it that have not ended; 0 while it is silent
//	expect changes N, expect no-changes      of the newest commit's plan: right after commit all of it, later the rest
//	expect at-rest                 no changes are left but for apps whose rollout has failed, or that wait for room, or for the
//	                               cluster's budget while what has no place or has failed uses it up
//	expect rollout APP STATE, expect following NAME, expect waiting NAME, expect not-used NAME
//	expect event TEXT              a line of the story holds the text; expect events N TEXT: so many do
//	expect runs APP STATE N        runs that are remembered in a state: waiting, running, complete, failed, cancelled, skipped
//	                               or missed (each firing counts)
//	expect next APP TIME           the next firing, as 2026-03-29T01:00:00Z; none
//	expect waits APP TEXT          the window that its change waits for, with when it opens; none
//	expect starts SLOT N           containers were started in that slot since the beginning, restarts included
//	expect source TEXT, expect availability APP 99.9%
//	expect misplaced APP N [TEXT]  run where the app's rules would not let them be placed now
//	expect refused [TEXT]          the last request was, with this in its reason
//
// A "?" after a command ("drain? n3") lets it be refused.
//
// # What is simulated
//
// The cores are real; the rest is the shortest thing that behaves like it: links deliver in order, late, or break with what
// is under way; journals take a millisecond, and lose what was not yet durable when their leader goes; executors keep exit
// codes; disks keep what was saved. All delays come from the seed, and so do faults in random scenarios. An app of
// kind service or system without a check that gates gets one here, so that it takes time to become healthy.
//
// After every event the invariants (invariant.go) are checked; a violation ends the run. The trace hash covers every
// event and every journal entry: the same scenario and seed give the same hash on every machine.
package sim
