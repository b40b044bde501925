package redis_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/redis"
)

// An alias leads to one server now and to another later, as a name in DNS or a balancer does.
// What was connected stays so.
type alias struct {
	to atomic.Pointer[redisserver.Server]
}

func (a *alias) Dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, a.to.Load().Addr())
}

// openAt opens a store at whatever the name leads to.
func openAt(t *testing.T, to *alias, opts *session.Options) driver.Store {
	t.Helper()
	u, err := url.Parse(serverURL(to.to.Load(), ""))
	if err != nil {
		t.Fatal(err)
	}
	st, err := redis.OpenWith(bounded(t), u, opts, to.Dial)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// The server that was the primary lives on, and hangs up on nobody.
func TestClientOfANameFollowsItAwayFromADemotedPrimary(t *testing.T) {
	t.Parallel()
	a, b := startWarm(t, redisserver.Config{}), startWarm(t, redisserver.Config{})
	var n alias
	n.to.Store(a)
	opts := &session.Options{TTL: shortTTL, Logger: quiet}
	s, err := session.New(bounded(t), openAt(t, &n, opts), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	held := lock(t, s, "q")
	lost := loss(held)
	demote(t, a, b)
	n.to.Store(b)
	lostAt(t, held, lost)
	g, err := mutex.New(s, "q").Lock(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	queued(t, b, "q", 1)
	eventually(t, func() error { return subscribed(t, b, 1) })
	if err := g.Release(bounded(t)); err != nil {
		t.Error(err)
	}
}

// The server that was the primary knows nothing of another, and answers on: so it does on the
// connection on which it tells things, to those who ask elsewhere by now.
func TestInboxFollowsTheSessionToAnotherServer(t *testing.T) {
	t.Parallel()
	a, b := startWarm(t, redisserver.Config{}), startWarm(t, redisserver.Config{})
	var to alias
	to.to.Store(a)
	st := openAt(t, &to, &session.Options{Logger: quiet})
	defer st.Close()
	p := begin(t, st, longTTL)
	to.to.Store(b)
	do(t, a, "CLIENT", "KILL", "TYPE", "normal") // not the one on which it tells things
	eventually(t, func() error {
		if err := p.Check(bounded(t)); !errors.Is(err, driver.ErrLeaseGone) {
			return fmt.Errorf("the session at the other server: %w", err)
		}
		return nil
	})
	p = begin(t, st, longTTL)
	eventually(t, func() error { return subscribed(t, b, 1) })
	first, second := p.join("q"), p.join("q")
	end := p.wait(second)
	p.leave(first.Me)
	within(t, prompt, end)
}

// The other connections of a client that is the program's own are not for us to end.
func TestInboxOnAClientOfTheProgramsOwnLeavesADemotedPrimary(t *testing.T) {
	t.Parallel()
	a, b := startWarm(t, redisserver.Config{}), startWarm(t, redisserver.Config{})
	var to alias
	to.to.Store(a)
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{a.Addr()}, Username: user, Password: password, DisableCache: true,
		DialCtxFn: func(ctx context.Context, addr string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return to.Dial(ctx, "tcp", addr)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s, err := redis.NewSession(bounded(t), client, redis.Config{}, &session.Options{TTL: shortTTL, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	lost := loss(lock(t, s, "q"))
	demote(t, a, b)
	to.to.Store(b)
	eventually(t, func() error { return subscribed(t, b, 1) })
	do(t, a, "CLIENT", "KILL", "TYPE", "normal") // as the end of its ConnLifetime would
	select {
	case <-lost:
	case <-time.After(patience):
		t.Errorf("after %v the holder knows of no loss", patience)
	}
	if err := lock(t, s, "q").Release(bounded(t)); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
}
