package zk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A keeper is what we use of a connection of the client library. Its methods
// block, whatever happens, until the server answers or the connection is lost.
type keeper interface {
	AddAuth(scheme string, auth []byte) error
	Children(path string) ([]string, *zk.Stat, error)
	ChildrenW(path string) ([]string, *zk.Stat, <-chan zk.Event, error)
	Create(path string, data []byte, flags int32, acl []zk.ACL) (string, error)
	CreateContainer(path string, data []byte, flags int32, acl []zk.ACL) (string, error)
	Delete(path string, version int32) error
	Exists(path string) (bool, *zk.Stat, error)
	ExistsW(path string) (bool, *zk.Stat, <-chan zk.Event, error)
	Get(path string) ([]byte, *zk.Stat, error)
	GetW(path string) ([]byte, *zk.Stat, <-chan zk.Event, error)
	Multi(ops ...any) ([]zk.MultiResponse, error)
	Set(path string, data []byte, version int32) (*zk.Stat, error)
	Sync(path string) (string, error)
	Close()
}

// A conn is one session in ZooKeeper, and never another: when it has expired the
// client library would go on with a new one, and run under it what was waiting to
// be sent.
type conn struct {
	keeper
	gate *gate

	gone     chan struct{} // closed when the session is known to be over
	goneOnce sync.Once
	life     context.Context // ends then, too
	end      context.CancelFunc
	up       chan struct{} // closed when the session has begun
	watches  *watches
	words    words

	mu        sync.Mutex
	connected bool
	begun     bool          // there was one
	changed   chan struct{} // closed and replaced when that changes
	events    int           // so far: that there is one, or none any more
}

// errGone says that the session is over.
var errGone = zk.ErrSessionExpired

// dialConn begins a session of about this timeout. It returns when that has begun
// or ctx ends.
func (s *store) dialConn(ctx context.Context, timeout time.Duration) (*conn, error) {
	c := &conn{
		gate: newGate(s.dial, timeout), gone: make(chan struct{}), up: make(chan struct{}),
		watches: newWatches(), changed: make(chan struct{}),
	}
	c.life, c.end = context.WithCancel(context.Background())
	c.gate.lost = func() { c.connection(false) }
	var err error
	c.keeper, _, err = zk.Connect(s.servers, timeout,
		zk.WithDialer(c.gate.dial), zk.WithHostProvider(&hosts{}), zk.WithEventCallback(c.notice), zk.WithLogger(silent{}), zk.WithLogInfo(false))
	if err != nil {
		return nil, fmt.Errorf("find the servers: %w", err)
	}
	select {
	case <-c.up:
	case <-c.gone:
		return nil, fmt.Errorf("the session was over before it began")
	case <-c.gate.refused:
		c.stop()
		return nil, driver.Permanent(c.gate.failure())
	case <-ctx.Done():
		c.stop()
		if err := c.gate.failure(); err != nil {
			return nil, fmt.Errorf("%w; last error: %w", ctx.Err(), err)
		}
		return nil, ctx.Err()
	}
	for _, a := range s.auth {
		if _, err := call(ctx, c, func() (struct{}, error) { return struct{}{}, c.AddAuth(a.Scheme, a.Data) }); err != nil {
			c.stop()
			return nil, err
		}
	}
	return c, nil
}

// notice is called by the client library's goroutines and must not block.
func (c *conn) notice(ev zk.Event) {
	switch {
	case ev.Type != zk.EventSession:
		if ev.Type == zk.EventNodeCreated {
			c.words.said(ev.Path) // first: whoever looks when it has happened may watch it anew
		}
		c.watches.happened(ev)
		c.tend(ev)
	case ev.State == zk.StateHasSession:
		c.connection(true)
	case ev.State == zk.StateDisconnected:
		c.connection(false)
	case ev.State == zk.StateExpired:
		c.over()
	}
}

// over records that the session has ended, and keeps the client library from
// beginning another.
func (c *conn) over() {
	c.goneOnce.Do(func() {
		c.gate.shut()
		close(c.gone)
		c.end()
		c.watches.fireAll()
		go c.Close() // what it says to the server does not get there
	})
}

// stop ends the connection, without a word to the server: the session expires,
// unless it was closed before.
func (c *conn) stop() { c.over() }

// reconnected waits until there is a connection, or the session is found to be over.
func (c *conn) reconnected(ctx context.Context) error {
	for {
		connected, changed := c.state()
		switch {
		case c.isGone():
			return errGone
		case ctx.Err() != nil:
			return ctx.Err()
		case connected:
			return nil
		}
		select {
		case <-changed:
		case <-c.gone:
		case <-ctx.Done():
		}
	}
}

// giveUp ends a session that nothing hangs on once there has been no connection for as long
// as it lasts without one. It need not be over: but who waits for the client library to say
// so waits for ever where that hangs, as in a dialer. It returns when the session is over.
func (c *conn) giveUp() {
	var since time.Time // when it was lost
	for {
		_, _, timeout := c.session()
		connected, changed := c.state()
		switch {
		case connected:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		}
		overdue := time.NewTimer(time.Until(since.Add(timeout)))
		if connected {
			overdue.Stop()
		}
		select {
		case <-overdue.C:
			c.over()
		case <-changed:
		case <-c.gone:
		}
		if overdue.Stop(); c.isGone() {
			return
		}
	}
}

// state tells whether there is a connection, until the channel is closed.
func (c *conn) state() (connected bool, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.connected, c.changed
}

// event counts up whenever there is a connection, or none any more.
func (c *conn) event() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.events
}

