// Package place decides which node an allocation goes to.
//
// A Fleet is the nodes with what is taken of them, as flat vectors. For an app it gives a Matcher (the nodes that its
// constraints accept, found once), and for a number of allocations a Batch: the feasible nodes with everything a policy
// may want to know. A Policy answers with Picks; Fill is the solver that turns a plain scoring function into a Policy.
// What does not fit is explained by Matcher.Explain: every rule that a node fails, for every node.
//
// Every feasible node is considered, not a sample. For many allocations that is cheap because a placement changes the
// score of one node only: a heap per cell (the nodes that share all groups of the rules over allocations) keeps the best on
// top. For few allocations it is cheap because not every node is looked at to be considered. The nodes that a set of
// constraints leaves (a reach) are put in an order once, alike next to alike, as a tree over capacities and what is free
// (Bentley, Multidimensional binary search trees, 1975); of every part of it an index knows between which bounds its nodes
// are. A search then passes over the parts that have no room, counts those that all have without a look inside, and leaves
// out those whose bound says that they cannot win. What is found is to the byte what a look at every node finds, with the same
// runner-up and the same number of feasible nodes: tests compare the two. Apps share orders and indexes; an index follows the
// fleet from change to change, and an order serves plan after plan. Requests of which an index does not know enough (devices,
// cores, static ports, rules over other apps, what reservations keep, policies that are plugins) look at every node.
package place
