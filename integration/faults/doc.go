// Faults tortures Fairlead: it starts a real store and clients, processes of their
// own that use every primitive, has faults happen to both that it draws from a
// seed, and checks from what the clients wrote down that the promises were kept.
//
//	go run ./faults -backend etcd -minutes 1 -seed 7
//
// It prints a line for each fault and a summary; where something was violated, also
// what, the files that show it, and the command that plays the same faults again.
// With -json it writes a report to a file, and
//
//	go run ./faults -table etcd.json zk.json
//
// makes the tables of docs/reliability.md from such files.
//
// The exit status is 0 if everything held, 1 if not, and 2 if the run could not be
// made, was broken off, or has shown nothing about some promise.
//
// # Where to find what
//
//	run.go       a run from its beginning to its end
//	cast.go      the client processes and the network of each
//	report.go    what a run came to, and tables of several
//	showing.go   how planted bugs are shown
//	keeper.go    a session that no fault hits: it sees who is in which queue
//	client/      what a client process does
//	plant/       the bugs that it can be given
//	journal/     what it writes down
//	register/    what the locks protect
//	cluster/     the stores and what can be done to them
//	nemesis/     the faults
//	check/       the checks, the summary and the picture
package main
