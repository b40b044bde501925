package etcd_test

import (
	"errors"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	etcdembed "go.etcd.io/etcd/server/v3/embed"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/embed"
)

// exhaust writes until the server has no space left.
func exhaust(t *testing.T, c *clientv3.Client) {
	t.Helper()
	filler := strings.Repeat("x", 256<<10)
	for range 200 {
		_, err := c.Put(t.Context(), "filler", filler)
		if errors.Is(err, rpctypes.ErrNoSpace) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the quota has no effect")
}

func TestOutOfSpaceHoldersLeaveAndNewcomersAreTold(t *testing.T) {
	s := start(t, embed.Config{Adjust: func(c *etcdembed.Config) { c.QuotaBackendBytes = 4 << 20 }})
	admin := raw(t, s, "", "")
	p := enterAt(t, s.Endpoint()+prefix(t), nil)
	holder, other := p.join("q").Me, p.join("other").Me
	exhaust(t, admin)

	c := claim("q")
	_, err := p.Join(t.Context(), c)
	if !driver.IsPermanent(err) || !strings.Contains(err.Error(), "space") {
		t.Errorf("Join returned %v, want a permanent error about space", err)
	}
	if _, err := p.Resolve(t.Context(), c); !errors.Is(err, driver.ErrEntryGone) {
		t.Errorf("Resolve of a Join that was answered returned %v, want ErrEntryGone", err)
	}
	// A Join whose reply was lost: it may be in flight, and apply later.
	lost := claim("q")
	if _, err := p.Resolve(t.Context(), lost); err == nil || errors.Is(err, driver.ErrEntryGone) || driver.IsPermanent(err) {
		t.Errorf("Resolve of a Join that was not answered returned %v, want a temporary error", err)
	}
	if q := p.queue("q"); len(q) != 1 || q[0] != holder.Token {
		t.Errorf("the queue is %v, want the holder alone", q)
	}
	if err := p.Renew(t.Context()); err != nil {
		t.Errorf("renew: %v", err)
	}
	p.leave(holder)
	if q := p.queue("q"); len(q) != 0 {
		t.Errorf("the queue is %v, want it empty", q)
	}
	if _, err := p.Update(t.Context(), other, "x"); !driver.IsPermanent(err) {
		t.Errorf("Update returned %v, want a permanent error", err)
	}

	relieve(t, admin)
	if _, err := p.Resolve(t.Context(), lost); !errors.Is(err, driver.ErrEntryGone) {
		t.Errorf("with space again, Resolve returned %v, want ErrEntryGone", err)
	}
	p.leave(p.join("q").Me)
}

// relieve does what an operator does.
func relieve(t *testing.T, c *clientv3.Client) {
	t.Helper()
	resp, err := c.Delete(t.Context(), "filler")
	if err == nil {
		_, err = c.Compact(t.Context(), resp.Header.Revision, clientv3.WithCompactPhysical())
	}
	if err == nil {
		_, err = c.Defragment(t.Context(), c.Endpoints()[0])
	}
	if err == nil {
		_, err = c.AlarmDisarm(t.Context(), &clientv3.AlarmMember{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestValueTooLargeForTheServerIsPermanent(t *testing.T) {
	p := enter(t, nil)
	c := claim("q")
	c.Value = strings.Repeat("x", 3<<20) // the server takes 1.5 MiB, the client sends 2
	if _, err := p.Join(t.Context(), c); !driver.IsPermanent(err) {
		t.Errorf("Join returned %v, want a permanent error", err)
	}
	c.Value = c.Value[:1800<<10]
	if _, err := p.Join(t.Context(), c); !driver.IsPermanent(err) {
		t.Errorf("Join returned %v, want a permanent error", err)
	}
	if _, err := p.Resolve(t.Context(), c); !errors.Is(err, driver.ErrEntryGone) {
		t.Errorf("Resolve returned %v, want ErrEntryGone", err)
	}
}
