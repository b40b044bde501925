package zk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"time"
)

// A gate is what the connections of one session pass through, one after the other.
// It reads from the server's first answer what the client library keeps to itself:
// the timeout as granted, and what proves that the session is ours. It bounds the
// wait for that answer, which the library lets take ten times as long; and once
// it is shut there is no further connection, and so no other session. One request goes
// out here that the library makes only by itself.
type gate struct {
	dialer  Dialer
	lost    func()        // called when a connection has failed, before the library is told
	timeout time.Duration // as asked for, then as granted

	mu     sync.Mutex
	closed bool
	until  time.Time // no connection before
	conn   *greeting // the present one
	id     int64
	passwd []byte
	last   error // why the latest attempt failed

	unwatched bool // a server has refused what was sent ahead

	refused chan struct{} // closed when one has failed for good
}

var errShut = errors.New("the session is over")

func newGate(dial Dialer, timeout time.Duration) *gate {
	return &gate{dialer: dial, lost: func() {}, timeout: timeout, refused: make(chan struct{})}
}

// dial is the client library's dialer.
func (g *gate) dial(network, addr string, timeout time.Duration) (net.Conn, error) {
	if err := g.barred(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c, err := g.dialer(ctx, network, addr)
	if err != nil {
		g.failed(err)
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil, errors.Join(errShut, c.Close())
	}
	g.conn = &greeting{Conn: c, g: g}
	if g.id != 0 {
		g.conn.rewatched = make(chan struct{})
	}
	return g.conn, nil
}

// shut ends the present connection, and lets no other be made.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.drop()
}

// pause ends the present connection, and lets no other be made for some time.
func (g *gate) pause(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until = time.Now().Add(d)
	g.drop()
}

// hangUp returns what ends the present connection, and no later one.
func (g *gate) hangUp() func() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.conn
	return func() { _ = now.Close() }
}

// sendAhead has a request for watches go out together with the next request of the library's, ahead
// of that, and reports whether it will. The library ignores its answer; if that is an error, the
// connection ends, and there are no such requests any more.
func (g *gate) sendAhead(request []byte) bool {
	g.mu.Lock()
	now, refused := g.conn, g.unwatched
	g.mu.Unlock()
	now.order.Lock()
	defer now.order.Unlock()
	if !now.done || refused {
		return false
	}
	now.ahead = append(now.ahead, request...)
	return true
}

// unwatch records that a server has refused to set watches.
func (g *gate) unwatch() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unwatched = true
}

// drop ends the present connection. g.mu is held.
func (g *gate) drop() {
	if g.conn != nil {
		_ = g.conn.Close()
	}
}

// barred returns why no connection may be made now.
func (g *gate) barred() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return errShut
	case time.Now().Before(g.until):
		return errors.New("nobody has renewed the session: it is left to expire")
	}
	return nil
}

func (g *gate) failed(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if isMismatch(g.last) {
		return // it is what counts
	}
	if g.last = err; isMismatch(err) {
		close(g.refused)
	}
}

func (g *gate) failure() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last
}

func (g *gate) session() (id int64, passwd []byte, timeout time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.id, bytes.Clone(g.passwd), g.timeout
}

