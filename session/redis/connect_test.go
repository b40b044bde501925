package redis_test

import (
	"context"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/redis"
)

// pairing makes connections, none to the one server before there is one to the other, and counts
// those that are open.
type pairing struct {
	first  string
	second chan struct{} // closed once there is one
	once   sync.Once     // for second
	open   atomic.Int64
}

type paired struct {
	net.Conn
	gone func()
}

func (p *pairing) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if addr == p.first {
		<-p.second
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	p.open.Add(1)
	if addr != p.first {
		p.once.Do(func() { close(p.second) })
	}
	return &paired{c, sync.OnceFunc(func() { p.open.Add(-1) })}, nil
}

func (c *paired) Close() error {
	c.gone()
	return c.Conn.Close()
}

// One of two servers refuses us while the other has not said a word.
func TestStoreThatCouldNotBeOpenedLeavesNoConnection(t *testing.T) {
	t.Parallel()
	s := start(t, redisserver.Config{})
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	u, err := url.Parse(serverURL(s, ""))
	if err != nil {
		t.Fatal(err)
	}
	u.Host += "," + silent.Addr().String()
	p := &pairing{first: s.Addr(), second: make(chan struct{})}
	if _, err := redis.OpenWith(bounded(t), u, &session.Options{Logger: quiet}, p.Dial); err == nil {
		t.Fatal("a server that is no cluster is one")
	}
	if n := p.open.Load(); n != 0 {
		t.Errorf("%d connections are open", n)
	}
}
