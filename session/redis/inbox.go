package redis

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/redis/rueidis"
)

// An inbox is the one connection on which a store is told things: what its entries
// wait for, on a channel of its own, and that queues which somebody watches have
// changed, on theirs. Messages are lost while it is down, so whoever listens is told
// when it is up again, and looks.
type inbox struct {
	s       *store
	channel string

	mu        sync.Mutex
	conn      rueidis.DedicatedClient // nil while there is none
	err       error                   // why there is none
	renewed   chan struct{}           // closed, and replaced, when the connection is up again
	failed    chan struct{}           // of room 1: there is a new reason
	lost      chan struct{}           // of room 1: the server has ended a subscription
	listeners map[string][]*listener  // by session or entry
	observers map[string]*observers   // by channel: all that are subscribed to
	idle      int                     // of those, without anybody who watches
}

// A listener is told what comes for a session or an entry of it.
type listener struct {
	id    string
	notes chan struct{} // of room 1: there are messages
	mu    sync.Mutex
	queue []string
}

// observers are those who watch one queue.
type observers struct {
	n       int
	changed chan struct{} // closed, and replaced
}

func newInbox(s *store) *inbox {
	return &inbox{
		s: s, channel: s.prefix + "i:" + s.id, renewed: make(chan struct{}),
		failed: make(chan struct{}, 1), lost: make(chan struct{}, 1),
		listeners: map[string][]*listener{}, observers: map[string]*observers{},
	}
}

// run keeps the connection up until the store is closed.
func (b *inbox) run(ctx context.Context) {
	pause := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(5*time.Millisecond), backoff.WithMaxInterval(time.Second), backoff.WithMaxElapsedTime(0))
	for ctx.Err() == nil {
		down, err := b.connect(ctx)
		b.note(err)
		if err != nil {
			sleep(ctx, pause.NextBackOff())
			continue
		}
		pause.Reset()
		select {
		case <-down.closed:
		case <-b.lost:
		case <-ctx.Done():
		}
		down.release()
	}
}

// A downfall tells the end of a connection.
type downfall struct {
	closed  <-chan error
	release func()
}

// connect subscribes to everything, and says so.
func (b *inbox) connect(ctx context.Context) (downfall, error) {
	select {
	case <-b.lost: // of the connection before
	default:
	}
	conn, release := b.s.client.Dedicate()
	closed := conn.SetPubSubHooks(rueidis.PubSubHooks{OnMessage: b.take, OnSubscription: b.confirm})
	// To close it first spares rueidis the unsubscribing, see leave.
	d := downfall{closed, func() { b.drop(conn); conn.Close(); release() }}
	b.mu.Lock()
	channels := []string{b.channel}
	for c, o := range b.observers {
		if o.n == 0 {
			delete(b.observers, c)
			continue
		}
		channels = append(channels, c)
	}
	b.idle = 0
	b.conn = conn // who begins to watch from here on subscribes by itself
	b.mu.Unlock()
	if err := b.subscribe(ctx, conn, channels...); err != nil {
		d.release()
		return d, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.renewed)
	b.renewed = make(chan struct{})
	for _, o := range b.observers {
		o.tell()
	}
	return d, nil
}

func (b *inbox) note(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	if err != nil {
		select {
		case b.failed <- struct{}{}:
		default:
		}
	}
}

// trouble is why there is no connection, if there is a reason.
func (b *inbox) trouble() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *inbox) drop(conn rueidis.DedicatedClient) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.conn == conn {
		b.conn = nil
	}
}

func (b *inbox) subscribe(ctx context.Context, conn rueidis.DedicatedClient, channels ...string) error {
	ctx, cancel := context.WithTimeout(ctx, b.s.timeout)
	defer cancel()
	return conn.Do(ctx, conn.B().Ssubscribe().Channel(channels...).Build()).Error()
}