// greet takes the server's answer to the connection's first request.
func (g *gate) greet(frame []byte) {
	r, err := parseConnectResponse(frame)
	if err != nil || r.session == 0 || r.timeout <= 0 { // expired: the library finds out by itself
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.id, g.passwd, g.timeout = r.session, r.passwd, r.timeout
}

// A greeting is a connection of which the first answer is read, and of the others what they
// answer and whether it is an error.
//
// The library reads, for the watches that it sets again, what it writes with each
// answer, and has no lock for it. So here what was sent comes before what is received,
// and on a connection that replaces another, nothing is received before the watches
// are set: requests that were waiting to be sent may be ahead of that.
type greeting struct {
	net.Conn
	g     *gate
	seen  []byte
	done  bool
	ahead []byte // what goes out ahead of the next that is written
	head  []byte // of the answer that is being read, with its size
	rest  int    // of that, what comes behind the head
	order sync.Mutex

	rewatched chan struct{} // closed when watches were set, or there seem to be none; nil on the first connection
	once      sync.Once
}

// Write does not tell that a request could not be sent: the connection ends, and that is what
// the library tells all whose requests are under way. It would tell this one's sooner, with an
// error that depends on the kind of connection. And where it sends the user of a session
// again, to which nobody listens yet, it would tell that twice, and wait for ever.
func (c *greeting) Write(p []byte) (int, error) {
	ahead := c.takeAhead()
	all := p
	if len(ahead) > 0 {
		all = append(ahead, p...)
	}
	n, err := c.Conn.Write(all)
	c.note(err)
	if isRequest := c.wrote(p); isRequest && err != nil {
		_ = c.Conn.Close()
		return len(p), nil
	}
	return max(0, n-len(ahead)), err
}

// wrote lets answers through if those were the watches, and tells whether it was a request,
// or else the one for the session.
func (c *greeting) wrote(p []byte) (isRequest bool) {
	c.order.Lock()
	defer c.order.Unlock()
	if c.done && len(p) >= 12 && binary.BigEndian.Uint32(p[8:]) == setWatchesOp {
		c.receive()
	}
	return c.done
}

// note tells of a connection that has failed. The library gives it up then, but some of those
// whose requests are under way get their error before it says so.
func (c *greeting) note(err error) {
	if err != nil {
		c.g.lost()
	}
}

func (c *greeting) takeAhead() []byte {
	c.order.Lock()
	defer c.order.Unlock()
	ahead := c.ahead
	c.ahead = nil
	return ahead
}

// receive lets answers through.
func (c *greeting) receive() {
	if c.rewatched != nil {
		c.once.Do(func() { close(c.rewatched) })
	}
}

// SetReadDeadline bounds the wait for the first answer by a third of the session's
// timeout: there must be time to ask another server.
func (c *greeting) SetReadDeadline(t time.Time) error {
	if !c.done && !t.IsZero() {
		c.g.mu.Lock()
		limit := time.Now().Add(max(c.g.timeout/3, 100*time.Millisecond))
		c.g.mu.Unlock()
		if t.After(limit) {
			t = limit
		}
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *greeting) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.note(err)
	if c.done && c.rewatched != nil && n > 0 {
		<-c.rewatched
	}
	if c.take(p[:n], err) {
		_ = c.Conn.Close()
	}
	return n, err
}

// take takes what was read, and tells whether the connection has to end.
func (c *greeting) take(b []byte, err error) (end bool) {
	c.order.Lock()
	defer c.order.Unlock()
	if c.done {
		return c.readAlong(b)
	}
	if err != nil {
		c.g.failed(err)
	}
	c.seen = append(c.seen, b...)
	if size := frameSize(c.seen); size >= 0 && len(c.seen) >= 4+size {
		c.g.greet(c.seen[4 : 4+size])
		end = c.readAlong(c.seen[4+size:])
		c.done, c.seen = true, nil
		time.AfterFunc(settleTime, c.receive)
	}
	return end
}

// readAlong looks for answers to what was sent ahead. If one is an error, the connection has
// to end: whoever counts on those watches looks again then.
func (c *greeting) readAlong(b []byte) (refused bool) {
	for len(b) > 0 {
		if n := min(c.rest, len(b)); n > 0 {
			c.rest, b = c.rest-n, b[n:]
			continue
		}
		n := min(c.wanted()-len(c.head), len(b))
		c.head, b = append(c.head, b[:n]...), b[n:]
		if len(c.head) < c.wanted() {
			continue
		}
		if number, code := answerOf(c.head[4:]); number == watchesNumber && code != 0 {
			c.g.unwatch()
			refused = true
		}
		c.head, c.rest = c.head[:0], frameSize(c.head)-(len(c.head)-4)
	}
	return refused
}

// wanted is how long the head of the answer that is being read gets, with its size.
func (c *greeting) wanted() int {
	if len(c.head) < 4 {
		return 4
	}
	return 4 + max(0, min(frameSize(c.head), answerHead))
}

// answerOf reads the number of the request that an answer is for, and its error code.
func answerOf(head []byte) (number, code int32) {
	if len(head) < answerHead {
		return 0, 0
	}
	return int32(binary.BigEndian.Uint32(head)), int32(binary.BigEndian.Uint32(head[12:]))
}

// frameSize returns the size of the frame that b begins with, -1 if it is not told
// yet.
func frameSize(b []byte) int {
	if len(b) < 4 {
		return -1
	}
	return int(binary.BigEndian.Uint32(b))
}

// The few requests of the protocol that are written here.

type connectResponse struct {
	timeout time.Duration
	session int64
	passwd  []byte
}

func parseConnectResponse(frame []byte) (connectResponse, error) {
	if len(frame) < 20 {
		return connectResponse{}, io.ErrUnexpectedEOF
	}
	r := connectResponse{
		timeout: time.Duration(int32(binary.BigEndian.Uint32(frame[4:]))) * time.Millisecond,
		session: int64(binary.BigEndian.Uint64(frame[8:])),
	}
	n := int32(binary.BigEndian.Uint32(frame[16:]))
	if n < 0 || int(n) > len(frame)-20 {
		return connectResponse{}, io.ErrUnexpectedEOF
	}
	r.passwd = bytes.Clone(frame[20 : 20+n])
	return r, nil
}

// connectRequest is that for a session which is there, or for a new one if the id is 0.
func connectRequest(id int64, passwd []byte, timeout time.Duration) []byte {
	b := binary.BigEndian.AppendUint32(nil, 0)                           // of the protocol
	b = binary.BigEndian.AppendUint64(b, 0)                              // last zxid seen
	b = binary.BigEndian.AppendUint32(b, uint32(timeout.Milliseconds())) // of the session
	b = binary.BigEndian.AppendUint64(b, uint64(id))
	b = binary.BigEndian.AppendUint32(b, uint32(len(passwd)))
	return frame(append(b, passwd...))
}

const (
	closeOp      = -11
	setWatchesOp = 101

	// answerHead is the size of what answers begin with: the request's number, that of the
	// latest transaction, and an error code.
	answerHead = 16

	// watchesNumber is what stands for a request's number there: the library ignores
	// answers to numbers below 0 that it does not know.
	watchesNumber = -8
)

func closeRequest() []byte {
	op := int32(closeOp)
	b := binary.BigEndian.AppendUint32(nil, 1) // the request's number
	return frame(binary.BigEndian.AppendUint32(b, uint32(op)))
}

// watchesRequest is the one with which the library sets watches again after a
// reconnection: here it sets several at once, as of now. They are on nodes and their data,
// on nodes that are not there, and on the children of nodes. One on a node that is gone, or
// has been made, fires at once.
func watchesRequest(data, absent, parents []string) []byte {
	number := int32(watchesNumber)
	b := binary.BigEndian.AppendUint32(nil, uint32(number))
	b = binary.BigEndian.AppendUint32(b, setWatchesOp)
	b = binary.BigEndian.AppendUint64(b, math.MaxInt64) // the transaction after which changes count
	for _, paths := range [][]string{data, absent, parents} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(paths)))
		for _, p := range paths {
			b = binary.BigEndian.AppendUint32(b, uint32(len(p)))
			b = append(b, p...)
		}
	}
	return frame(b)
}

