// Package plant is the bugs that a client of the torture can be given, to show that
// the checks find them: most are those of internal/mutant, which the conformance
// suite and the simulation have to find as well.
package plant
