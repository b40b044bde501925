// Package mutant puts bugs into sound drivers, to show that the tests can fail: the
// conformance suite, the simulation and the torture of real stores each have to find
// those that are meant for them. docs/planted-bugs.md lists who finds what.
//
// A bug is a function that wraps a [driver.Store]. Those that are here are planted by
// more than one of the checkers; each has more of its own, made from a [Mutation].
package mutant
