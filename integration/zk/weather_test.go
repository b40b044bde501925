package zk_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/session"
)

// What happens to the servers happens to all who use them: so these tests share an
// ensemble, one after the other, beside those on the calm one.
func TestRoughWeather(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		run  func(t *testing.T, s *site)
	}{
		{"WaitersProceedWhenTheLeaderIsKilled", waitersProceedWhenTheLeaderIsKilled},
		{"HolderKeepsItsLockWhenTheLeaderIsKilled", holderKeepsItsLockWhenTheLeaderIsKilled},
		{"FrozenLeaderIsReplacedAndNobodyIsLetInTwice", frozenLeaderIsReplaced},
		{"FollowerFrozenBrieflyDisturbsNobody", followerFrozenBriefly},
		{"WaiterGivesUpAFrozenFollowerForAnother", waiterGivesUpAFrozenFollower},
		{"HoldersWithAFrozenFollowerAloneSeeTheirLossFirst", holdersWithAFrozenFollowerAlone},
		{"RestartOfEveryServerDisturbsNeitherHoldersNorWaiters", restartOfEveryServer},
		{"KilledMajorityEndsTheGrantAndHeals", func(t *testing.T, s *site) { lostMajority(t, s, killing) }},
		{"FrozenMajorityEndsTheGrantAndHeals", func(t *testing.T, s *site) { lostMajority(t, s, freezing) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := at(t, rough)
			t.Cleanup(func() { s.heal(t) })
			c.run(t, s)
		})
	}
}

// heal starts what was killed, lets go on what was frozen, and waits until the
// ensemble is whole. Sessions are closed by then.
func (s *site) heal(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.bringBack(ctx, t, s.Servers()...)
	err := poll(ctx, func() error {
		followers, err := s.Followers(ctx)
		if err == nil && len(followers) != len(s.Servers())-1 {
			err = fmt.Errorf("%d servers follow", len(followers))
		}
		return err
	})
	if err != nil {
		t.Errorf("the ensemble does not become whole again: %v", err)
	}
	if t.Failed() {
		for _, server := range s.Servers() {
			t.Logf("log of %s:\n%s", server.Addr(), server.Log())
		}
	}
}

// bringBack lets servers go on that were frozen, and starts those that were
// killed, all at once as it takes a majority for one to serve.
func (s *site) bringBack(ctx context.Context, t *testing.T, servers ...*zkserver.Server) {
	t.Helper()
	var wg sync.WaitGroup
	for _, server := range servers {
		if server.Cont() == nil { // it runs
			continue
		}
		wg.Go(func() {
			if err := server.Restart(ctx); err != nil {
				t.Errorf("bring a server back: %v", err)
			}
		})
	}
	wg.Wait()
}

// leader returns the server that leads and those that follow.
func (s *site) leader(t *testing.T) (leader *zkserver.Server, followers []*zkserver.Server) {
	t.Helper()
	ctx := bounded(t)
	leader, err := s.Leader(ctx)
	if err == nil {
		followers, err = s.Followers(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	return leader, followers
}

// do does something to servers.
func do(t *testing.T, what func(*zkserver.Server) error, servers ...*zkserver.Server) {
	t.Helper()
	for _, server := range servers {
		if err := what(server); err != nil {
			t.Fatal(err)
		}
	}
}

var (
	killing  = (*zkserver.Server).Kill
	freezing = (*zkserver.Server).Stop
	thawing  = (*zkserver.Server).Cont
)

// openOn is open, where the session is connected to that server.
func (s *site) openOn(t *testing.T, server *zkserver.Server, identity string, ttl time.Duration) *session.Session {
	t.Helper()
	const attempts = 100 // each succeeds in one of three cases
	for range attempts {
		o, err := session.Open(bounded(t), s.url(s.ConnectString()), options(identity, ttl))
		if err != nil {
			t.Fatal(err)
		}
		if s.connected(t, server, identity) {
			t.Cleanup(func() { closeSession(t, o) })
			return o
		}
		closeSession(t, o)
	}
	t.Fatalf("of %d sessions none is connected to %s", attempts, server.Addr())
	return nil
}

// connected tells whether the session of that identity is connected to a server.
func (s *site) connected(t *testing.T, server *zkserver.Server, identity string) bool {
	t.Helper()
	var lease string
	eventually(t, func() (err error) {
		lease, err = s.leaseOf(identity)
		return err
	})
	connections, err := server.Command(bounded(t), "cons")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(connections, "sid=0x"+lease+",")
}
