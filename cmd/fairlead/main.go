// Fairlead runs commands under locks, semaphores and leaderships that are shared
// by processes on many machines.
//
//	fairlead dev                               a store to develop against
//	fairlead lock billing/nightly -- bill.sh   one at a time, first come, first served
//	fairlead sem render --limit 4 -- draw.sh   at most four at a time
//	fairlead elect billing/leader -- serve     one at a time, and another when that one fails
//	fairlead show billing/nightly              who holds it, since when, and who waits
//	fairlead release billing/nightly --token 7 break what hangs
//	fairlead demo                              what it does when processes die and freeze
//
// `fairlead help COMMAND` has the details.
package main

import (
	"errors"
	"fmt"
	"os"
)

func main() { os.Exit(run(os.Args[1:])) }

// run executes a command line and returns the exit status.
func run(args []string) int {
	root := newRoot()
	root.SetArgs(args)
	err := root.Execute()
	if err == nil {
		return 0
	}
	e, ok := errors.AsType[*exitError](err)
	if !ok {
		e = &exitError{status: statusFailure, err: err}
	}
	if e.err != nil {
		fmt.Fprintf(os.Stderr, "fairlead: %v\n", e.err)
	}
	return e.status
}
