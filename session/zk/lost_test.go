package zk_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/zk"
)

// A slowEnd makes connections that fail when told to, and then take their time to close.
type slowEnd struct {
	err     error // what they fail with
	fail    atomic.Bool
	closing chan struct{} // one for each that failed
	resume  chan struct{} // closed when they may
}

func (s *slowEnd) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	return &slowlyEnding{Conn: c, s: s}, err
}

type slowlyEnding struct {
	net.Conn
	s      *slowEnd
	failed atomic.Bool
}

func (c *slowlyEnding) Write(p []byte) (int, error) {
	if c.s.fail.CompareAndSwap(true, false) {
		c.failed.Store(true)
		return 0, c.s.err
	}
	return c.Conn.Write(p)
}

func (c *slowlyEnding) Close() error {
	if c.failed.Load() {
		c.s.closing <- struct{}{}
		<-c.s.resume
	}
	return c.Conn.Close()
}

// Whose request fails as it is sent may be told so before the connection is given up. That the
// session is gone is found out on the next one, so that has to be waited for, whatever the error.
func TestRequestThatFailsAsItIsSentIsToldThatTheSessionIsGone(t *testing.T) {
	for what, err := range map[string]error{
		"TCP":            &net.OpError{Op: "write", Net: "tcp", Err: errors.New("broken pipe")},
		"TLS":            net.ErrClosed,
		"a dialer's own": errors.New("the tunnel has collapsed"),
	} {
		t.Run(what, func(t *testing.T) { failsAsItIsSent(t, err) })
	}
}

func failsAsItIsSent(t *testing.T, failure error) {
	s := &slowEnd{err: failure, closing: make(chan struct{}, 10), resume: make(chan struct{})}
	resume := sync.OnceFunc(func() { close(s.resume) })
	u, err := url.Parse("zk://" + server.Addr() + prefix(t))
	if err != nil {
		t.Fatal(err)
	}
	st, err := zk.OpenWith(bounded(t), u, &session.Options{Logger: quiet}, s.dial)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	defer resume()
	l, _, err := st.Grant(bounded(t), driver.Spec{TTL: 30 * time.Second, Identity: "party"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Join(bounded(t), claim("q")); err != nil {
		t.Fatal(err)
	}
	s.fail.Store(true)
	joined := make(chan error, 1)
	go func() { joined <- errOf(l.Join(bounded(t), claim("q"))) }()
	<-s.closing
	id, passwd := zk.SessionOf(l)
	if err := zkserver.Expire(bounded(t), server.Addr(), id, passwd); err != nil {
		t.Error(err)
	}
	select {
	case err := <-joined:
		t.Fatalf("while the connection is being given up, Join returns %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	resume()
	if err := <-joined; !errors.Is(err, driver.ErrLeaseGone) {
		t.Errorf("Join returned %v, want ErrLeaseGone", err)
	}
}

// An untold is a dialer's connection on which, when told to, the user cannot be told.
type untold struct {
	mu    sync.Mutex
	fail  bool
	conns []net.Conn
}

func (u *untold) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.conns = append(u.conns, c)
	return untelling{c, u}, nil
}

// cut ends all connections; on one of the next the user cannot be told.
func (u *untold) cut() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fail = true
	for _, c := range u.conns {
		_ = c.Close()
	}
}

// failing tells, once, that a request fails.
func (u *untold) failing(request []byte) bool {
	const auth = 100
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.fail || len(request) < 12 || binary.BigEndian.Uint32(request[8:]) != auth {
		return false
	}
	u.fail = false
	return true
}

func (u *untold) isPending() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.fail
}

type untelling struct {
	net.Conn
	u *untold
}

func (c untelling) Write(p []byte) (int, error) {
	if c.u.failing(p) {
		return 0, errors.New("the connection has failed")
	}
	return c.Conn.Write(p)
}

// The client library tells the user again on each connection, and would wait for ever where
// that fails as it is sent.
func TestConnectionOnWhichTheUserCannotBeToldIsGivenUpForAnother(t *testing.T) {
	t.Parallel()
	for what, of := range map[string]func(t *testing.T, st driver.Store) (call func() error){
		"reading": func(t *testing.T, st driver.Store) func() error {
			return func() error { return errOf(st.Read(bounded(t), "q", 0)) }
		},
		"lease": func(t *testing.T, st driver.Store) func() error {
			l, _, err := st.Grant(bounded(t), driver.Spec{TTL: 30 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			return func() error { return l.Renew(bounded(t)) }
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			u, err := url.Parse("zk://" + team + "@" + server.Addr() + prefix(t))
			if err != nil {
				t.Fatal(err)
			}
			var d untold
			st, err := zk.OpenWith(bounded(t), u, &session.Options{Logger: quiet}, d.dial)
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			call := of(t, st)
			if err := call(); err != nil {
				t.Fatal(err)
			}
			d.cut()
			eventually(t, call) // what was on the old connection fails with that
			if d.isPending() {
				t.Error("the user was not told again")
			}
		})
	}
}
