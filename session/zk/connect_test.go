package zk_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/zk"
)

func TestAbsentServersAreNamedWithinTheDeadline(t *testing.T) {
	t.Parallel()
	a, b := unused(t), unused(t)
	for _, who := range []string{"", "u:wrong-secret@"} {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		begun := time.Now()
		_, err := session.Open(ctx, "zk://"+who+a+","+b, &session.Options{Logger: quiet})
		cancel()
		if err == nil || !strings.Contains(err.Error(), "ZooKeeper at "+a+", "+b) ||
			strings.Contains(err.Error(), "secret") {
			t.Errorf("Open returned %v, want an error that names %s and %s", err, a, b)
		}
		if d := time.Since(begun); d > patience/2 {
			t.Errorf("Open with a deadline of 300 ms took %v", d)
		}
	}
}

// unused is an address that nobody listens on.
func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// The server is dead when the client begins, and alive before the client gives up.
func TestServerThatStartsLateIsFound(t *testing.T) {
	t.Parallel()
	s := start(t, zkserver.Config{})
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	rawURL := "zk://" + s.Addr() + "," + unused(t) + "?ttl=4s"
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := zk.Open(bounded(t), u, nil); err == nil || driver.IsPermanent(err) {
		t.Fatalf("while no server is there, Open returns %v, want a temporary error", err)
	}
	opened := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		late, err := session.Open(ctx, rawURL, &session.Options{Logger: quiet})
		if err == nil {
			if late.TTL() != 4*time.Second {
				t.Errorf("the session's TTL is %v, want the URL's", late.TTL())
			}
			err = late.Close(ctx)
		}
		opened <- err
	}()
	if err := s.Restart(bounded(t)); err != nil {
		t.Fatal(err)
	}
	if err := <-opened; err != nil {
		t.Error(err)
	}
}

// A server accepts connections before it serves, as does one that is stopped.
func TestServerThatSaysNothingIsNamedWithinTheDeadline(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	begun := time.Now()
	_, err = session.Open(ctx, "zk://"+l.Addr().String(), &session.Options{Logger: quiet, TTL: 4 * time.Second})
	if err == nil || !strings.Contains(err.Error(), "ZooKeeper at "+l.Addr().String()) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open returned %v, want an error that names the server", err)
	}
	if d := time.Since(begun); d > patience/2 {
		t.Errorf("Open with a deadline of 500 ms took %v", d)
	}
}
