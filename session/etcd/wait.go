package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v4"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-go/fairlead/session/driver"
)

// Wait implements driver.Lease. It watches the entry's key, or the whole queue
// where there are several to wait for, and costs the store one range request for
// each thing that happens to one of them.
//
// After trouble of any kind, a compaction, a member without leader, a
// connection that broke, it looks again and watches again.
func (l *lease) Wait(ctx context.Context, v driver.View, on driver.Obstacles) (driver.View, error) {
	pause := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(10*time.Millisecond),
		backoff.WithMaxInterval(time.Second),
		backoff.WithMaxElapsedTime(0),
	)
	for {
		next, err := l.await(ctx, v, on)
		if err == nil || settled(ctx, err) {
			return next, err
		}
		if err := sleep(ctx, pause.NextBackOff()); err != nil {
			return driver.View{}, fmt.Errorf("wait in queue %q: %w", v.Me.Name, err)
		}
		if l.stillBehind(ctx, v.Me, on, 0) {
			continue
		}
		next, blocked, err := l.look(ctx, v, on, 0)
		switch {
		case err == nil && !blocked, settled(ctx, err):
			return next, err
		case err == nil:
			v = next
		}
	}
}

// settled tells whether err, if it is one, ends a wait.
func settled(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || errors.Is(err, driver.ErrEntryGone) || driver.IsPermanent(err))
}

// await watches until one of the obstacles has left or changed. Any error but
// ErrEntryGone is about the watching.
//
// No departure falls between the view and the watch. The watch has no start
// revision: it begins with the store's present, which the member reads, for the
// response that says so, after it has registered the watch (etcd 3.7; up to 3.4
// it registered the watch from the revision it had read, plus one). So what
// comes after the revision in that response is an event, and what had happened
// by then shows when we look at that revision. A watch from the revision of the
// view would be simpler, and slow: when the store has passed that revision
// meanwhile, etcd serves the watch from a loop that runs every 100 ms.
//
// An event may be one that we have seen the effect of already, so its revision
// decides, and what is looked at is the queue, not the event: a key that was
// deleted and made again is no longer what we wait for.
func (l *lease) await(ctx context.Context, v driver.View, on driver.Obstacles) (driver.View, error) {
	op := "wait in queue " + quoted(v.Me.Name)
	entries := l.s.watchEntries(ctx, v.Me.Name, on.Entries)
	defer entries.stop()
	var limit watching
	if on.Limit {
		limit = l.s.watch(ctx, l.s.keys.limit(v.Me.Name), clientv3.WithCreatedNotify())
		defer limit.stop()
	}
	for {
		var resp clientv3.WatchResponse
		var ok, relevant bool
		from := entries
		select {
		case resp, ok = <-entries.events:
			relevant = concerns(resp, on.Entries)
		case <-entries.ended:
		case resp, ok = <-limit.events:
			from, relevant = limit, true
		case <-limit.ended:
			from = limit
		}
		switch {
		case !ok:
			return driver.View{}, l.s.watchFailed(ctx, op, from, errChannelClosed)
		case resp.Err() != nil:
			return driver.View{}, l.s.watchFailed(ctx, op, from, resp.Err())
		}
		rev := revision(resp)
		if uint64(rev) <= v.At || !relevant || resp.Created && l.stillBehind(ctx, v.Me, on, rev) {
			continue
		}
		next, blocked, err := l.look(ctx, v, on, rev)
		if err != nil || !blocked {
			return next, err
		}
		v = next
	}
}

// watchEntries watches one key or, of several, the queue that they are in: one
// watch all the same, on which what happens to others is heard as well.
func (s *store) watchEntries(ctx context.Context, name string, entries []driver.Entry) watching {
	if len(entries) == 1 {
		return s.watch(ctx, entries[0].Key, clientv3.WithCreatedNotify())
	}
	return s.watch(ctx, s.keys.dir(name), clientv3.WithPrefix(), clientv3.WithCreatedNotify())
}

// concerns tells whether a response is about one of the entries, or says that the
// watch has begun.
func concerns(resp clientv3.WatchResponse, entries []driver.Entry) bool {
	if resp.Created {
		return true
	}
	for _, ev := range resp.Events {
		if slices.ContainsFunc(entries, func(e driver.Entry) bool { return e.Key == string(ev.Kv.Key) }) {
			return true
		}
	}
	return false
}

// stillBehind tells whether at a revision or since, or at present if that is 0, an exclusive
// entry and what it waits for are there, unchanged. It reads these two, where a look reads the queue, which as a rule has grown
// since the entry joined, and has not changed otherwise. When in doubt it is false.
func (l *lease) stillBehind(ctx context.Context, me driver.Entry, on driver.Obstacles, rev int64) bool {
	if me.Mode != driver.Exclusive {
		return false
	}
	both := []driver.Entry{me, on.Entries[0]}
	got, err := l.s.readSince(ctx, rev, both[0].Key, both[1].Key)
	if err != nil {
		return false
	}
	for i, e := range both {
		if kvs := got[i].Kvs; len(kvs) == 0 || !isSame(uint64(kvs[0].CreateRevision), uint64(kvs[0].ModRevision), e) {
			return false
		}
	}
	return true
}

// look takes a view at a revision, as viewAt does, and tells whether all of the
// obstacles are there in it, unchanged.
func (l *lease) look(ctx context.Context, v driver.View, on driver.Obstacles, rev int64) (driver.View, bool, error) {
	next, err := l.s.viewAt(ctx, v.Me, rev)
	if err != nil {
		return driver.View{}, false, err
	}
	if on.Limit && next.Limit.Version != v.Limit.Version {
		return next, false, nil
	}
	if v.Me.Mode == driver.Exclusive { // there is one obstacle
		blocked, err := l.s.isAhead(ctx, next, on.Entries[0])
		return next, blocked, err
	}
	now := make(map[uint64]driver.Entry, len(next.Ahead))
	for _, e := range next.Ahead {
		now[e.Token] = e
	}
	for _, e := range on.Entries {
		if isNow := now[e.Token]; !isSame(isNow.Token, isNow.Version, e) {
			return next, false, nil
		}
	}
	return next, true, nil
}

// revision is the one up to which a watch tells what happened.
func revision(resp clientv3.WatchResponse) int64 {
	if n := len(resp.Events); n > 0 {
		return resp.Events[n-1].Kv.ModRevision
	}
	return resp.Header.Revision
}

// isAhead tells whether the entry is still ahead in the view, unchanged. In the
// view of an exclusive entry only the nearest shows; it hides those before it,
// which have to be asked for.
func (s *store) isAhead(ctx context.Context, v driver.View, on driver.Entry) (bool, error) {
	if len(v.Ahead) == 0 || v.Ahead[len(v.Ahead)-1].Token < on.Token {
		return false, nil
	}
	if nearest := v.Ahead[len(v.Ahead)-1]; nearest.Token == on.Token {
		return isSame(nearest.Token, nearest.Version, on), nil
	}
	resp, err := s.get(ctx, "look at an entry of queue "+quoted(on.Name), on.Key, clientv3.WithKeysOnly())
	if err != nil {
		return false, err
	}
	return len(resp.Kvs) > 0 && isSame(uint64(resp.Kvs[0].CreateRevision), uint64(resp.Kvs[0].ModRevision), on), nil
}

// isSame tells whether what is under an entry's key is that entry, unchanged. A
// key that was deleted and made again is another.
func isSame(token, version uint64, e driver.Entry) bool {
	return token == e.Token && version == e.Version
}

// sleep waits for d, or fails with ctx's error when that ends first.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
