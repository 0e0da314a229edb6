// Package plugins holds the ports of Stowage: what others can bring to it, as small Go interfaces, and the rules that
// every answer is held to before anything is done with it.
//
//	Policy     where allocations go          asked by the planner, a batch at a time
//	Framework  what one block of HCL means    asked whenever something that the block owns has changed
//
// An implementation is either Go code in this process (the built-in policies) or a program of its own, started and
// supervised by package host and written against package sdk; package conformance holds both to the same rules. What a
// plugin answers is checked here (CheckPicks, CheckExpansion): it can answer badly, never harmfully. An answer that
// breaks a rule is an error with its reason, and the apps concerned are held as they are.
package plugins