// connection records whether there is one. On one that replaces another, the library
// is given the time to set its watches again before anything else is sent: as of when
// they are set depends on what has been received by then.
func (c *conn) connection(up bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events++
	switch now := c.events; {
	case !up:
		c.turn(false)
	case !c.begun:
		c.turn(true)
		close(c.up)
	default:
		time.AfterFunc(settleTime, func() { c.settled(now) })
	}
}

// settleTime is what the library needs to set watches again.
const settleTime = 20 * time.Millisecond

// settled puts a connection into use. What was missed while there was none, nobody
// knows for certain: so whoever waits for something looks again.
func (c *conn) settled(event int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.events == event { // or it is lost already
		c.words.forget()
		c.watches.fireAll()
		c.turn(true)
	}
}

// turn tells whoever waits for it whether there is a connection. c.mu is held.
func (c *conn) turn(up bool) {
	c.connected, c.begun = up, c.begun || up
	close(c.changed)
	c.changed = make(chan struct{})
}

// session tells the session's ID, what proves that it is ours, and its timeout.
func (c *conn) session() (id int64, passwd []byte, timeout time.Duration) { return c.gate.session() }

// call makes a blocking call that ends with ctx as well, or with the session. The
// call itself goes on then until the connection gives it up. While there is no
// connection, it is not made. For whom ctx is the life of the session, nobody waits: the
// connection's giving up is soon enough.
func call[T any](ctx context.Context, c *conn, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	var none T
	if err := c.reconnected(ctx); err != nil {
		return none, err
	}
	if ctx == c.life {
		v, err := f()
		if err != nil && c.isGone() {
			err = errGone
		}
		return v, err
	}
	done := make(chan result, 1)
	go func() {
		v, err := f()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		if r.err != nil && c.isGone() {
			r.err = errGone
		}
		return r.v, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	case <-c.gone:
		return none, errGone
	}
}

func (c *conn) isGone() bool {
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}

// A node is what a read of one tells.
type node struct {
	data []byte
	stat *zk.Stat
}

// read is get where the data are needed.
func (c *conn) read(ctx context.Context, path string) (node, error) {
	return call(ctx, c, func() (node, error) {
		data, stat, err := c.Get(path)
		return node{data, stat}, err
	})
}

// get reads a node; the error is zk.ErrNoNode if it is not there. Where reading is
// not allowed, the data are missing.
func (c *conn) get(ctx context.Context, path string) (node, error) {
	n, err := c.read(ctx, path)
	if errors.Is(err, zk.ErrNoAuth) {
		return c.exists(ctx, path)
	}
	return n, err
}

func (c *conn) exists(ctx context.Context, path string) (node, error) {
	return call(ctx, c, func() (node, error) {
		ok, stat, err := c.Exists(path)
		if err == nil && !ok {
			err = zk.ErrNoNode
		}
		return node{stat: stat}, err
	})
}

// A listing is a node's children.
type listing struct {
	names []string
	stat  *zk.Stat
}

func (c *conn) children(ctx context.Context, path string) (listing, error) {
	return call(ctx, c, func() (listing, error) {
		names, stat, err := c.Children(path)
		return listing{names, stat}, err
	})
}

// prompt makes a call that a server has to answer in time. One that does not is
// frozen, or has forgotten the session: then another connection is made. The
// library would wait for two thirds of the session's timeout.
func (c *conn) prompt(ctx context.Context, limit time.Duration, f func(ctx context.Context) error) error {
	if err := c.reconnected(ctx); err != nil {
		return err
	}
	overdue := time.AfterFunc(limit, c.gate.hangUp())
	defer overdue.Stop()
	return f(ctx)
}

// sync asks what only the leader can answer.
func (c *conn) sync(ctx context.Context) error {
	_, err := call(ctx, c, func() (string, error) { return c.Sync("/") })
	return err
}

// catchUp makes what is read next at least as new as anything that had happened. It is a
// transaction that changes nothing: a server applies all that come before it. That it has
// synced says less: the leader answers its own clients' sync at once, while it may still have
// to apply what others have been told is done.
func (c *conn) catchUp(ctx context.Context) error {
	_, failed, err := c.multi(ctx, &zk.CheckVersionRequest{Path: "/", Version: -1})
	if failed >= 0 { // that is agreed upon as well
		return nil
	}
	return err
}

// multi runs operations as one. The index is that of the one that failed, or -1.
func (c *conn) multi(ctx context.Context, ops ...any) ([]zk.MultiResponse, int, error) {
	responses, err := call(ctx, c, func() ([]zk.MultiResponse, error) { return c.Multi(ops...) })
	return failedOne(responses, err)
}

func failedOne(responses []zk.MultiResponse, err error) ([]zk.MultiResponse, int, error) {
	if err == nil {
		return responses, -1, nil
	}
	for i, r := range responses { // the first: those behind it are said to have failed as well
		if r.Error != nil {
			return responses, i, err
		}
	}
	return nil, -1, err
}

// multiAndList is multi, and then a listing, for which the operations' answer is not
// awaited. It is of a moment after them most often, but need not be.
func (c *conn) multiAndList(ctx context.Context, dir string, ops ...any) ([]zk.MultiResponse, listing, int, error) {
	type both struct {
		responses []zk.MultiResponse
		list      listing
	}
	done, err := call(ctx, c, func() (done both, err error) {
		listed := make(chan listing, 1)
		go func() { // which comes to run when this goroutine waits for an answer
			names, stat, err := c.Children(dir)
			if err != nil {
				stat = &zk.Stat{}
			}
			listed <- listing{names, stat}
		}()
		if done.responses, err = c.Multi(ops...); err == nil {
			done.list = <-listed
		}
		return done, err
	})
	responses, failed, err := failedOne(done.responses, err)
	return responses, done.list, failed, err
}

// silent is a logger for what we tell ourselves.
type silent struct{}

func (silent) Printf(string, ...any) {}
