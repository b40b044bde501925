// Package drivertest is the conformance suite that every backend runs.
//
// A backend describes itself in a [Backend] and calls [Run] from a test:
//
//	func TestConformance(t *testing.T) {
//		drivertest.Run(t, drivertest.Backend{
//			MinTTL:    2 * time.Second,
//			Networked: true,
//			Connect:   func(tb drivertest.TB, link *drivertest.Link) driver.Store { … },
//			Expire:    func(tb drivertest.TB, lease driver.Lease) { … },
//		})
//	}
//
// Each case is named after the invariant that it holds. Most drive the public
// API, as an invariant is worth nothing when it ends at the driver; those on
// what the driver interface promises call the driver itself.
//
// # Faults
//
// Faults come in at two places. [Calls] sits on the driver interface and hits
// the very call that is meant: it loses the reply of the n-th, cancels its
// caller, or makes it late. [Link] sits in the dialer of a networked backend
// and does to bytes what a network does: delay, loss of an answer, silence,
// and requests that arrive after everybody has given them up.
//
// # Time
//
// The suite runs in real time, as real stores do. Cases wait for conditions,
// with generous upper bounds, and use the store's smallest TTL where a lease has
// to run out. They run in parallel, on one store, under names of their own.
//
// # Failing
//
// A suite that cannot fail shows nothing. The package's own tests run it against
// a store with planted bugs and require that the cases meant for each report
// it: that is why cases are written against [TB] and not *testing.T.
package drivertest
