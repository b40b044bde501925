package zk

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
)

var errClosed = errors.New("the connection to ZooKeeper was closed by its owner")

// failed turns what went wrong with a request of a lease into an error of the
// driver.
//
// That a session has expired is told on the next connection only, so where one was
// lost that is waited for.
func (l *lease) failed(ctx context.Context, op string, err error) error {
	if isLoss(err) && errors.Is(l.c.reconnected(ctx), errGone) {
		err = errGone
	}
	if errors.Is(err, zk.ErrSessionExpired) && !l.s.isClosed() && ctx.Err() == nil {
		return fmt.Errorf("%s: %w", op, driver.ErrLeaseGone)
	}
	return l.s.failed(ctx, op, err)
}

// failed does so for a request that needs no lease.
func (s *store) failed(ctx context.Context, op string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		if !errors.Is(err, ctx.Err()) {
			err = fmt.Errorf("%w; last error: %w", ctx.Err(), err)
		}
		return fmt.Errorf("%s: ZooKeeper at %s: %w", op, s.where(), err)
	case s.isClosed():
		return driver.Permanent(fmt.Errorf("%s: %w", op, errClosed))
	case errors.Is(err, zk.ErrNoAuth), errors.Is(err, zk.ErrAuthFailed), errors.Is(err, zk.ErrInvalidACL):
		return driver.Permanent(fmt.Errorf("%s: ZooKeeper at %s does not allow it to this user: %w", op, s.where(), err))
	case driver.IsPermanent(err), isDefinite(err):
		return fmt.Errorf("%s: %w", op, err)
	}
	return fmt.Errorf("%s: ZooKeeper at %s: %w", op, s.where(), err)
}

// isDefinite tells of an error that has the driver's form already.
func isDefinite(err error) bool {
	return errors.Is(err, driver.ErrEntryGone) || errors.Is(err, driver.ErrLeaseGone) || errors.Is(err, driver.ErrConflict) || isRefusal(err)
}

// isRefusal tells that a Join was refused for what is in the queue.
func isRefusal(err error) bool {
	_, limit := errors.AsType[*driver.LimitError](err)
	return limit || errors.Is(err, driver.ErrRefused)
}

// isLoss tells that the connection was lost. Errors of the network itself do not get here:
// see greeting.Write.
func isLoss(err error) bool {
	return errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrNoServer)
}

// where names the servers.
func (s *store) where() string { return strings.Join(s.servers, ", ") }

// mayBeTooLarge adds to the error of a request that was cut off what a server does
// not say: it hangs up on one that is larger than it takes.
func mayBeTooLarge(err error, size int) error {
	if size > 1024 && errors.Is(err, zk.ErrConnectionClosed) {
		return fmt.Errorf("%w (after %d bytes were sent: is that more than the server's jute.maxbuffer?)", err, size)
	}
	return err
}
