package main

import (
	"context"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
)

const sessionTTL = 60 // seconds; long, as nothing is to expire

// ours is a contender that uses Fairlead.
type ours struct {
	session *session.Session
	mutex   *mutex.Mutex
	grant   *session.Grant
}

// joinOurs returns what makes contenders on stores with that scheme.
func joinOurs(scheme string) func(ctx context.Context, addr string) (contender, error) {
	return func(ctx context.Context, addr string) (contender, error) {
		s, err := session.Open(ctx, scheme+addr, &session.Options{TTL: sessionTTL * time.Second})
		if err != nil {
			return nil, err
		}
		return &ours{session: s}, nil
	}
}

func (o *ours) prepare(name string) { o.mutex = mutex.New(o.session, name) }

func (o *ours) lock(ctx context.Context) (err error) {
	o.grant, err = o.mutex.Lock(ctx)
	return err
}

func (o *ours) unlock(ctx context.Context) error { return o.grant.Release(ctx) }

func (o *ours) close(ctx context.Context) error { return o.session.Close(ctx) }
