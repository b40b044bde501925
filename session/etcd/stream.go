package etcd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/metadata"
)

var errChannelClosed = errors.New("the watch has ended")

// A stream stands for the gRPC stream that all watches share. The client library
// keeps one stream for each set of outgoing metadata: of watches with contexts
// derived from this one, the first opens it and the last closes it.
//
// Watches require a leader: a member that is cut off from the others ends them,
// instead of telling nothing until the partition heals.
//
// A stream authenticates once, when it is opened, with a token that expires
// after five minutes by default. Watches on it go on, but a new one is refused
// then. A fresh stream, under other metadata, gets a fresh token.
type stream struct {
	ctx        context.Context
	abandon    context.CancelFunc // ends all watches on it
	generation int
}

// A watching is a watch under way. Its owner calls stop, and listens to both channels:
// while the library tries to connect it does not come to close that of the events.
type watching struct {
	events clientv3.WatchChan
	ended  <-chan struct{} // closed when it is stopped, or its stream abandoned
	stop   func()
	on     *stream
}

// watch watches, on the shared stream, until it is stopped or ctx ends.
func (s *store) watch(ctx context.Context, key string, opts ...clientv3.OpOption) watching {
	on := s.board()
	wctx, cancel := context.WithCancel(on.ctx)
	unbind := context.AfterFunc(ctx, cancel)
	return watching{
		events: s.client.Watch(wctx, key, opts...),
		ended:  wctx.Done(),
		stop: func() {
			unbind()
			cancel()
			s.alight(on)
		},
		on: on,
	}
}

// board counts one watch more on the present stream, and alight one less on it.
func (s *store) board() *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[s.stream]++
	return s.stream
}

func (s *store) alight(on *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[on]--; s.streams[on] > 0 {
		return
	}
	if delete(s.streams, on); on != s.stream {
		on.abandon()
	}
}

// watchFailed is failed for what ended a watch. It sees to it that the next
// watch has a chance: where the credentials have become stale, on a new stream.
func (s *store) watchFailed(ctx context.Context, op string, w watching, err error) error {
	if isStale(recognised(err)) {
		s.refreshStream(w.on)
		err = fmt.Errorf("the watch was refused: %v", err) // no matter for the caller
	}
	return s.failed(ctx, op, err)
}

// refreshStream replaces the stream used, unless somebody has already, and returns
// the present one.
func (s *store) refreshStream(used *stream) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream != used {
		return s.stream
	}
	next := 0
	if used != nil {
		next = used.generation + 1
	}
	ctx := clientv3.WithRequireLeader(s.ctx)
	if next > 0 {
		ctx = metadata.AppendToOutgoingContext(ctx, "fairlead-stream", fmt.Sprint(next))
	}
	ctx, cancel := context.WithCancel(ctx)
	s.stream = &stream{ctx, cancel, next}
	return s.stream
}

// attend sees to it that nobody waits for long on a stream on which nothing arrives
// any more, since its member is frozen or packets are dropped: gRPC notices that
// after a quarter of a minute, and only if the client was told to look.
//
// It costs a watch for each store, however many waits there are. To ask for the
// progress of all watches, which etcd offers, would wake up all waiters, and has no
// answer while one of the watches lags behind.
func (s *store) attend(every time.Duration) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-ticker.C:
		}
		s.mu.Lock()
		used := slices.Collect(maps.Keys(s.streams))
		s.mu.Unlock()
		var all sync.WaitGroup
		for _, on := range used {
			all.Go(func() { s.verify(on) })
		}
		all.Wait()
	}
}

// verify replaces a stream on which nothing arrives, until there is one on which
// something does. Whoever waits on it looks again, and goes on waiting on the next.
//
// That the next one says nothing either may mean that it is on the same connection,
// or that the store is slow: it is given more time from then on.
func (s *store) verify(on *stream) {
	for fresh := false; ; fresh = true {
		took, ok := s.arrives(on)
		if ok || fresh {
			s.watches.observe(took)
		}
		if ok || on.ctx.Err() != nil || s.client.Ctx().Err() != nil {
			return
		}
		next := s.refreshStream(on)
		on.abandon()
		on = next
	}
}

// arrives tells whether anything comes back on a stream, and how long that took. A
// watch that begins does, and so does the refusal of one. It is on a key that is
// never there.
func (s *store) arrives(on *stream) (took time.Duration, ok bool) {
	ctx, cancel := context.WithCancel(on.ctx)
	defer cancel()
	defer time.AfterFunc(min(s.watches.patience(), s.timeout), cancel).Stop()
	begun := time.Now()
	_, ok = <-s.client.Watch(ctx, s.keys.limit(""), clientv3.WithCreatedNotify())
	return time.Since(begun), ok
}