func frame(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// closeSession ends a session at a server, whatever became of its connection, and
// returns nil when it is known to have ended. The library's own way does not tell.
func closeSession(ctx context.Context, dial Dialer, addr string, id int64, passwd []byte, timeout time.Duration) error {
	c, err := dial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	r, err := takeSession(c, id, passwd, timeout)
	if err != nil || r.session == 0 { // it has ended
		return err
	}
	return endSession(c)
}

// takeSession has a server take a session for that of a new connection, or begin one if the
// id is 0, and returns what it says to that.
func takeSession(c net.Conn, id int64, passwd []byte, timeout time.Duration) (connectResponse, error) {
	if _, err := c.Write(connectRequest(id, passwd, timeout)); err != nil {
		return connectResponse{}, err
	}
	answer, err := readFrame(c)
	if err != nil {
		return connectResponse{}, err
	}
	return parseConnectResponse(answer)
}

// endSession closes the session of a connection.
func endSession(c net.Conn) error {
	if _, err := c.Write(closeRequest()); err != nil {
		return err
	}
	answer, err := readFrame(c)
	if err != nil {
		return err
	}
	return checkClosed(answer)
}

// checkClosed reads the answer to the request to close: its number, that of the
// transaction, and an error code.
func checkClosed(answer []byte) error {
	number, code := answerOf(answer)
	if number != 1 {
		return errors.New("the server has not answered the request to close the session")
	}
	if code != 0 {
		return fmt.Errorf("the server did not close the session: error %d", code)
	}
	return nil
}

// maxFrame bounds the answers that closeSession reads.
const maxFrame = 4096

func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	n := frameSize(size[:])
	if n < 0 || n > maxFrame {
		return nil, errors.New("the server's answer is none of ZooKeeper's")
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}
