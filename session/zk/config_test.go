package zk_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/zk"
)

func TestSessionTakesWhatAURLCannotSay(t *testing.T) {
	t.Parallel()
	var dialed atomic.Int32
	digest := gozk.DigestACL(gozk.PermAll, "team", "team-secret")
	s, err := zk.NewSession(bounded(t), zk.Config{
		Servers: []string{server.Addr()},
		Chroot:  prefix(t) + "/",
		Auth:    []zk.Auth{{Scheme: "digest", Data: []byte(stranger)}, {Scheme: "digest", Data: []byte(team)}},
		ACL:     digest,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialed.Add(1)
			return new(net.Dialer).DialContext(ctx, network, addr)
		},
	}, &session.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	g, err := mutex.New(s, "m").Lock(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(g.Key(), prefix(t)+"/m/") {
		t.Errorf("the entry is %s, want it below %s", g.Key(), prefix(t))
	}
	own := byHand(t, server.Addr(), team)
	acl, _, err := own.GetACL(g.Key())
	if err != nil || len(acl) != 1 || acl[0] != digest[0] {
		t.Errorf("the entry's ACL is %v, %v, want %v", acl, err, digest)
	}
	if err := s.Close(bounded(t)); err != nil {
		t.Error(err)
	}
	if dialed.Load() == 0 {
		t.Error("the dialer was not asked")
	}
}

func TestConfigThatCannotWorkIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	at := []string{server.Addr()}
	for what, c := range map[string]struct {
		cfg  zk.Config
		want string
	}{
		"no server":       {zk.Config{}, "no server"},
		"relative path":   {zk.Config{Servers: at, Chroot: "team"}, "team"},
		"empty part":      {zk.Config{Servers: at, Chroot: "/a//b"}, `part ""`},
		"unknown scheme":  {zk.Config{Servers: at, Chroot: prefix(t), Auth: []zk.Auth{{Scheme: "nonsense"}}}, "auth"},
		"ACL for nobody":  {zk.Config{Servers: at, Chroot: prefix(t), ACL: gozk.AuthACL(gozk.PermAll)}, "ACL"},
		"ACL of no one's": {zk.Config{Servers: at, Chroot: prefix(t), ACL: []gozk.ACL{}}, "ACL"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience/4)
		s, err := zk.NewSession(ctx, c.cfg, &session.Options{Logger: quiet})
		if err == nil {
			t.Errorf("%s: a session was opened", what)
			_ = s.Close(ctx)
		} else if !driver.IsPermanent(err) || !strings.Contains(err.Error(), c.want) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: NewSession returned %v, want a permanent error with %q in it", what, err, c.want)
		}
		cancel()
	}
}
