package etcd

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-go/fairlead/session/driver"
)

// markDir is where the marks for entries of a session are, below its key, by the
// entry's ID. They hang on the session's lease, and go with it.
const markDir = "/mark/"

// end is the end of the range that begins with the session's key and has what is below
// it. IDs of leases are not padded, and none of their digits comes before the zero.
func (l *lease) end() string { return l.key + "0" }

// Break implements driver.Store. It is one transaction, guarded on the entry's token.
// Guarded on its lease, too, it writes nothing under one that is over: whoever made
// the entry may have put it under another since.
func (s *store) Break(ctx context.Context, e driver.Entry, m driver.Mark, force bool) error {
	op := "break an entry of queue " + quoted(e.Name)
	if m.ID == "" && !force {
		return driver.Permanent(fmt.Errorf("%s: the owner of %q looks for no mark", op, e.Key))
	}
	entry := one(e.Key)
	guards := []*pb.Compare{entry.created(pb.Compare_EQUAL, int64(e.Token))}
	var then []*pb.RequestOp
	if m.ID != "" {
		id, err := parseLease(e.Lease)
		if err != nil {
			return driver.Permanent(fmt.Errorf("%s: %q is no lease of etcd's: %w", op, e.Lease, err))
		}
		text, err := json.Marshal(m)
		if err != nil {
			return fmt.Errorf("%s: %w", op, err)
		}
		guards = append(guards, entry.leased(id))
		then = append(then, one(s.keys.session(id)+markDir+m.ID).put(string(text), id))
	}
	if force {
		then = append(then, entry.remove())
	}
	// Once: a second request would find gone what the first has removed, or has made leave.
	resp, _, err := s.send(ctx, &pb.TxnRequest{Compare: guards, Success: then}, nil)
	if err != nil {
		return s.failed(ctx, op, err)
	}
	if force && e.Mode == driver.Permit { // also where an attempt before has removed it
		if err := s.tidy(ctx, e.Name); err != nil {
			return err
		}
	}
	if !resp.Succeeded {
		return fmt.Errorf("%s: %w", op, driver.ErrEntryGone)
	}
	return nil
}

// leased holds if the key hangs on the lease.
func (s span) leased(id clientv3.LeaseID) *pb.Compare {
	return &pb.Compare{
		Key: s.from, Target: pb.Compare_LEASE, Result: pb.Compare_EQUAL,
		TargetUnion: &pb.Compare_Lease{Lease: int64(id)},
	}
}

// Marks implements driver.Lease.
func (l *lease) Marks(ctx context.Context) ([]driver.Mark, error) {
	dir := l.key + markDir
	resp, err := l.s.get(ctx, "list the lease's marks", dir, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	var marks []driver.Mark
	for _, kv := range resp.Kvs {
		m := driver.Mark{ID: strings.TrimPrefix(string(kv.Key), dir)}
		if err := json.Unmarshal(kv.Value, &m); err != nil {
			l.s.warnOnce(string(kv.Key), "fairlead: a mark does not say who left it", err)
		}
		marks = append(marks, m)
	}
	return marks, nil
}

// Clear implements driver.Lease.
func (l *lease) Clear(ctx context.Context, m driver.Mark) error {
	rctx, cancel := l.s.request(ctx)
	defer cancel()
	_, err := l.s.client.Delete(rctx, l.key+markDir+m.ID)
	return l.s.failed(ctx, "clear a mark", err)
}
