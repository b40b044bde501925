package cluster

import (
	"context"
	"errors"
	"fmt"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// etcdFiller is what somebody else writes, and etcdChunk how much at a time.
const (
	etcdFiller = "/filler/"
	etcdChunk  = 1 << 20
)

// Exhaust writes beside the clients until the quota is used up, and returns when the
// members have raised the alarm.
func (c *etcd) Exhaust(ctx context.Context) error {
	value := strings.Repeat("x", etcdChunk)
	for i := 0; ; i++ {
		_, err := c.admin.Put(ctx, fmt.Sprint(etcdFiller, i), value)
		if errors.Is(err, rpctypes.ErrNoSpace) {
			break
		}
		if err != nil {
			return err
		}
		if i > 2*etcdQuota/etcdChunk {
			return errors.New("twice the quota was written, and nobody refused it")
		}
	}
	return until(ctx, "the alarm", func(ctx context.Context) error {
		r, err := c.admin.AlarmList(ctx)
		if err == nil && (len(r.Alarms) == 0 || r.Alarms[0].Alarm != pb.AlarmType_NOSPACE) {
			err = fmt.Errorf("the alarms are %v", r.Alarms)
		}
		return err
	})
}

// Relieve frees the space and ends the alarm.
func (c *etcd) Relieve(ctx context.Context) error {
	r, err := c.admin.Delete(ctx, etcdFiller, clientv3.WithPrefix())
	if err == nil {
		err = c.defragment(ctx, r.Header.Revision)
	}
	if err == nil {
		_, err = c.admin.AlarmDisarm(ctx, &clientv3.AlarmMember{})
	}
	return err
}

// defragment compacts everything up to a revision, and then defragments one member
// after the other, which then does not answer.
func (c *etcd) defragment(ctx context.Context, revision int64) error {
	_, err := c.admin.Compact(ctx, revision, clientv3.WithCompactPhysical())
	if err != nil && !errors.Is(err, rpctypes.ErrCompacted) {
		return err
	}
	for i, one := range c.single {
		if _, err := one.Defragment(ctx, c.members[i].config.Client); err != nil {
			return err
		}
	}
	return nil
}

func (c *etcd) FillDisk(ctx context.Context, i int) error { return c.members[i].disk.fill(ctx) }

func (c *etcd) FreeDisk(ctx context.Context, i int) (died bool, err error) {
	return c.members[i].disk.free(ctx, c, i, c.members[i].Pid)
}
