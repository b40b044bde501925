package zk

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

// greetingOf is what a server answers to the connection's first request.
func greetingOf(timeout int32, session int64, passwd string) []byte {
	b := binary.BigEndian.AppendUint32(nil, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(timeout))
	b = binary.BigEndian.AppendUint64(b, uint64(session))
	b = binary.BigEndian.AppendUint32(b, uint32(len(passwd)))
	return append(b, passwd...)
}

const passwd = "0123456789abcdef"

func TestGreetingThatIsCutShortIsAnError(t *testing.T) {
	whole := greetingOf(4000, -7, passwd)
	r, err := parseConnectResponse(whole)
	if err != nil || r.timeout != 4*time.Second || r.session != -7 || string(r.passwd) != passwd {
		t.Fatalf("the greeting says %+v, %v", r, err)
	}
	for n := range whole {
		if r, err := parseConnectResponse(whole[:n]); err == nil {
			t.Errorf("the first %d bytes of the greeting say %+v", n, r)
		}
	}
	if _, err := parseConnectResponse(append(whole, 0)); err != nil { // a newer server tells whether it is read-only
		t.Errorf("a greeting with more behind it: %v", err)
	}
	for _, size := range []uint32{17, 1 << 31, 1<<31 - 1, 1<<32 - 1} {
		b := bytes.Clone(whole)
		binary.BigEndian.PutUint32(b[16:], size)
		if r, err := parseConnectResponse(b); err == nil {
			t.Errorf("with a password of %d bytes the greeting says %+v", size, r)
		}
	}
}

// piecemeal is a connection that yields what it is given, in these pieces.
type piecemeal struct {
	net.Conn
	pieces   [][]byte
	deadline time.Time
}

func (c *piecemeal) Read(p []byte) (int, error) {
	if len(c.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.pieces[0])
	if c.pieces[0] = c.pieces[0][n:]; len(c.pieces[0]) == 0 {
		c.pieces = c.pieces[1:]
	}
	return n, nil
}

func (c *piecemeal) SetReadDeadline(t time.Time) error {
	c.deadline = t
	return nil
}

// through passes bytes through a gate, and returns that and what came out.
func through(pieces ...[]byte) (*gate, []byte, error) {
	g := newGate(nil, 9*time.Second)
	out, err := io.ReadAll(&greeting{Conn: &piecemeal{pieces: pieces}, g: g})
	return g, out, err
}

func TestGateReadsAGreetingHoweverItArrives(t *testing.T) {
	stream := append(frame(greetingOf(4000, 7, passwd)), frame(greetingOf(9999, 9, "another"))...)
	for cut := range len(stream) + 1 {
		for second := cut; second <= len(stream); second += 7 {
			pieces := [][]byte{bytes.Clone(stream[:cut]), bytes.Clone(stream[cut:second]), bytes.Clone(stream[second:])}
			g, out, err := through(pieces...)
			if err != nil || !bytes.Equal(out, stream) {
				t.Fatalf("cut at %d and %d: %q came out, %v", cut, second, out, err)
			}
			if id, pw, timeout := g.session(); id != 7 || string(pw) != passwd || timeout != 4*time.Second {
				t.Fatalf("cut at %d and %d: the session is %d, %q, %v", cut, second, id, pw, timeout)
			}
		}
	}
	for cut := range 4 + 20 + len(passwd) {
		if g, _, _ := through(bytes.Clone(stream[:cut])); g.id != 0 || g.timeout != 9*time.Second {
			t.Errorf("of the first %d bytes of a greeting the gate takes %d, %v", cut, g.id, g.timeout)
		}
	}
}

func TestGateKeepsItsSessionWhenTheServerHasExpiredIt(t *testing.T) {
	g := newGate(nil, 9*time.Second)
	g.greet(greetingOf(4000, 7, passwd))
	g.greet(greetingOf(0, 0, passwd))
	if id, pw, timeout := g.session(); id != 7 || string(pw) != passwd || timeout != 4*time.Second {
		t.Errorf("the session is %d, %q, %v", id, pw, timeout)
	}
}

// A timeout becomes a ticker's interval, which must be positive.
func TestGateTakesNoTimeoutThatIsNone(t *testing.T) {
	for _, ms := range []int32{0, -1, -1 << 31} {
		g := newGate(nil, 9*time.Second)
		g.greet(greetingOf(ms, 7, passwd))
		if _, _, timeout := g.session(); timeout <= 0 {
			t.Errorf("with the timeout %d ms from the server the session's is %v", ms, timeout)
		}
	}
}

