package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/postgres"
)

// Where answers take long, a connection takes many of them to make: one must not be lost with
// each request that is given up.
func TestRequestThatIsGivenUpKeepsItsConnection(t *testing.T) {
	t.Parallel()
	link := &drivertest.Link{}
	p := enter(t, namespace(t, "givenup"), patience, link)
	p.leave(p.join("q").Me)
	before := postgres.Connected(p.store)
	for range 3 {
		link.Delay(300 * time.Millisecond)
		ctx, cancel := context.WithTimeout(bounded(t), 50*time.Millisecond)
		if _, err := p.store.Read(ctx, "q", 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Read returned %v, want DeadlineExceeded", err)
		}
		cancel()
		link.Delay(0)
		eventually(t, func() error { return lanes(p, 0) })
	}
	p.leave(p.join("q").Me)
	if after := postgres.Connected(p.store); after != before {
		t.Errorf("%d connections were made anew", after-before)
	}
}

// Requests that were given up have connections until they are over. Others may not take
// the last one then, which is for those that keep the session.
func TestRequestsThatWereGivenUpKeepTheirLanes(t *testing.T) {
	t.Parallel()
	link := &drivertest.Link{}
	p := enter(t, namespace(t, "givenup"), patience, link)
	link.Delay(time.Second)
	ctx, cancel := context.WithTimeout(bounded(t), 50*time.Millisecond)
	defer cancel()
	const readers = 3
	var wg sync.WaitGroup
	for range readers {
		wg.Go(func() { _, _ = p.store.Read(ctx, "q", 0) })
	}
	wg.Wait()
	if err := lanes(p, readers); err != nil {
		t.Error(err)
	}
	link.Delay(0)
	eventually(t, func() error { return lanes(p, 0) })
}

func lanes(p *party, want int) error {
	if got := postgres.Lanes(p.store); got != want {
		return fmt.Errorf("%d requests are under way, want %d", got, want)
	}
	return nil
}
