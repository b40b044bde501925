package zk_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

const (
	team     = "team:team-secret"
	stranger = "other:other-secret"
)

// teamURL is that of nodes which are the team's alone, under a root for the test.
func teamURL(t *testing.T) string {
	return "zk://" + team + "@" + server.Addr() + prefix(t) + "?acl=creator"
}

// strangers are those who are not the team.
func strangers(t *testing.T) map[string]hand {
	t.Helper()
	return map[string]hand{
		"nobody":         byHand(t, server.Addr(), ""),
		"another":        byHand(t, server.Addr(), stranger),
		"wrong password": byHand(t, server.Addr(), "team:wrong-secret"),
	}
}

func TestNodesOfACreatorAreTheirUsersAlone(t *testing.T) {
	t.Parallel()
	p := enterAt(t, teamURL(t), nil, nil)
	key := p.join("q").Me.Key
	c := claim("s")
	c.Kind, c.Mode, c.Limit = "semaphore", driver.Permit, 3
	if _, err := p.Join(bounded(t), c); err != nil {
		t.Fatal(err)
	}
	own := byHand(t, server.Addr(), team)
	all, _ := own.tree(prefix(t))
	if len(all) < 7 { // the session, the limit, two entries, and the folders
		t.Fatalf("below %s is only %v", prefix(t), all)
	}
	for who, h := range strangers(t) {
		for _, node := range append(all, prefix(t)) {
			_, _, read := h.Get(node)
			_, _, list := h.Children(node)
			_, write := h.Set(node, nil, -1)
			_, make := h.Create(node+"/x", nil, gozk.FlagEphemeral, world)
			_, change := h.SetACL(node, world, -1)
			for what, err := range map[string]error{"read": read, "list": list, "write": write, "add to": make, "open": change} {
				if !errors.Is(err, gozk.ErrNoAuth) {
					t.Errorf("%s may %s %s: %v", who, what, node, err)
				}
			}
		}
		if err := h.Delete(key, -1); !errors.Is(err, gozk.ErrNoAuth) {
			t.Errorf("%s may delete %s: %v", who, key, err)
		}
	}
	if data, _, err := own.Get(key); err != nil || len(data) == 0 {
		t.Errorf("the user itself reads %q, %v", data, err)
	}
	if err := own.Delete(key, -1); err != nil {
		t.Errorf("the user itself cannot delete: %v", err)
	}
}

func TestRootOfACreatorLetsNoStrangerIn(t *testing.T) {
	t.Parallel()
	p := enterAt(t, teamURL(t), nil, nil)
	holder := p.join("q").Me
	for _, who := range []string{"", stranger + "@", "team:wrong-secret@"} {
		for _, query := range []string{"", "?acl=creator"} {
			if who+query == "?acl=creator" {
				continue // needs a user
			}
			refusedAtOnce(t, "zk://"+who+server.Addr()+prefix(t)+query, "does not allow")
		}
	}
	if q := p.queue("q"); len(q) != 1 || q[0] != holder.Token {
		t.Errorf("the queue is %v, want its holder %d alone", q, holder.Token)
	}
}

// The root and the folders in it are everybody's, the queue is the team's.
func TestQueueOfACreatorRefusesStrangers(t *testing.T) {
	t.Parallel()
	open := enter(t, nil) // makes the root and the folders
	p := enterAt(t, teamURL(t), nil, nil)
	holder := p.join("q").Me
	other := enterAt(t, "zk://"+stranger+"@"+server.Addr()+prefix(t), nil, nil)
	for who, s := range map[string]*party{"nobody": open, "another": other} {
		try := claim("q")
		try.Admit = func(v driver.View) bool { return len(v.Ahead) == 0 }
		shared := claim("q")
		shared.Kind, shared.Mode = "rwmutex", driver.Shared
		for what, err := range map[string]error{
			"Join":             errOf(s.Join(bounded(t), claim("q"))),
			"conditional Join": errOf(s.Join(bounded(t), try)),
			"shared Join":      errOf(s.Join(bounded(t), shared)),
			"Read":             errOf(s.store.Read(bounded(t), "q", 0)),
			"Watch":            s.store.Watch(bounded(t), "q", func(driver.Queue) error { return errors.New("enough") }),
			"Leave":            s.Leave(bounded(t), holder),
		} {
			if what == "Leave" && who != "" && err == nil {
				t.Errorf("%s: Leave of another's entry says that it is gone", who)
			}
			if !driver.IsPermanent(err) || !strings.Contains(err.Error(), "does not allow") || !strings.Contains(err.Error(), "\"q\"") {
				t.Errorf("%s: %s returned %v, want a permanent error that names the queue", who, what, err)
			}
		}
		if err := s.Renew(bounded(t)); err != nil {
			t.Errorf("%s: the session does not go on: %v", who, err)
		}
	}
	if q := p.queue("q"); len(q) != 1 || q[0] != holder.Token {
		t.Errorf("the queue is %v, want its holder %d alone", q, holder.Token)
	}
}

