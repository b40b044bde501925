package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	ServeMember() // members are this program
	if err := Enter(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// apart skips a test that needs namespaces where they are not allowed.
func apart(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may have namespaces of its own")
	}
	if !Entered() {
		t.Fatal("root may not have namespaces of its own here")
	}
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// socket opens a socket on a host.
func socket(t *testing.T, h namespace) net.PacketConn {
	t.Helper()
	var conn net.PacketConn
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good, as it does not come back
		if err = unix.Setns(int(h.file.Fd()), unix.CLONE_NEWNET); err == nil {
			conn, err = net.ListenPacket("udp4", net.JoinHostPort(h.addr, "0"))
		}
	}()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// reaches tells whether what one sends arrives at the other, in so many tries. What
// others have sent before may arrive late.
func reaches(t *testing.T, from, to net.PacketConn, tries int) bool {
	t.Helper()
	buf := make([]byte, 16)
	for range tries {
		if _, err := from.WriteTo([]byte("hello"), to.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		if err := to.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		for {
			_, sender, err := to.ReadFrom(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if sender.String() == from.LocalAddr().String() {
				return true
			}
		}
	}
	return false
}

func TestNetworkIsWaitedForUntilTheContextEnds(t *testing.T) {
	apart(t)
	w, err := newNetwork(bounded(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	ctx, cancel := context.WithCancel(bounded(t))
	cancel()
	if _, err := newNetwork(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("beside another: %v, want that the context was canceled", err)
	}
	w.close()
	next, err := newNetwork(bounded(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	next.close()
}

// What could not be made must not be in the way of what is made next.
func TestNetworkThatCouldNotBeMadeLeavesNothing(t *testing.T) {
	apart(t)
	if err := nft("add table bridge faults; add set bridge faults cut { type inet_service; }"); err != nil {
		t.Fatal(err)
	}
	if _, err := newNetwork(bounded(t), 1); err == nil {
		t.Fatal("a network was made though its rules were refused")
	}
	w, err := newNetwork(bounded(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	w.close()
}

func TestCutIsOneWayUntilHealed(t *testing.T) {
	apart(t)
	w, err := newNetwork(bounded(t), 3)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	var hosts []net.PacketConn
	for _, h := range w.hosts {
		hosts = append(hosts, socket(t, h))
	}
	check := func(cut map[[2]int]bool) {
		t.Helper()
		for i, from := range hosts {
			for k, to := range hosts {
				if i == k {
					continue
				}
				tries := 50 // the links have only just come up
				if cut[[2]int{i, k}] {
					tries = 4
				}
				if got := reaches(t, from, to, tries); got == cut[[2]int{i, k}] {
					t.Errorf("host %d reaches host %d: %v", i, k, got)
				}
			}
		}
	}
	check(nil)
	cut := map[[2]int]bool{{0, 1}: true, {2, 0}: true}
	for way := range cut {
		if err := w.Cut(way[0], way[1]); err != nil {
			t.Fatal(err)
		}
	}
	check(cut)
	if dropped, err := w.Heal(bounded(t)); err != nil || dropped != 8 {
		t.Errorf("Heal = %d, %v; want the 8 packets that did not arrive", dropped, err)
	}
	check(nil)
	if dropped, err := w.Heal(bounded(t)); err != nil || dropped != 0 {
		t.Errorf("Heal of a network that is whole = %d, %v", dropped, err)
	}
}