func TestGateBoundsTheWaitForAGreetingAlone(t *testing.T) {
	conn := &piecemeal{pieces: [][]byte{frame(greetingOf(4000, 7, passwd))}}
	c := &greeting{Conn: conn, g: newGate(nil, 9*time.Second)}
	late := time.Now().Add(time.Hour)
	if err := c.SetReadDeadline(late); err != nil || !conn.deadline.Before(late) {
		t.Errorf("before the greeting the deadline is %v, %v", conn.deadline, err)
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil || !conn.deadline.IsZero() {
		t.Errorf("without a deadline it is %v, %v", conn.deadline, err)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(late); err != nil || !conn.deadline.Equal(late) {
		t.Errorf("after the greeting the deadline is %v, %v, want %v", conn.deadline, err, late)
	}
}

// recorded is a connection that keeps what is written, one write each, until so many bytes
// have been.
type recorded struct {
	piecemeal
	room   int
	writes []string
	closed bool
}

func (c *recorded) Write(p []byte) (int, error) {
	n := min(len(p), c.room)
	c.room -= n
	c.writes = append(c.writes, string(p[:n]))
	if n < len(p) {
		return n, io.ErrShortWrite
	}
	return n, nil
}

func (c *recorded) Close() error {
	c.closed = true
	return nil
}

// greeted is a gate with a connection on which the greeting was read, and then what else
// comes, and that connection.
func greeted(t *testing.T, more ...[]byte) (*gate, net.Conn, *recorded) {
	t.Helper()
	conn := &recorded{piecemeal: piecemeal{pieces: append([][]byte{frame(greetingOf(4000, 7, passwd))}, more...)}, room: 1000}
	g := newGate(func(context.Context, string, string) (net.Conn, error) { return conn, nil }, 9*time.Second)
	c, err := g.dial("tcp", "h:1", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if g.sendAhead([]byte("early")) {
		t.Error("a request is taken before the greeting")
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
	return g, c, conn
}

func TestWhatGoesAheadGoesOutWithTheNextRequest(t *testing.T) {
	g, c, conn := greeted(t)
	send := func(s string, closed bool) {
		conn.closed = false
		if n, err := c.Write([]byte(s)); n != len(s) || err != nil || conn.closed != closed {
			t.Errorf("of %q %d bytes were written, %v; the connection is closed: %t, want %t", s, n, err, conn.closed, closed)
		}
	}
	ahead := func(requests ...string) {
		for _, r := range requests {
			if !g.sendAhead([]byte(r)) {
				t.Fatal("a request is not taken")
			}
		}
	}
	send("hello", false)
	ahead("one", "two")
	send("first", false)
	send("second", false)
	ahead("three")
	conn.room = 7
	send("third", true)
	ahead("four")
	conn.room = 3
	send("fourth", true)
	if want := []string{"hello", "onetwofirst", "second", "threeth", "fou"}; !slices.Equal(conn.writes, want) {
		t.Errorf("%q were written, want %q", conn.writes, want)
	}
	ahead("five")
	next, err := g.dial("tcp", "h:2", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	conn.room = 0
	if n, err := next.Write([]byte("hello")); n != 0 || err == nil {
		t.Errorf("where the request for the session cannot be sent, %d bytes were written, %v", n, err)
	}
	conn.room, conn.writes = 100, nil
	if _, err := next.Write([]byte("hello")); err != nil || !slices.Equal(conn.writes, []string{"hello"}) {
		t.Errorf("on the next connection %q were written, %v", conn.writes, err)
	}
}

// Nobody else looks whether the server has done what was sent ahead.
func TestRefusalOfWhatWentAheadEndsTheConnection(t *testing.T) {
	const notification, throttled = -1, -127
	answers := func(code int32) (stream []byte) {
		stream = append(closed(1, throttled), frame(make([]byte, 100))...)
		stream = append(append(stream, closed(notification, throttled)...), frame(nil)...)
		stream = append(append(stream, frame([]byte("short"))...), closed(watchesNumber, code)...)
		return append(stream, closed(2, 0)...)
	}
	for cut := range answers(0) {
		for _, code := range []int32{0, throttled} {
			stream := answers(code)
			g, _, conn := greeted(t, bytes.Clone(stream[:cut]), bytes.Clone(stream[cut:]))
			if conn.closed != (code != 0) {
				t.Fatalf("after the error %d, cut at %d, the connection is closed: %v", code, cut, conn.closed)
			}
			if g.sendAhead([]byte("again")) != (code == 0) {
				t.Fatalf("after the error %d, cut at %d, requests are taken: %v", code, cut, code != 0)
			}
		}
	}
}

func TestGateThatIsShutLetsNobodyThrough(t *testing.T) {
	var dialed int
	near, far := net.Pipe()
	defer far.Close()
	g := newGate(func(context.Context, string, string) (net.Conn, error) {
		dialed++
		return near, nil
	}, time.Second)
	if _, err := g.dial("tcp", "h:1", time.Second); err != nil {
		t.Fatal(err)
	}
	g.shut()
	if _, err := near.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a write on the connection after the gate was shut: %v", err)
	}
	if _, err := g.dial("tcp", "h:1", time.Second); !errors.Is(err, errShut) || dialed != 1 {
		t.Errorf("after the gate was shut a connection was made: %v, %d dialed", err, dialed)
	}
}

func TestGateThatIsShutWhileItDialsClosesTheConnection(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	var g *gate
	g = newGate(func(context.Context, string, string) (net.Conn, error) {
		g.shut()
		return near, nil
	}, time.Second)
	if _, err := g.dial("tcp", "h:1", time.Second); !errors.Is(err, errShut) {
		t.Errorf("dial returned %v", err)
	}
	if _, err := near.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the connection is still open: %v", err)
	}
}

func TestFrameThatIsCutOrTooLargeIsAnError(t *testing.T) {
	whole := frame([]byte("hello"))
	if got, err := readFrame(bytes.NewReader(whole)); err != nil || string(got) != "hello" {
		t.Fatalf("the frame has %q, %v", got, err)
	}
	for n := range whole {
		if got, err := readFrame(bytes.NewReader(whole[:n])); err == nil {
			t.Errorf("the first %d bytes have %q", n, got)
		}
	}
	for _, size := range []uint32{maxFrame + 1, 1 << 31, 1<<32 - 1, 0x16030100} { // the last is TLS
		if _, err := readFrame(bytes.NewReader(binary.BigEndian.AppendUint32(nil, size))); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("a frame of %d bytes: %v", size, err)
		}
	}
}

// closing runs closeSession against a server that reads both requests, answers with
// these bytes, and hangs up.
func closing(t *testing.T, answers ...[]byte) error {
	t.Helper()
	near, far := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer far.Close()
		for _, answer := range answers {
			if _, err := readFrame(far); err != nil {
				return
			}
			if _, err := far.Write(answer); err != nil {
				return
			}
		}
		if len(answers) == 1 {
			return
		}
		_, _ = io.Copy(io.Discard, far)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	dial := func(context.Context, string, string) (net.Conn, error) { return near, nil }
	err := closeSession(ctx, dial, "h:1", 7, []byte(passwd), time.Second)
	<-served
	return err
}

// closed is the answer to the request to close: its number, the transaction, and an
// error code.
func closed(xid, code int32) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(xid))
	b = binary.BigEndian.AppendUint64(b, 99)
	return frame(binary.BigEndian.AppendUint32(b, uint32(code)))
}

