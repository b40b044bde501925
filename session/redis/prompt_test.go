package redis_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/redis"
)

// A gate is what connections are made through. Once it is closed nobody gets through until it
// is opened again.
type gate struct {
	mu      sync.Mutex
	opened  chan struct{} // nil unless closed
	entered chan struct{} // of room 1: somebody waits
}

func (g *gate) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	if opened != nil {
		select {
		case g.entered <- struct{}{}:
		default:
		}
		select {
		case <-opened:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}

// close closes the gate, and returns what opens it.
func (g *gate) close() func() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened = make(chan struct{})
	return sync.OnceFunc(func() { close(g.opened) })
}

// All requests wait for one connection, whoever it is that makes it.
func TestCallerThatGivesUpEndsNoConnectionThatOthersWaitFor(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	u, err := url.Parse(serverURL(s, ""))
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{entered: make(chan struct{}, 1)}
	st, err := redis.OpenWith(bounded(t), u, &session.Options{Logger: quiet}, g.Dial)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	p := begin(t, st, longTTL)

	open := g.close()
	defer open()
	do(t, s, "CLIENT", "KILL", "TYPE", "normal")
	impatient, giveUp := context.WithCancel(bounded(t))
	first := make(chan error, 1)
	go func() {
		var err error
		for impatient.Err() == nil { // at first it may find the connection broken
			err = p.Renew(impatient)
		}
		first <- err
	}()
	<-g.entered
	second := make(chan error, 1)
	go func() { second <- p.Renew(bounded(t)) }()
	time.Sleep(50 * time.Millisecond) // for it to wait beside the first, which nothing tells of
	giveUp()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up was told %v", err)
	}
	open()
	if err := <-second; err != nil {
		t.Errorf("who did not give up was told %v", err)
	}
}

// Requests queue on one connection, whose queue has an end.
func TestCallsEndWithTheirContextsHoweverManyWaitForAFrozenServer(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	var link drivertest.Link
	p := enter(t, s, &link)
	if err := p.Check(bounded(t)); err != nil {
		t.Fatal(err)
	}
	link.Freeze()
	defer link.Heal()
	var calls sync.WaitGroup
	for range 2 {
		ctx, cancel := context.WithTimeout(bounded(t), 200*time.Millisecond)
		defer cancel()
		var wave sync.WaitGroup
		for range 1000 {
			wave.Go(func() {
				if err := p.Check(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("Check returned %v, want that its context has ended", err)
				}
			})
		}
		calls.Go(wave.Wait)
		<-ctx.Done()
	}
	done := make(chan struct{})
	go func() { calls.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(atOnce):
		t.Errorf("%v after their contexts have ended some calls have not", atOnce)
		link.Heal()
		<-done
	}
}
