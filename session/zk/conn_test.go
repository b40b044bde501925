package zk

import (
	"context"
	"sync"
	"testing"
	"time"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
)

// unreadable is a connection to a server on which a node may not be read, and is
// gone when one asks for it in another way.
type unreadable struct{ keeper }

func (unreadable) Get(string) ([]byte, *gozk.Stat, error) { return nil, nil, gozk.ErrNoAuth }

func (unreadable) GetW(string) ([]byte, *gozk.Stat, <-chan gozk.Event, error) {
	return nil, nil, nil, gozk.ErrNoAuth
}

func (unreadable) Exists(string) (bool, *gozk.Stat, error) { return false, nil, nil }

func (unreadable) ExistsW(string) (bool, *gozk.Stat, <-chan gozk.Event, error) {
	return false, nil, nil, nil
}

// What may not be read may be asked for in another way, and be gone by then: whoever
// gets no error goes on to what the node says.
func TestNodeThatMayNotBeReadAndIsGoneIsAnError(t *testing.T) {
	c := &conn{
		keeper: unreadable{}, gone: make(chan struct{}), watches: newWatches(), connected: true, changed: make(chan struct{}),
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if n, err := c.get(ctx, "/q/node"); err == nil {
		t.Errorf("get returned %+v", n)
	}
	if n, _, err := c.getW(ctx, "/q/node"); err == nil {
		t.Errorf("getW returned %+v", n)
	}
}

// A meddler does something once, when somebody has listed a queue.
type meddler struct {
	keeper
	dir  string
	once sync.Once
	act  func()
}

func (m *meddler) Children(path string) ([]string, *gozk.Stat, error) {
	names, stat, err := m.keeper.Children(path)
	if path == m.dir {
		m.once.Do(m.act)
	}
	return names, stat, err
}

// ReadWhile reads a queue, and has something happen when its entries have been listed.
func ReadWhile(ctx context.Context, st driver.Store, name string, act func()) (driver.Queue, error) {
	s := st.(*store)
	c, err := s.reading(ctx)
	if err != nil {
		return driver.Queue{}, err
	}
	own := &conn{
		keeper: &meddler{keeper: c.keeper, dir: s.queueDir(name), act: act},
		gone:   make(chan struct{}), watches: newWatches(), connected: true, changed: make(chan struct{}),
	}
	return s.readQueue(ctx, own, name, 0)
}
