// Command bench measures Fairlead beside its peers, on one server, in one run,
// taking turns, and prints a table with the ratios.
//
//	go run ./bench [-rounds 5] [-duration 2s] [-store NAME] [-run REGEXP] [-dir DIR] [-json FILE]
//
// The server is a process of its own, so that its work and the clients' are not
// mixed up in one runtime; it syncs to disk, as in production. In every round
// each subject runs for the given duration, and each round begins with another
// subject. A ratio is taken within a round, where the machine was the same for
// both, and then the median of the rounds: on a shared machine, trust the
// ratios rather than the figures.
//
// A [store] brings a server and the [subject]s that use it, a [workload] what
// they have to do; the table is their product. A further backend is a further
// store, a further row of the table a further workload.
package main
