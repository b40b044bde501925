package drivertest

import (
	"context"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A Backend is what the suite has to know of a store.
type Backend struct {
	// MinTTL is the smallest TTL that the store grants or, where it grants any,
	// the smallest that a machine under load can keep renewed.
	MinTTL time.Duration

	// Connect makes a connection to the store under test, the same store each
	// time. Where the backend is networked, all its bytes have to pass through
	// the link, which is nil where nothing is to happen to them. The suite closes
	// the store.
	Connect func(tb TB, link *Link) driver.Store

	// Networked says that Connect uses the link.
	Networked bool

	// Expire ends a lease at the store behind the owner's back, as an operator
	// may. It returns when the store has ended it. It must not go through the
	// lease's own connection, which may be frozen, nor let the lease know.
	Expire func(tb TB, lease driver.Lease)

	patience time.Duration // 0: the constant; tests of the suite have less
}

// TB is the part of *testing.T that cases use.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any) // from the case's own goroutine only
	Failed() bool
	Context() context.Context // ends before the clean-up
	Cleanup(f func())
}

// A Case is one invariant and the scenario that puts it to the test.
type Case struct {
	Name string
	run  func(f *fixture)
}

// Run runs the case on its own.
func (c Case) Run(tb TB, b Backend) { c.run(newFixture(tb, b, c.Name)) }

// Cases returns all cases.
func Cases() []Case {
	var all []Case
	for _, group := range [][]Case{
		entryCases, leaseCases, queueCases, limitCases,
		exclusionCases, tryCases, fairnessCases,
		rwmutexCases, semaphoreCases, resizeCases,
		grantCases, doCases, closeCases, inputCases,
		watchCases, electionCases, runCases,
		replyCases, cancelCases, freezeCases, lossCases, breakCases,
	} {
		all = append(all, group...)
	}
	return all
}

// Run runs the suite.
func Run(t *testing.T, b Backend) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			c.Run(t, b)
		})
	}
}
