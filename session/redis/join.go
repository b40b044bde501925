package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/fairlead-go/fairlead/session/driver"
)

// maxConflicts is how often a conditional Join finds that the queue has changed before it joins
// whatever has. The first time is as usual as not: the queue was believed to be empty.
const maxConflicts = 5

// Join implements driver.Lease. It is one script; with Admit it is asked on the
// assumption that nobody is in the queue, and again if somebody is. Where the queue changes all
// the time, it is asked without one in the end, and then judge decides.
func (l *lease) Join(ctx context.Context, c driver.Claim) (driver.View, error) {
	op := "join queue " + quoted(c.Name)
	if err := driver.CheckName(c.Name); err != nil {
		return driver.View{}, err
	}
	l.claim(c.Name, c.ID)
	me := driver.Entry{
		Name: c.Name, ID: c.ID, Key: l.s.prefix + "d:" + c.Name + "#" + c.ID, Lease: l.id,
		Kind: c.Kind, Mode: c.Mode, Value: c.Value, Info: c.Info, Identity: l.identity,
	}
	seen := assumption{version: "0"}
	if c.Admit != nil && !c.Admit(driver.View{Me: me, Limit: driver.Limit{N: c.Limit}}) {
		q, err := l.s.Read(ctx, c.Name, 0)
		if err == nil {
			seen, err = l.admit(c, me, q.Limit, q.Entries)
		}
		if err != nil {
			return driver.View{}, l.refused(c, err)
		}
	}
	for conflicts := 0; ; {
		renewed := l.s.inbox.next()
		r, err := l.s.runSafely(ctx, joinScript, l.joinArgs(c, seen)...)
		if err != nil {
			return driver.View{}, l.s.failed(ctx, op, err)
		}
		switch r.status {
		case "ok":
			v, err := l.joined(op, c, me, r)
			if err == nil && c.Mode == driver.Exclusive && len(v.Ahead) == 1 {
				w := l.take(c.ID)
				w.told(v.Ahead[0], renewed)
				l.give(c.ID, w)
			}
			if err == nil && seen.loose {
				err = l.judge(ctx, c, v)
			}
			return v, err
		case "limit", "seen":
			q, err := l.s.decodeQueue(op, c.Name, reply{"ok", r.rest})
			if err == nil && r.status == "limit" {
				err = &driver.LimitError{Limit: q.Limit.N, Ahead: q.Entries}
			}
			if err == nil {
				seen, err = l.admit(c, me, q.Limit, q.Entries)
			}
			if err != nil {
				return driver.View{}, l.refused(c, err)
			}
			conflicts++
			seen.loose = conflicts >= maxConflicts
		case "epoch": // for which its sender is known to wait still, unlike one that arrives late
			if len(r.rest) != 1 {
				return driver.View{}, unexpected(op, r)
			}
			l.epoch.Store(&r.rest[0])
		default:
			return driver.View{}, unexpected(op, r)
		}
	}
}

// An assumption is what a conditional Join is guarded on: that no entry has a larger version
// than those that were seen, and that the limit is still that one.
type assumption struct {
	newest  uint64 // version of an entry
	version string // of the limit
	loose   bool   // neither is guarded on, but that the limit is the claim's
}

// admit asks the claim whether it wants to be in such a queue.
func (l *lease) admit(c driver.Claim, me driver.Entry, limit driver.Limit, entries []driver.Entry) (assumption, error) {
	seen := assumption{version: fmt.Sprint(limit.Version)}
	for _, e := range entries {
		seen.newest = max(seen.newest, e.Version)
	}
	if c.Limit > 0 && len(entries) == 0 {
		limit.N = c.Limit
	}
	if c.Limit > 0 && limit.N != c.Limit {
		return seen, &driver.LimitError{Limit: limit.N, Ahead: entries}
	}
	if !c.Admit(driver.View{Me: me, Ahead: entries, Limit: limit}) {
		return seen, &driver.Refused{Ahead: entries}
	}
	return seen, nil
}