// take is called with each message, one after another, and must not block.
func (b *inbox) take(m rueidis.PubSubMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.Channel != b.channel {
		if o := b.observers[m.Channel]; o != nil {
			o.tell()
		}
		return
	}
	to, message, _ := strings.Cut(m.Message, " ")
	for _, l := range b.listeners[to] {
		l.put(message)
	}
}

// confirm is called when a subscription has begun or ended. A cluster ends those whose
// slot moves to another server.
func (b *inbox) confirm(s rueidis.PubSubSubscription) {
	b.mu.Lock()
	defer b.mu.Unlock()
	conn, observed := b.conn, b.observers[s.Channel] != nil
	switch {
	case s.Kind != "sunsubscribe":
	case s.Channel == b.channel:
		b.reconnect()
	case observed && conn != nil: // which fails where the slot has moved
		b.s.background(func() { b.add(conn, s.Channel) })
	}
}

// reconnect has everything subscribed to anew.
func (b *inbox) reconnect() {
	select {
	case b.lost <- struct{}{}:
	default:
	}
}

func (o *observers) tell() {
	close(o.changed)
	o.changed = make(chan struct{})
}

func (l *listener) put(message string) {
	l.mu.Lock()
	l.queue = append(l.queue, message)
	l.mu.Unlock()
	l.note()
}

func (l *listener) note() {
	select {
	case l.notes <- struct{}{}:
	default:
	}
}

// get takes the next message.
func (l *listener) get() (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) == 0 {
		return "", false
	}
	m := l.queue[0]
	if l.queue = l.queue[1:]; len(l.queue) > 0 {
		l.note() // who takes this one alone comes back for the next
	}
	return m, true
}

// listen makes a listener for an ID, until ignore.
func (b *inbox) listen(id string) *listener {
	l := &listener{id: id, notes: make(chan struct{}, 1)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listeners[id] = append(b.listeners[id], l)
	return l
}

func (b *inbox) ignore(l *listener) {
	b.mu.Lock()
	defer b.mu.Unlock()
	rest := slices.DeleteFunc(b.listeners[l.id], func(x *listener) bool { return x == l })
	if b.listeners[l.id] = rest; len(rest) == 0 {
		delete(b.listeners, l.id)
	}
}

// next returns a channel that is closed when messages may have been lost.
func (b *inbox) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.renewed
}

// observe begins to watch a queue, and stops with the function that it returns. Until it
// is sure that nothing is missed, which it is told of like of a change, it may take a
// moment.
func (b *inbox) observe(name string) (*observers, func()) {
	channel := b.s.prefix + "c:" + name
	b.mu.Lock()
	o := b.observers[channel]
	first := o == nil
	if first {
		o = &observers{changed: make(chan struct{})}
		b.observers[channel] = o
	} else if o.n == 0 {
		b.idle--
	}
	o.n++
	conn := b.conn
	b.mu.Unlock()
	if first && conn != nil {
		b.s.background(func() { b.add(conn, channel) }) // whether or not ctx ends: others may come
	}
	return o, func() { b.leave(o) }
}

// add subscribes to the channel of a queue, and has those who watch it look.
func (b *inbox) add(conn rueidis.DedicatedClient, channel string) {
	err := b.subscribe(b.s.ctx, conn, channel)
	b.mu.Lock()
	defer b.mu.Unlock()
	switch o := b.observers[channel]; {
	case o == nil: // nobody does any more
	case err != nil && b.conn == conn:
		b.reconnect()
	default:
		o.tell()
	}
}

// maxIdle is how many queues stay subscribed to that nobody watches any more.
const maxIdle = 256

// leave ends what observe began. The subscription stays, for whoever watches that queue
// next, until there are too many of no use: those end with the connection. To end one
// alone is not safe: behind each SUNSUBSCRIBE rueidis sends a PING, and when the server
// refuses that because it cannot write to its disk (MISCONF), rueidis panics.
func (b *inbox) leave(o *observers) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.n--; o.n > 0 {
		return
	}
	if b.idle++; b.idle > maxIdle {
		b.reconnect()
	}
}

// change returns a channel that is closed with the next change.
func (b *inbox) change(o *observers) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return o.changed
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
