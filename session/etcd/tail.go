package etcd

import (
	"context"
	"sync"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/fairlead-go/fairlead/session/driver"
)

// tails is where the tails of long queues live, relative to the prefix, by name.
//
// To tell who is nearest ahead a join reads the whole queue, inside its transaction,
// while all other writes wait. Where a queue is long, an exclusive entry takes the
// tail's place instead, as in the queue lock of Mellor-Crummey and Scott (1991): a key
// that says which entry did so last. That one came before it, so it is one to wait for,
// if it still is there; if not, the queue is read, after the transaction.
//
// A tail is a hint. Who joins without it, another library, an earlier release or
// whoever believes that the queue is short, stands between two that took its place,
// and the later of them meets it as everybody does: when it looks at the queue before
// its turn. The key goes with the lease of who took the place last; until then it may
// outlast the queue.
const tails = driver.Reserved + "/v1/tail/"

// tail is the key of a queue's tail.
func (ks keyspace) tail(name string) string { return string(ks) + tails + name }

// behindTail returns the entry whose place at the tail another has taken, or none if it has
// left the queue.
func (s *store) behindTail(ctx context.Context, me driver.Entry, tail []*mvccpb.KeyValue) ([]driver.Entry, error) {
	if len(tail) == 0 {
		return nil, nil
	}
	got, err := s.readSince(ctx, int64(me.Token), string(tail[0].Value))
	if err != nil || len(got[0].Kvs) == 0 || got[0].Kvs[0].CreateRevision != tail[0].ModRevision {
		return nil, nil // in doubt the queue tells
	}
	return s.entries(me.Name, got[0].Kvs)
}

// longQueue is how many keys make a queue long: then to read them costs the server more
// than another key written, and another one read.
const longQueue = 256

// lengths remembers which queues were long when they were read last.
type lengths struct {
	mu   sync.Mutex
	from int64 // that many keys
	long map[string]struct{}
}

func newLengths() *lengths { return &lengths{from: longQueue, long: map[string]struct{}{}} }

// note takes down how many keys a queue had.
func (l *lengths) note(name string, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case n >= l.from:
		if len(l.long) >= maxKnown {
			clear(l.long)
		}
		l.long[name] = struct{}{}
	case n < l.from/2:
		delete(l.long, name)
	}
}

// areLong reports whether the queue was long, and has not been seen to be half as
// long since.
func (l *lengths) areLong(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, ok := l.long[name]
	return ok
}
