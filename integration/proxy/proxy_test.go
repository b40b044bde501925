package proxy_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead-go/fairlead/integration/proxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// quiet is how long a test watches for bytes that must not come.
	quiet = 100 * time.Millisecond
	// patience bounds everything that must happen.
	patience = 10 * time.Second
)

// A server accepts connections and gives them to the test.
type server struct {
	net.Listener
	conns chan net.Conn
}

// listen starts a server and a proxy in front of it.
func listen(t *testing.T) (*server, *proxy.Proxy) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Listener: l, conns: make(chan net.Conn, 16)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				close(s.conns)
				return
			}
			s.conns <- c
		}
	})
	p, err := proxy.Listen(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		l.Close()
		wg.Wait()
		for c := range s.conns {
			c.Close()
		}
	})
	return s, p
}

func (s *server) next(t *testing.T) net.Conn {
	t.Helper()
	select {
	case c := <-s.conns:
		t.Cleanup(func() { c.Close() })
		return c
	case <-time.After(patience):
		t.Fatal("no connection arrived at the server")
		return nil
	}
}

func dial(t *testing.T, p *proxy.Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, c net.Conn, text string) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("read %q, %v; want %q", got, err, text)
	}
}

func expectQuiet(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(quiet))
	n, err := c.Read(make([]byte, 1))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v; want nothing to happen", n, err)
	}
}

func expectEnd(t *testing.T, c net.Conn) error {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	n, err := c.Read(make([]byte, 1))
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read %d bytes, %v; want the end of the connection", n, err)
	}
	return err
}

func TestBytesPassBothWaysAndAreCounted(t *testing.T) {
	s, p := listen(t)
	client := dial(t, p)
	send(t, client, "question")
	remote := s.next(t)
	expect(t, remote, "question")
	send(t, remote, "answer")
	expect(t, client, "answer")
	client.Close()
	expectEnd(t, remote)

	want := proxy.Counts{Accepted: 1, Up: int64(len("question")), Down: int64(len("answer"))}
	remote.Close()
	for end := time.Now().Add(patience); p.Counts() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("counts are %+v, want %+v", p.Counts(), want)
		}
	}
}

func TestHalfCloseLetsTheAnswerThrough(t *testing.T) {
	s, p := listen(t)
	client := dial(t, p)
	send(t, client, "question")
	client.(*net.TCPConn).CloseWrite()
	remote := s.next(t)
	expect(t, remote, "question")
	expectEnd(t, remote)
	send(t, remote, "answer")
	expect(t, client, "answer")
}

func TestFrozenDirectionPassesNothingUntilThaw(t *testing.T) {
	for _, tc := range []struct {
		name   string
		frozen proxy.Direction
	}{{"up", proxy.Up}, {"down", proxy.Down}, {"both", proxy.Both}} {
		t.Run(tc.name, func(t *testing.T) {
			s, p := listen(t)
			client := dial(t, p)
			send(t, client, "a")
			remote := s.next(t)
			expect(t, remote, "a")

			p.Freeze(tc.frozen)
			before := p.Counts()
			send(t, client, "b")
			send(t, remote, "c")
			if tc.frozen&proxy.Up != 0 {
				expectQuiet(t, remote)
			} else {
				expect(t, remote, "b")
			}
			if tc.frozen&proxy.Down != 0 {
				expectQuiet(t, client)
			} else {
				expect(t, client, "c")
			}
			if after := p.Counts(); tc.frozen == proxy.Both && (after.Up != before.Up || after.Down != before.Down) {
				t.Errorf("counts moved from %+v to %+v while frozen", before, after)
			}

			p.Thaw(proxy.Both)
			if tc.frozen&proxy.Up != 0 {
				expect(t, remote, "b")
			}
			if tc.frozen&proxy.Down != 0 {
				expect(t, client, "c")
			}
		})
	}
}

func TestFreezeHidesClosing(t *testing.T) {
	s, p := listen(t)
	client := dial(t, p)
	send(t, client, "a")
	remote := s.next(t)
	expect(t, remote, "a")

	p.Freeze(proxy.Both)
	client.Close()
	expectQuiet(t, remote)
	p.Thaw(proxy.Both)
	expectEnd(t, remote)
}

func TestNewConnectionsHangWhileFrozen(t *testing.T) {
	s, p := listen(t)
	p.Freeze(proxy.Both)
	client := dial(t, p)
	send(t, client, "hello")
	expectQuiet(t, client)
	select {
	case <-s.conns:
		t.Fatal("a connection reached the server through a frozen network")
	default:
	}
	p.Thaw(proxy.Both)
	expect(t, s.next(t), "hello")
}

func TestFreezeReturnsWhileAPeerDoesNotRead(t *testing.T) {
	s, p := listen(t)
	client := dial(t, p)
	send(t, client, "a")
	remote := s.next(t) // never read again
	stuck := make(chan struct{})
	go func() {
		defer close(stuck)
		client.Write(make([]byte, 64<<20)) // more than all buffers on the way hold
	}()
	for p.Counts().Up < 1<<16 {
		time.Sleep(time.Millisecond)
	}
	frozen := make(chan struct{})
	go func() {
		defer close(frozen)
		p.Freeze(proxy.Both)
	}()
	select {
	case <-frozen:
	case <-time.After(patience):
		t.Error("Freeze still waits for a peer that does not read")
	}
	p.Cut()
	<-stuck
	<-frozen
	remote.Close()
}

func TestDelayHoldsEveryChunkAndKeepsOrder(t *testing.T) {
	const hold = 150 * time.Millisecond
	s, p := listen(t)
	client := dial(t, p)
	send(t, client, "a")
	remote := s.next(t)
	expect(t, remote, "a")

	p.Delay(proxy.Down, hold)
	var want bytes.Buffer
	var sent []time.Time
	for i := range 5 {
		text := string(rune('0' + i))
		want.WriteString(text)
		sent = append(sent, time.Now())
		send(t, remote, text)
		time.Sleep(10 * time.Millisecond) // apart, so that each is a chunk of its own
	}
	for i := range sent {
		expect(t, client, want.String()[i:i+1])
		if took := time.Since(sent[i]); took < hold {
			t.Errorf("chunk %d took %v, want at least %v", i, took, hold)
		}
	}

	// What is on its way stays in front of what comes after the delay.
	send(t, remote, "slow")
	time.Sleep(10 * time.Millisecond)
	p.Delay(proxy.Down, 0)
	send(t, remote, "fast")
	expect(t, client, "slowfast")
}

func TestCutResetsPresentConnectionsOnly(t *testing.T) {
	s, p := listen(t)
	first := dial(t, p)
	send(t, first, "a")
	remote := s.next(t)
	expect(t, remote, "a")

	if n := p.Cut(); n != 1 {
		t.Errorf("Cut() = %d, want 1", n)
	}
	if err := expectEnd(t, first); errors.Is(err, io.EOF) {
		t.Error("the client saw a clean end, want a reset")
	}
	expectEnd(t, remote)

	second := dial(t, p)
	send(t, second, "b")
	expect(t, s.next(t), "b")
}

func TestCutEndsHangingConnections(t *testing.T) {
	_, p := listen(t)
	p.Freeze(proxy.Both)
	client := dial(t, p)
	for p.Counts().Open == 0 {
		time.Sleep(time.Millisecond)
	}
	p.Cut()
	expectEnd(t, client)
}

func TestAbsentServerEndsTheConnection(t *testing.T) {
	s, p := listen(t)
	s.Close()
	client, err := net.Dial("tcp", p.Addr())
	if err != nil {
		return // reset already
	}
	defer client.Close()
	expectEnd(t, client)
}
