package etcd

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/fairlead-go/fairlead/session/driver"
)

// maxConflicts is how often a conditional Join meets a key that it has not seen before it
// insists. The first time is as usual as not: the queue was believed to be empty.
const maxConflicts = 5

// insist returns an assumption with which a conditional Join comes to an end however many
// others join, in this queue or in one whose name continues this one's. The entry
// is made whatever has joined, the same transaction reads who is ahead, and judge takes
// it back where it may not be there. So one that is refused stands in the queue for a
// moment: who joins in that moment waits until it has left, and a Try is refused for it. Where
// a name is used for locks and for a semaphore, which is a mistake, either may find the other.
//
// The limit is guarded on all the same, but that is not enough to replace one that is left
// over: a session that remembers it joins under it, as long as it has that version. So
// that is moved on first, and the queue read again. From then on nobody knows the limit;
// the first permit has to set it, which moves the version on, and of two only one does.
func (l *lease) insist(ctx context.Context, op string, c driver.Claim, e emplacement, a assumption) (assumption, error) {
	a.loose = true
	if !a.set || a.limit.Version == 0 {
		return a, nil
	}
	record := one(l.s.keys.limit(c.Name))
	resp, err := l.s.txn(ctx,
		[]*pb.Compare{record.modified(pb.Compare_EQUAL, int64(a.limit.Version))},
		append(l.why(c, e), record.touch()), nil)
	if err != nil {
		return a, l.s.failed(ctx, op, err)
	}
	if resp.Succeeded {
		a, err = l.learn(c, resp)
		a.limit.Version, a.loose = uint64(resp.Header.Revision), true
	}
	return a, err
}

// judge decides over an entry that was made whatever had joined, by the view in which it
// was made. One that is refused leaves; the error is a refusal when it is known to have left.
func (l *lease) judge(ctx context.Context, c driver.Claim, v driver.View) error {
	var refusal error
	switch {
	case c.Limit > 0 && len(v.Ahead) > 0 && !isLimited(v.Ahead):
		refusal = &driver.LimitError{Ahead: v.Ahead}
	case c.Admit != nil && !c.Admit(v):
		refusal = &driver.Refused{Ahead: v.Ahead}
	default:
		return nil
	}
	l.limits.forget(c.Name) // it may be left over now
	l.slots.refuse(c.ID)
	if err := l.Leave(ctx, v.Me); err != nil {
		return err
	}
	return refusal
}

// adopted is the end of a Resolve that has found the entry, which the Join may not have
// come to judge. One that was admitted is admitted again, as those ahead can but leave, unless
// the limit has become smaller: then it leaves, and the session asks anew. One that was told to
// leave before is adopted in no case, see Resolve.
func (l *lease) adopted(ctx context.Context, c driver.Claim, v driver.View, err error) (driver.View, error) {
	if err == nil {
		err = l.judge(ctx, c, v)
	}
	if _, limit := errors.AsType[*driver.LimitError](err); limit || errors.Is(err, driver.ErrRefused) {
		err = fmt.Errorf("entry %q was taken back: %w", v.Me.Key, driver.ErrEntryGone)
	}
	return v, err
}
