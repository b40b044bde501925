package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/rueidis"

	"github.com/fairlead-go/fairlead/session/driver"
)

// errOverdue is why the context of a request ended whose answer did not come.
var errOverdue = errors.New("no answer in time")

// errConnecting is what a request is told that must not make a connection.
var errConnecting = errors.New("a connection is to be made")

// overdue makes errOverdue of an error that comes of it.
func overdue(ctx context.Context, err error) error {
	if err != nil && context.Cause(ctx) == errOverdue {
		return errOverdue
	}
	return err
}

// failed turns what went wrong with a request, made for ctx, into an error of the
// driver.
func (s *store) failed(ctx context.Context, op string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", op, ctx.Err())
	case s.ctx.Err() != nil:
		return driver.Permanent(fmt.Errorf("%s: the connection to Redis is closed", op))
	case err == errOverdue:
		return fmt.Errorf("%s: no answer from Redis at %s within %v", op, s.where, s.timeout)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = errors.New(err.Error()) // of a context that is not the caller's, who must not take it for that
	}
	err = fmt.Errorf("%s: Redis at %s: %w", op, s.where, err)
	if advice, permanent := refusal(err); permanent {
		return driver.Permanent(fmt.Errorf("%w%s", err, advice))
	}
	return err
}

// unexpected is the error about a reply that the protocol does not have.
func unexpected(op string, r reply) error {
	if r.status == "lease" {
		return fmt.Errorf("%s: %w", op, driver.ErrLeaseGone)
	}
	if r.status == "gone" {
		return fmt.Errorf("%s: %w", op, driver.ErrEntryGone)
	}
	return fmt.Errorf("%s: the script answered %q", op, r.status)
}

// refusal tells whether the server refused a request for what it is or for who sent it,
// and what to do about it.
func refusal(err error) (advice string, permanent bool) {
	e, ok := errors.AsType[*rueidis.RedisError](err)
	if !ok {
		return "", false
	}
	text := e.Error()
	switch word, _, _ := strings.Cut(text, " "); {
	case word == "NOAUTH", word == "WRONGPASS":
		return "", true
	case word == "NOPERM", strings.Contains(text, "NOPERM"), strings.Contains(text, "permission"), strings.Contains(text, "can't run this command"):
		return ": the documentation of package redis lists what a user needs", true
	case word == "OOM", strings.Contains(text, "-OOM "):
		return ": raise maxmemory, or remove what is not needed", true
	case strings.Contains(text, "Unexpected engine in script shebang"), strings.Contains(text, "unknown command"),
		strings.Contains(text, "Script attempted to access nonexistent"):
		return ": Redis 7.0 or later is needed", true
	}
	return "", false
}

// isDemoted tells whether the server refused a request because it is a replica.
func isDemoted(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	if !ok {
		return false
	}
	word, _, _ := strings.Cut(e.Error(), " ")
	return word == "READONLY" || word == "MASTERDOWN"
}

func isNoScript(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && e.IsNoScript()
}

// quoted quotes a name for an error, without the cost of doing it well: most often
// there is no error.
func quoted(name string) string { return `"` + name + `"` }