// judge decides over an entry that may have been made whatever was in the queue, by its view. One
// that is refused leaves; the error is a refusal when it is known to have left. Who joins
// meanwhile waits for that, and a Try is refused for it.
func (l *lease) judge(ctx context.Context, c driver.Claim, v driver.View) error {
	if c.Admit == nil || c.Admit(v) {
		return nil
	}
	l.refuse(c.ID)
	if err := l.Leave(ctx, v.Me); err != nil {
		return err // it may still be there
	}
	return &driver.Refused{Ahead: v.Ahead}
}

// refused forgets a claim that was not made, and never will be.
func (l *lease) refused(c driver.Claim, err error) error {
	if _, limit := errors.AsType[*driver.LimitError](err); limit || errors.Is(err, driver.ErrRefused) {
		l.drop(c.ID)
	}
	return err
}

func (l *lease) joinArgs(c driver.Claim, seen assumption) []string {
	newest := ""
	if c.Admit != nil && !seen.loose {
		newest = fmt.Sprint(seen.newest)
	}
	return []string{
		l.id, c.Name, c.ID, l.s.id, string(c.Mode), encodeInfo(l.identity, c), c.Value,
		strconv.FormatInt(c.Limit, 10), newest, seen.version, *l.epoch.Load(),
	}
}

// joined makes the view from an entry that was just made.
func (l *lease) joined(op string, c driver.Claim, me driver.Entry, r reply) (driver.View, error) {
	if len(r.rest) < 3 {
		return driver.View{}, unexpected(op, r)
	}
	limit, err := decodeLimit(c.Name, r.rest[0])
	if err != nil {
		return driver.View{}, err
	}
	me.Token, err = strconv.ParseUint(r.rest[1], 10, 64)
	if err != nil {
		return driver.View{}, fmt.Errorf("%s: the token is %q", op, r.rest[1])
	}
	me.Version = me.Token
	if ms, err := strconv.ParseInt(r.rest[2], 10, 64); err == nil {
		me.TTLLeft = duration(ms)
	}
	ahead, err := l.s.decodeEntries(c.Name, r.rest[3:])
	return driver.View{Me: me, Ahead: ahead, Limit: limit}, err
}

// Resolve implements driver.Lease. A claim that is not found is marked, so that a Join
// that is still in flight is refused. So it is when the marks have been cleared since, as it
// tells the epoch in which it was sent, which has ended then.
//
// The Join may not have come to judge an entry that is found. One that was admitted is admitted
// again, as those ahead can but leave, unless the limit has become smaller or somebody has changed
// what admitted it: then it leaves, and the session asks anew. One that was told to leave is
// adopted in no case: that may apply late, and would take it away from who holds by it.
func (l *lease) Resolve(ctx context.Context, c driver.Claim) (driver.View, error) {
	op := "resolve the claim on " + quoted(c.Name)
	if l.isRefused(c.ID) {
		err := l.Withdraw(ctx, c)
		if err == nil {
			err = fmt.Errorf("%s: the entry was taken back: %w", op, driver.ErrEntryGone)
		}
		return driver.View{}, err
	}
	r, err := l.s.runSafely(ctx, resolveScript, l.id, c.Name, c.ID, "0")
	if err != nil {
		return driver.View{}, l.s.failed(ctx, op, err)
	}
	switch r.status {
	case "ok":
		l.claim(c.Name, c.ID)
		v, err := l.s.decodeView(c.Name, r.rest)
		if err == nil {
			err = l.judge(ctx, c, v)
		}
		if errors.Is(err, driver.ErrRefused) {
			err = fmt.Errorf("%s: the entry was taken back: %w", op, driver.ErrEntryGone)
		}
		return v, err
	case "gone":
		l.drop(c.ID)
	}
	return driver.View{}, unexpected(op, r)
}

// Withdraw implements driver.Lease.
func (l *lease) Withdraw(ctx context.Context, c driver.Claim) error {
	op := "withdraw the claim on " + quoted(c.Name)
	r, err := l.s.run(ctx, resolveScript, l.id, c.Name, c.ID, "1")
	if err != nil {
		return l.s.failed(ctx, op, err)
	}
	if r.status != "gone" {
		return unexpected(op, r)
	}
	l.drop(c.ID)
	return nil
}
