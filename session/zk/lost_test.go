package zk_test

import (
	"context"
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
	fail    atomic.Bool
	closing chan struct{} // one for each that failed
	resume  chan struct{} // closed when they may
}

var errFailed = errors.New("the connection has failed")

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
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: errFailed}
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

// Whose request fails as it is sent is told so before the connection is given up. That the
// session is gone is found out on the next one, so that has to be waited for.
func TestRequestThatFailsAsItIsSentIsToldThatTheSessionIsGone(t *testing.T) {
	s := &slowEnd{closing: make(chan struct{}, 10), resume: make(chan struct{})}
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
