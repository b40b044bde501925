package zk_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/zk"
)

// A connection of the client library's takes some megabytes.
func TestConnectionWhoseSessionHasExpiredIsForgotten(t *testing.T) {
	t.Parallel()
	p := enter(t, nil)
	p.queue("q")
	before := zk.Connections(p.store)
	for range 2 {
		id, passwd, err := zk.ReadingSession(bounded(t), p.store)
		if err == nil {
			err = zkserver.Expire(bounded(t), server.Addr(), id, passwd)
		}
		if err != nil && !strings.Contains(err.Error(), "no such session") { // the answer to an earlier attempt was lost
			t.Fatal(err)
		}
		eventually(t, func() error {
			if now, _, err := zk.ReadingSession(bounded(t), p.store); err != nil || now == id {
				return errors.Join(err, errors.New("it is not known yet that the session has expired"))
			}
			return nil
		})
	}
	if n := zk.Connections(p.store); n != before {
		t.Errorf("the store keeps %d connections, before it were %d", n, before)
	}
}

// A hanging is a dialer of which, when told to, one call hangs.
type hanging struct {
	mu     sync.Mutex
	hang   bool
	conns  []net.Conn
	resume chan struct{} // closed when that may go on
}

func (h *hanging) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	h.mu.Lock()
	hang := h.hang
	h.hang = false
	h.mu.Unlock()
	if hang {
		<-h.resume
	}
	c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err == nil {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.conns = append(h.conns, c)
	}
	return c, err
}

func (h *hanging) cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hang = true
	for _, c := range h.conns {
		_ = c.Close()
	}
}

// Its session is over anyway, and nobody should wait for what may never come.
func TestConnectionForReadingThatDoesNotComeBackIsReplaced(t *testing.T) {
	t.Parallel()
	u, err := url.Parse("zk://" + server.Addr() + prefix(t))
	if err != nil {
		t.Fatal(err)
	}
	h := hanging{resume: make(chan struct{})}
	st, err := zk.OpenWith(bounded(t), u, &session.Options{TTL: time.Second, Logger: quiet}, h.dial)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	defer close(h.resume)
	shown := make(chan struct{}, 1)
	watched := make(chan error, 1)
	go func() {
		watched <- st.Watch(bounded(t), "q", func(driver.Queue) error {
			shown <- struct{}{}
			return nil
		})
	}()
	<-shown
	h.cut()
	if err := <-watched; errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Watch returned %v", err)
	}
	if _, err := st.Read(bounded(t), "q", 0); err != nil {
		t.Error(err)
	}
}