// The same for a queue that was everybody's first, of which the limit is the team's.
func TestLimitThatMayNotBeReadIsNotCalledGarbled(t *testing.T) {
	t.Parallel()
	open := enter(t, nil)
	p := enterAt(t, teamURL(t), nil, nil)
	permit := func(p *party) (driver.Entry, error) {
		c := claim("s")
		c.Kind, c.Mode, c.Limit = "semaphore", driver.Permit, 1
		v, err := p.Join(bounded(t), c)
		return v.Me, err
	}
	first, err := permit(open) // makes the queue
	if err != nil {
		t.Fatal(err)
	}
	open.leave(first) // and takes the limit away
	if _, err := permit(p); err != nil {
		t.Fatal(err)
	}
	_, err = permit(open)
	if !driver.IsPermanent(err) || strings.Contains(err.Error(), "garbled") || !strings.Contains(err.Error(), "does not allow") {
		t.Errorf("behind a limit of another user Join returned %v, want a permanent error about the permission", err)
	}
	if q := p.queue("s"); len(q) != 1 {
		t.Errorf("the queue is %v, want the first permit alone", q)
	}
}

// A server may keep from a client what happens to a node that it may not read
// (since 3.8.4, and here). So whoever waits for one is told that it cannot, or finds
// out in another way; and is let in beside the holder in no case.
func TestEntryThatMayNotBeReadIsNotWaitedForForEver(t *testing.T) {
	t.Parallel()
	open := enter(t, nil)
	p := enterAt(t, teamURL(t), nil, nil)
	open.leave(open.join("q").Me) // makes the queue
	holder := p.join("q").Me
	refused := func(err error) bool {
		if err != nil && (!driver.IsPermanent(err) || !strings.Contains(err.Error(), "does not allow")) {
			t.Fatalf("behind an entry that may not be read: %v, want a permanent error about the permission", err)
		}
		return err != nil
	}
	c := claim("q")
	v, err := open.Join(bounded(t), c)
	if refused(err) {
		if err := open.Withdraw(bounded(t), c); err != nil {
			t.Error(err)
		}
		return
	}
	if len(v.Ahead) != 1 || v.Ahead[0].Token != holder.Token || v.Ahead[0].Value != "" {
		t.Fatalf("%+v is ahead, want the entry of the team's", v.Ahead)
	}
	end := open.wait(v)
	eventually(t, func() error {
		if len(end) == 0 && !slices.Contains(watchedBy(t, open), holder.Key) {
			return errors.New("the wait has not begun")
		}
		return nil
	})
	p.leave(holder)
	select {
	case w := <-end:
		if !refused(w.err) && len(w.view.Ahead) != 0 {
			t.Errorf("after the team has left %+v is ahead", w.view.Ahead)
		}
	case <-time.After(patience / 2):
		t.Error("the team has left, and the next in the queue still waits")
	}
}

func TestUserIsKnownAgainAfterAReconnection(t *testing.T) {
	t.Parallel()
	var link drivertest.Link
	p := enterAt(t, teamURL(t), nil, &link)
	first, second := p.join("q"), p.join("q")
	end := p.wait(second)
	for range 3 {
		link.Cut()
		eventually(t, func() error { return p.Renew(bounded(t)) })
		if _, err := p.Look(bounded(t), first.Me); err != nil {
			t.Fatal(err)
		}
	}
	p.leave(first.Me)
	v := over(t, end)
	e, err := p.Update(bounded(t), v.Me, "value")
	if err != nil {
		t.Fatal(err)
	}
	p.leave(e)
}

// It is no error of Open: the server knows no users, only whose a node is.
func TestWrongPasswordDoesNotOpenWhatTheRightOneHasMade(t *testing.T) {
	t.Parallel()
	p := enterAt(t, teamURL(t), nil, nil)
	p.join("q")
	u := strings.Replace(teamURL(t), "team-secret", "wrong-secret", 1)
	refusedAtOnce(t, u, "zk: not authenticated")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Renew(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Renew with a context that is over returned %v", err)
	}
	if err := p.Renew(bounded(t)); err != nil {
		t.Error(err)
	}
}
