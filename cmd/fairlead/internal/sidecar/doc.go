// Package sidecar answers by HTTP who leads, for programs that do not link Fairlead: they ask a
// `fairlead elect` that runs beside them.
//
//	/leader   who leads, as JSON; 404 when nobody does, 503 before that is known
//	/readyz   200 when the store answers that the session's lease is alive
//	/healthz  200 while the session's lease can be trusted
//
// The two differ while the store is away: /readyz fails at once, /healthz when the trust window
// has closed, a margin before the lease could expire, and until there is a new lease. So
// /healthz tolerates what a leadership survives, and nothing else.
//
// "me" of /leader is true only while the trust window of this candidate's own term is open: that
// is looked at when it is asked, without asking the store. Whoever acts on it may be
// stopped in between, so it sends the token along with what it does.
package sidecar
