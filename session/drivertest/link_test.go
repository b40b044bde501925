package drivertest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

// within bounds what has to happen in these tests.
const within = 10 * time.Second

// An echo is a server that returns the lines it reads, and remembers them.
type echo struct {
	addr string

	mu    sync.Mutex
	lines []string
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := &echo{addr: l.Addr().String()}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer c.Close()
				for r := bufio.NewScanner(c); r.Scan(); {
					e.mu.Lock()
					e.lines = append(e.lines, r.Text())
					e.mu.Unlock()
					if _, err := io.WriteString(c, r.Text()+"\n"); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		work.Wait()
	})
	return e
}

// got reports whether the server has read the line.
func (e *echo) got(line string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.lines {
		if l == line {
			return true
		}
	}
	return false
}

func (e *echo) gets(t *testing.T, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if poll(ctx, func() error {
		if !e.got(line) {
			return errors.New("not yet")
		}
		return nil
	}) != nil {
		t.Fatalf("the server did not get %q", line)
	}
}

// A client writes lines through a link and reads their echoes.
type client struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func dial(t *testing.T, l *Link, e *echo) *client {
	t.Helper()
	c, err := l.Dial(t.Context(), "tcp", e.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &client{c, t, bufio.NewReader(c)}
}

func (c *client) write(line string) {
	c.t.Helper()
	if _, err := io.WriteString(c, line+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) read(timeout time.Duration) (string, error) {
	c.t.Helper()
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		c.t.Fatal(err)
	}
	return c.r.ReadString('\n')
}

func (c *client) hears(line string) {
	c.t.Helper()
	if got, err := c.read(within); err != nil || got != line+"\n" {
		c.t.Fatalf("read %q, %v, want %q", got, err, line)
	}
}

func (c *client) hearsNothing() {
	c.t.Helper()
	if got, err := c.read(moment); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("read %q, %v, want nothing until the deadline", got, err)
	}
}

func (c *client) isCut() {
	c.t.Helper()
	if got, err := c.read(within); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("read %q, %v, want a broken connection", got, err)
	}
}

func TestLinkPassesBytesAndCountsWrites(t *testing.T) {
	l, e := &Link{}, newEcho(t)
	c := dial(t, l, e)
	for _, line := range []string{"a", "b", "c"} {
		c.write(line)
		c.hears(line)
	}
	if n := l.Requests(); n != 3 {
		t.Errorf("%d writes counted, want 3", n)
	}
	if c.LocalAddr() == nil || c.RemoteAddr().String() != e.addr {
		t.Errorf("the connection is from %v to %v, want to %s", c.LocalAddr(), c.RemoteAddr(), e.addr)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write after Close returned %v", err)
	}
}

func TestLostReplyReachesTheServerAlone(t *testing.T) {
	l, e := &Link{}, newEcho(t)
	c := dial(t, l, e)
	c.write("before")
	c.hears("before")
	l.LoseReply(2)
	c.write("first")
	c.hears("first")
	c.write("second")
	e.gets(t, "second")
	c.isCut()
	c = dial(t, l, e) // what comes next is not affected
	c.write("third")
	c.hears("third")
	if e.got("") {
		t.Error("the server got an empty line")
	}
}

func TestFrozenLinkPassesNothing(t *testing.T) {
	l, e := &Link{}, newEcho(t)
	c := dial(t, l, e)
	c.write("before")
	c.hears("before")
	l.Freeze()
	c.write("while")
	c.hearsNothing()
	if e.got("while") {
		t.Error("the server got what was written while frozen")
	}
	ctx, cancel := context.WithTimeout(t.Context(), moment)
	defer cancel()
	if _, err := l.Dial(ctx, "tcp", e.addr); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Dial while frozen returned %v, want DeadlineExceeded", err)
	}
	l.Heal()
	c.hears("while")
	c.write("after")
	c.hears("after")
}

func TestFrozenLinkHoldsRepliesBack(t *testing.T) {
	l, e := &Link{}, newEcho(t)
	c := dial(t, l, e)
	l.Delay(4 * moment)
	c.write("line")
	e.gets(t, "line")
	l.Freeze() // the reply is under way
	l.Delay(0)
	if got, err := c.read(8 * moment); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read %q, %v from a frozen link", got, err)
	}
	l.Heal()
	c.hears("line")
}

func TestDelayIsOfRepliesAndKeepsThemInOrder(t *testing.T) {
	l, e := &Link{}, newEcho(t)
	c := dial(t, l, e)
	l.Delay(2 * moment)
	begun := time.Now()
	c.write("one")
	c.write("two")
	e.gets(t, "two")
	c.hears("one")
	if d := time.Since(begun); d < 2*moment {
		t.Errorf("the reply came after %v, want at least %v", d, 2*moment)
	}
	c.hears("two")
	l.Delay(0)
	c.write("three")
	c.hears("three")
}

func TestCutBreaksConnectionsThereAre(t *testing.T) {
	l, e := &Link{}, newEcho(t)
	a, b := dial(t, l, e), dial(t, l, e)
	a.write("a")
	a.hears("a")
	l.Cut()
	a.isCut()
	b.isCut()
	c := dial(t, l, e)
	c.write("c")
	c.hears("c")
}

func TestDetainedBytesArriveLate(t *testing.T) {
	l, e := &Link{}, newEcho(t)
	c := dial(t, l, e)
	c.write("before")
	c.hears("before")
	l.Detain(1)
	c.write("late")
	c.write("later")
	c.isCut()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	again := dial(t, l, e)
	again.write("meanwhile")
	again.hears("meanwhile")
	if e.got("late") {
		t.Error("what was detained has reached the server")
	}
	l.Deliver()
	if !e.got("late") || !e.got("later") {
		t.Error("what was detained has not reached the server")
	}
	again.write("after") // other connections are not affected
	again.hears("after")
}

func TestLinkEndsWithTheServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	link := &Link{}
	c, err := link.Dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(server, "bye\n"); err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	// What was sent before the end is read before the end.
	if all, err := io.ReadAll(c); string(all) != "bye\n" || err != nil {
		t.Errorf("read %q, %v, want all that the server sent", all, err)
	}
	if _, err := link.Dial(t.Context(), "tcp", "127.0.0.1:1"); err == nil {
		t.Error("Dial of a port where nobody listens succeeded")
	}
}
