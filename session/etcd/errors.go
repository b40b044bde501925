package etcd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/fairlead-go/fairlead/session/driver"
)

var errClosed = errors.New("the etcd client is closed")

// failed turns what went wrong with a request, made for ctx, into an error of
// the driver. The request ran under a context of its own that ends with ctx or
// when the answer is overdue.
func (s *store) failed(ctx context.Context, op string, err error) error {
	err = recognised(err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", op, ctx.Err())
	case s.ctx.Err() != nil, s.client.Ctx().Err() != nil:
		return driver.Permanent(fmt.Errorf("%s: %w", op, errClosed))
	case errors.Is(err, rpctypes.ErrLeaseNotFound), errors.Is(err, driver.ErrLeaseGone):
		return fmt.Errorf("%s: %w", op, driver.ErrLeaseGone)
	case isPermanent(err):
		return driver.Permanent(fmt.Errorf("%s: %w", op, err))
	case isOverdue(err):
		// Not wrapped: the caller's own context has not ended.
		return fmt.Errorf("%s: no answer from etcd at %s in time", op, s.where())
	}
	return fmt.Errorf("%s: etcd at %s: %w", op, s.where(), err)
}

// recognised makes one of etcd's errors of what is its text. Where a watch is
// cancelled, the client has the server's reason as text alone, and the server
// has put the text of a whole gRPC status there.
func recognised(err error) error {
	if err == nil || isServers(rpctypes.Error(err)) {
		return rpctypes.Error(err)
	}
	if _, reason, ok := strings.Cut(status.Convert(err).Message(), " desc = "); ok {
		if e := rpctypes.Error(status.Error(codes.Unknown, reason)); isServers(e) {
			return e
		}
	}
	return err
}

// where names the endpoints.
func (s *store) where() string { return strings.Join(s.client.Endpoints(), ", ") }

// isPermanent tells whether the server refused a request for what it is, or for
// who sent it.
func isPermanent(err error) bool {
	for _, e := range []error{
		rpctypes.ErrPermissionDenied, rpctypes.ErrAuthFailed, rpctypes.ErrUserEmpty,
		rpctypes.ErrRequestTooLarge, rpctypes.ErrTooManyOps, rpctypes.ErrLeaseTTLTooLarge,
		rpctypes.ErrNoSpace, // until an operator has compacted, defragmented and disarmed the alarm
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	if isServers(err) {
		return false
	}
	// gRPC's own refusal to send a message that is too large.
	return status.Code(err) == codes.ResourceExhausted
}

// isStale tells whether the server no longer accepts the credentials that a
// stream was opened with, though it may accept those of a new one: tokens
// expire, and changes of users and roles outdate them.
func isStale(err error) bool {
	return errors.Is(err, rpctypes.ErrInvalidAuthToken) ||
		errors.Is(err, rpctypes.ErrAuthOldRevision) ||
		errors.Is(err, rpctypes.ErrUserEmpty)
}

// isServers tells whether err is an answer of etcd, and not of the way to it.
func isServers(err error) bool {
	_, ok := errors.AsType[rpctypes.EtcdError](err)
	return ok
}

// isOverdue tells whether we stopped waiting for the answer to a request, whose
// caller still waits.
func isOverdue(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return true
	}
	code := status.Code(err)
	return !isServers(err) && (code == codes.DeadlineExceeded || code == codes.Canceled)
}

// isMismatch tells whether no connection can come about because the two sides
// do not agree on TLS: a certificate that does not verify, a client's that is
// missing. gRPC has it as text only. What the other side does by hanging up or
// by falling silent is not among them, as a server that is just starting or
// stopping does that.
func isMismatch(err error) bool {
	text := status.Convert(err).Message()
	return strings.Contains(text, "x509: ") || strings.Contains(text, "tls: ")
}

// isHangup tells whether somebody accepted the connection and hung up.
func isHangup(err error) bool {
	text := status.Convert(err).Message()
	return strings.Contains(text, "EOF") || strings.Contains(text, "connection reset")
}

// quoted quotes a name for an error, without the cost of doing it well: most
// often there is no error.
func quoted(name string) string { return `"` + name + `"` }