func TestSessionIsTakenForClosedOnlyWhenTheServerSaysSo(t *testing.T) {
	const moved, notification = -118, -1
	hello := frame(greetingOf(4000, 7, passwd))
	if err := closing(t, hello, closed(1, 0)); err != nil {
		t.Errorf("a session that was closed: %v", err)
	}
	if err := closing(t, frame(greetingOf(0, 0, passwd)), nil); err != nil {
		t.Errorf("a session that had expired: %v", err)
	}
	for what, answers := range map[string][][]byte{
		"no answer":              {nil},
		"half a greeting":        {hello[:11]},
		"garbage":                {[]byte("HTTP/1.1 400 Bad Request\r\n\r\n")},
		"greeting alone":         {hello, nil},
		"half an answer":         {hello, closed(1, 0)[:13]},
		"moved to another":       {hello, closed(1, moved)},
		"something else instead": {hello, closed(notification, 0)},
	} {
		if err := closing(t, answers...); err == nil {
			t.Errorf("%s: the session is taken for closed", what)
		}
	}
}

func FuzzGate(f *testing.F) {
	hello := frame(greetingOf(4000, 7, passwd))
	f.Add(hello, 5)
	f.Add(append(hello, "more"...), 30)
	f.Add(frame(greetingOf(0, 0, passwd)), 0)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0}, 2)
	f.Add([]byte("\x00\x00\x00\x14\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff"), 4)
	f.Fuzz(func(t *testing.T, stream []byte, cut int) {
		cut = min(max(cut, 0), len(stream))
		g, out, err := through(bytes.Clone(stream[:cut]), bytes.Clone(stream[cut:]))
		if err != nil || !bytes.Equal(out, stream) {
			t.Errorf("of %q came out %q, %v", stream, out, err)
		}
		whole, _, _ := through(bytes.Clone(stream))
		if got, want := fmt.Sprint(g.session()), fmt.Sprint(whole.session()); got != want {
			t.Errorf("%q cut at %d is %s, in one piece %s", stream, cut, got, want)
		}
		if b, err := readFrame(bytes.NewReader(stream)); err == nil && len(b) > maxFrame {
			t.Errorf("a frame of %d bytes was read", len(b))
		}
	})
}
