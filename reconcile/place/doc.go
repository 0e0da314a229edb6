// Package place decides which node an allocation goes to.
//
// A Fleet is the nodes with what is taken of them, as flat vectors. For an app it gives a Matcher (the nodes that its
// constraints accept, found once), and for a number of allocations a Batch: the feasible nodes with everything a policy
// may want to know. A Policy answers with Picks; Fill is the solver that turns a plain scoring function into a Policy.
// What does not fit is explained by Matcher.Explain: every rule that a node fails, for every node.
//
// Every feasible node is considered, not a sample. That is cheap because a placement changes the score of one node
// only: a heap per cell (the nodes that share all groups of the rules over allocations) keeps the best on top.
package place
