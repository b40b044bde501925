package redisserver

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Failover has the sentinels make the replica the primary, as if the primary
// were dead. It returns when the replica is the only primary, the old primary
// replicates from it, and all sentinels that answer know; or when ctx is done.
func (r *Replicated) Failover(ctx context.Context) error {
	if len(r.sentinels) == 0 {
		return errors.New("fail over: there are no sentinels")
	}
	old, err := r.Primary(ctx)
	if err != nil {
		return err
	}
	err = until(ctx, func() error { return r.settled(ctx, old) })
	if err == nil {
		err = r.replace(ctx, old)
	}
	if err != nil {
		return fmt.Errorf("fail over from %s: %w", old.Addr(), err)
	}
	return nil
}

func (r *Replicated) replace(ctx context.Context, old *Server) error {
	successor := r.servers[0]
	if successor == old {
		successor = r.servers[1]
	}
	var ordered time.Time
	return until(ctx, func() error {
		err := r.settled(ctx, successor)
		if err == nil || time.Since(ordered) < 2*failoverTimeout || r.settled(ctx, old) != nil {
			return err
		}
		// Not begun, or come to nothing.
		if err := r.order(ctx); err != nil {
			return err
		}
		ordered = time.Now()
		return err
	})
}

// order tells sentinels to fail over until one obeys.
func (r *Replicated) order(ctx context.Context) error {
	var errs []error
	for _, s := range r.sentinels {
		_, err := ask[string](ctx, s, "SENTINEL", "FAILOVER", master)
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// settled returns nil when the server is the only primary and has a replica, and
// when all sentinels that answer, and there are some, know both.
func (r *Replicated) settled(ctx context.Context, primary *Server) error {
	views, err := r.look(ctx)
	if err != nil {
		return err
	}
	if only(views, view.primary) != primary || only(views, view.connected) == nil {
		return fmt.Errorf("%v", views)
	}
	var silent []error
	for _, s := range r.sentinels {
		if _, err := ask[string](ctx, s, "PING"); err != nil {
			silent = append(silent, err)
		} else if err := s.sees(ctx, primary, -1); err != nil {
			return err
		}
	}
	if len(silent) == len(r.sentinels) {
		return errors.Join(silent...)
	}
	return nil
}
