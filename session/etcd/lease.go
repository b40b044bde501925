package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A lease is one of etcd's, with a session key attached to it.
type lease struct {
	s        *store
	id       clientv3.LeaseID
	ttl      time.Duration
	key      string // of the session
	identity string

	// epoch is the session key's mod revision as last seen. Every Join is
	// guarded on it, and Resolve moves it on, so that no Join from before a
	// Resolve can apply after it.
	epoch   atomic.Int64
	fencing chan struct{} // has room for one, who moves the epoch

	slots  *slots
	limits known

	joins, leaves *batcher

	mu       sync.Mutex
	answered map[string]struct{} // see noSpace
}

// Grant implements driver.Store.
func (s *store) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	rctx, cancel := s.request(ctx)
	defer cancel()
	sent := time.Now()
	granted, err := s.client.Grant(rctx, int64(max((spec.TTL+time.Second-1)/time.Second, 1)))
	if err != nil {
		return nil, time.Time{}, s.failed(ctx, "grant a lease", err)
	}
	l := &lease{
		s:        s,
		id:       granted.ID,
		ttl:      time.Duration(granted.TTL) * time.Second,
		key:      s.keys.session(granted.ID),
		identity: spec.Identity,
		fencing:  make(chan struct{}, 1),
		slots:    newSlots(),
		joins:    s.newBatcher(),
		leaves:   s.newBatcher(),
		answered: map[string]struct{}{},
	}
	// Making the session key takes a round trip in which the lease ages, so it
	// is renewed beside that.
	renewed := make(chan time.Time, 1)
	s.work.Go(func() {
		second := time.Now()
		if l.Renew(ctx) != nil {
			second = sent
		}
		renewed <- second
	})
	if err := l.settle(ctx); err != nil {
		s.work.Go(func() { _ = l.Revoke(s.ctx) })
		return nil, time.Time{}, err
	}
	select {
	case sent = <-renewed:
	case <-ctx.Done():
	}
	s.work.Go(s.sweep)
	return l, sent, nil
}

// settle writes the session key.
func (l *lease) settle(ctx context.Context) error {
	rctx, cancel := l.s.request(ctx)
	defer cancel()
	resp, err := l.s.client.Put(rctx, l.key, sessionRecord{Identity: l.identity}.encode(), clientv3.WithLease(l.id))
	if err != nil {
		return l.s.failed(ctx, "write the session's key", err)
	}
	l.epoch.Store(resp.Header.Revision)
	l.s.identities.put(l.ID(), l.identity)
	return nil
}

// ID implements driver.Lease.
func (l *lease) ID() string { return leaseHex(l.id) }

// TTL implements driver.Lease.
func (l *lease) TTL() time.Duration { return l.ttl }

// Lag implements driver.Lease. The leader, who decides, answers renewals.
func (l *lease) Lag() time.Duration { return 0 }

// Renew implements driver.Lease. What is asked again counts from when it was asked
// first, which is earlier than it could.
func (l *lease) Renew(ctx context.Context) error {
	_, err := repeated(ctx, l.s, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, l.s.keepalives.renew(l.s.ctx, ctx, l.id)
	})
	return l.s.failed(ctx, "renew the lease", err)
}

// Check implements driver.Lease. A session key that somebody deleted counts as
// an end of the lease, which the session then revokes.
func (l *lease) Check(ctx context.Context) error {
	resp, err := l.s.get(ctx, "check the lease", l.key, clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	if resp.Count == 0 {
		return fmt.Errorf("check the lease: %w", driver.ErrLeaseGone)
	}
	return nil
}

// Watch implements driver.Lease. As it watches for as long as the session lives,
// it also keeps the stream open that the session's waits share.
func (l *lease) Watch(ctx context.Context, marked func()) error {
	const op = "watch the lease"
	w := l.s.watch(ctx, l.key, clientv3.WithRange(l.end()), clientv3.WithCreatedNotify())
	defer w.stop()
	for {
		var resp clientv3.WatchResponse
		var ok bool
		select {
		case resp, ok = <-w.events:
		case <-w.ended:
		}
		switch {
		case !ok:
			return l.s.watchFailed(ctx, op, w, errChannelClosed)
		case resp.Err() != nil:
			return l.s.watchFailed(ctx, op, w, resp.Err())
		}
		for _, ev := range resp.Events {
			switch own := string(ev.Kv.Key) == l.key; {
			case own && ev.Type == mvccpb.DELETE:
				return fmt.Errorf("%s: %w", op, driver.ErrLeaseGone)
			case !own && ev.Type == mvccpb.PUT:
				marked()
			}
		}
		if resp.Created { // from here on nothing is missed; what was there?
			if err := l.present(ctx, op, marked); err != nil {
				return err
			}
		}
	}
}

// present looks whether the session's key is there, and marks below it.
func (l *lease) present(ctx context.Context, op string, marked func()) error {
	resp, err := l.s.get(ctx, op, l.key, clientv3.WithRange(l.end()), clientv3.WithKeysOnly())
	switch {
	case err != nil:
		return err
	case len(resp.Kvs) == 0 || string(resp.Kvs[0].Key) != l.key:
		return fmt.Errorf("%s: %w", op, driver.ErrLeaseGone)
	case len(resp.Kvs) > 1:
		marked()
	}
	return nil
}

// Revoke implements driver.Lease. The entries go with the lease; where a permit
// was the last of its queue, the limit has to go, too.
func (l *lease) Revoke(ctx context.Context) error {
	_, err := repeated(ctx, l.s, func(ctx context.Context) (*clientv3.LeaseRevokeResponse, error) {
		resp, err := l.s.client.Revoke(ctx, l.id)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			err = nil
		}
		return resp, err
	})
	if err != nil {
		return l.s.failed(ctx, "revoke the lease", err)
	}
	for _, name := range l.slots.limited() {
		if err := l.s.tidy(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Entries implements driver.Lease. Of an entry whose key has a slot, the slot's
// owner is the one that was meant; where it has none, the entry is left over, and
// is read to see whose it is.
func (l *lease) Entries(ctx context.Context) ([]driver.Entry, error) {
	const op = "list the lease's entries"
	rctx, cancel := l.s.request(ctx)
	defer cancel()
	resp, err := l.s.client.TimeToLive(rctx, l.id, clientv3.WithAttachedKeys())
	if err != nil {
		return nil, l.s.failed(ctx, op, err)
	}
	if resp.TTL < 0 {
		return nil, fmt.Errorf("%s: %w", op, driver.ErrLeaseGone)
	}
	var entries []driver.Entry
	for _, k := range resp.Keys {
		name, base, ok := l.s.keys.split(string(k)) // false for the session key
		if !ok {
			continue
		}
		lb, ours, err := parseKey(base)
		if !ours || err != nil {
			continue
		}
		e := driver.Entry{Name: name, Key: string(k), ID: lb.id, Lease: l.ID(), Kind: lb.kind, Mode: lb.mode, Info: lb.info}
		if lb.slot >= 0 {
			e.ID = l.slots.owner(name, lb.slot)
		}
		if e.ID == "" {
			if e, ok, err = l.leftover(ctx, op, name, e.Key); err != nil {
				return nil, err
			} else if !ok {
				continue
			}
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// leftover reads an entry of ours that nobody here knows of.
func (l *lease) leftover(ctx context.Context, op, name, key string) (driver.Entry, bool, error) {
	resp, err := l.s.get(ctx, op, key)
	if err != nil || len(resp.Kvs) == 0 {
		return driver.Entry{}, false, err
	}
	e, ok, err := l.s.entry(name, resp.Kvs[0])
	return e, ok && e.ID != "", err
}
