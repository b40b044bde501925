package etcd

import (
	"context"
	"sync/atomic"
)

// request bounds a request that nobody makes again for it: one that is lost on its
// way is followed by another, of its caller. The owner calls the function when it
// has its answer.
//
// A deadline of the context would travel with the request and cost the server a
// timer for each; that we stop waiting is enough.
func (s *store) request(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	r := &pending{cancel: cancel}
	s.overdue.add(r)
	return ctx, func() {
		s.overdue.remove(r, false)
		cancel()
	}
}

// attempt bounds a request that must not be made twice, but of which the caller can
// find out what became of it: so it gives up as soon as the answer is overdue. The
// owner calls the function with what it got.
func (s *store) attempt(ctx context.Context) (context.Context, func(err error)) {
	ctx, cancel := context.WithCancel(ctx)
	r := &pending{cancel: cancel, brief: true}
	s.overdue.add(r)
	return ctx, func(err error) {
		s.overdue.remove(r, err == nil)
		cancel()
	}
}

// repeated makes a request that does no harm and tells the same when it is made
// twice. See hedged.
func repeated[T any](ctx context.Context, s *store, ask func(context.Context) (T, error)) (T, error) {
	return hedged(ctx, s, ask, ask)
}

// hedged makes a request. When the answer is overdue it asks again, on the next of
// the connections, and takes the answer that comes first.
//
// A member that is frozen or cut off does not answer, and neither does a member
// that has forwarded the request to a leader that has just died: etcd waits seven
// seconds then before it says so. The first request is not given up, as it may be
// the store that is slow. So however slow that is, what was answered in time without
// hedges is answered with them.
//
// Requests that were overtaken may arrive when their caller has gone on. So each is
// guarded on something that has changed when one of them was answered, or is no more
// than a read.
func hedged[T any](ctx context.Context, s *store, first, again func(context.Context) (T, error)) (T, error) {
	rctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var won atomic.Pointer[T]
	r := &pending{cancel: cancel}
	r.again = func() bool {
		v, err := again(rctx)
		if err != nil { // the first may still do better
			return false
		}
		won.Store(&v)
		cancel()
		return true
	}
	s.overdue.add(r)
	v, err := first(rctx)
	s.overdue.remove(r, err == nil)
	cancel()
	r.hedges.Wait()
	if got := won.Load(); err != nil && got != nil {
		return *got, nil
	}
	return v, err
}
