// Package memory is a store in this process: the reference for the other
// backends, and the one to test your own code against.
//
//	st := memory.NewStore()
//	a, err := st.Session(ctx, nil)
//	b, err := st.Session(ctx, nil)
//	g, err := mutex.New(a, "x").Lock(ctx)
//	st.Expire(a) // g.Context() is done now: does your code stop?
//
// Its only clock is package time, so it runs inside a testing/synctest bubble,
// where leases expire in no time; make the Store inside the bubble then. A
// session can also be opened with the URL memory://NAME: all that name one store
// share it.
//
// # GUARANTEES
//
// All of package session's. Calls are linearizable, and none is ever lost.
//
// # NOT GUARANTEED
//
// Nothing survives the process.
package memory
