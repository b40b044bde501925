package redis

import (
	"context"
	"fmt"

	"github.com/fairlead-go/fairlead/session/driver"
)

// Look implements driver.Lease.
func (l *lease) Look(ctx context.Context, e driver.Entry) (driver.View, error) {
	v, _, err := l.look(ctx, "look at queue "+quoted(e.Name), e, driver.View{}, driver.Obstacles{})
	return v, err
}

// Update implements driver.Lease. The version that we know may be out of date, because an
// earlier Update of ours took effect and its reply was lost.
func (l *lease) Update(ctx context.Context, e driver.Entry, value string) (driver.Entry, error) {
	op := "update an entry of queue " + quoted(e.Name)
	for {
		r, err := l.s.runSafely(ctx, updateScript, l.id, e.Name, e.ID, fmt.Sprint(e.Token), fmt.Sprint(e.Version), value)
		if err != nil {
			return driver.Entry{}, l.s.failed(ctx, op, err)
		}
		if (r.status != "ok" && r.status != "version") || len(r.rest) < 3 {
			return driver.Entry{}, unexpected(op, r)
		}
		now, err := l.s.decodeEntry(e.Name, r.rest[0], r.rest[1], r.rest[2])
		if err != nil || now.Value == value {
			return now, err
		}
		e.Version = now.Version
	}
}

// Leave implements driver.Lease.
func (l *lease) Leave(ctx context.Context, e driver.Entry) error {
	err := l.expect(ctx, "leave queue "+quoted(e.Name), leaveScript, e.Name, e.ID, fmt.Sprint(e.Token))
	if err == nil {
		l.drop(e.ID)
	}
	return err
}
