package etcd

import (
	"context"
	"errors"
	"fmt"

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
	generation int
}

// A watching is a watch under way. Its owner calls stop.
type watching struct {
	events clientv3.WatchChan
	stop   func()
	on     *stream
}

// watch watches, on the shared stream, until it is stopped or ctx ends.
func (s *store) watch(ctx context.Context, key string, opts ...clientv3.OpOption) watching {
	s.mu.Lock()
	on := s.stream
	s.mu.Unlock()
	wctx, cancel := context.WithCancel(on.ctx)
	unbind := context.AfterFunc(ctx, cancel)
	return watching{
		events: s.client.Watch(wctx, key, opts...),
		stop: func() {
			unbind()
			cancel()
		},
		on: on,
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

// refreshStream replaces the stream used, unless somebody has already.
func (s *store) refreshStream(used *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stream != used {
		return
	}
	next := 0
	if used != nil {
		next = used.generation + 1
	}
	ctx := clientv3.WithRequireLeader(s.ctx)
	if next > 0 {
		ctx = metadata.AppendToOutgoingContext(ctx, "fairlead-stream", fmt.Sprint(next))
	}
	s.stream = &stream{ctx, next}
}
