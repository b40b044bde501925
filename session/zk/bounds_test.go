package zk_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/session/driver"
)

// rebound restarts a server with another line in its zoo.cfg.
func rebound(t *testing.T, s *zkserver.Server, old, line string) {
	t.Helper()
	file := filepath.Join(s.Dir(), "zoo.cfg")
	config, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(config), old+"\n", line+"\n", 1)
	if changed == string(config) {
		t.Fatalf("%s has no line %q", file, old)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(bounded(t)); err != nil {
		t.Fatal(err)
	}
}

// A server puts the timeout of a session that comes to it between its own bounds, and from
// then on the session expires sooner than whoever holds something under it believes.
func TestLeaseIsOverWhereItsSessionIsGrantedLessThanItsTTL(t *testing.T) {
	t.Parallel()
	for what, call := range map[string]func(p *party) error{
		"watch": func(p *party) error { return p.Watch(bounded(p.t), func() {}) },
		"renew": func(p *party) error { return p.Renew(bounded(p.t)) },
		"check": func(p *party) error { return p.Check(bounded(p.t)) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := start(t, zkserver.Config{})
			p := enterAt(t, "zk://"+s.Addr(), nil, nil)
			e := p.join("q").Me
			ended := make(chan error, 1)
			if what == "watch" {
				go func() { ended <- call(p) }()
			}
			rebound(t, s, "maxSessionTimeout=40000", "maxSessionTimeout=10000")
			if what != "watch" {
				eventually(t, func() error { // what was on the old connection fails with that
					err := call(p)
					if err == nil || errors.Is(err, driver.ErrLeaseGone) {
						ended <- err
						return nil
					}
					return err
				})
			}
			if err := <-ended; !errors.Is(err, driver.ErrLeaseGone) {
				t.Fatalf("it returned %v, want ErrLeaseGone", err)
			}
			h := byHand(t, s.Addr(), "")
			if ok, _, err := h.Exists(e.Key); !ok || err != nil {
				t.Errorf("before Revoke the entry is there: %v, %v", ok, err)
			}
			if err := p.Revoke(bounded(t)); err != nil {
				t.Fatal(err)
			}
			if ok, _, err := h.Exists(e.Key); ok || err != nil {
				t.Errorf("after Revoke the entry is there: %v, %v", ok, err)
			}
			l, _, err := p.store.Grant(bounded(t), driver.Spec{TTL: p.TTL()})
			if err != nil {
				t.Fatal(err)
			}
			if l.TTL() >= p.TTL() {
				t.Errorf("the next lease has the TTL %v, as if the server granted it", l.TTL())
			}
			if err := errors.Join(l.Renew(bounded(t)), l.Revoke(bounded(t))); err != nil {
				t.Error(err)
			}
		})
	}
}
