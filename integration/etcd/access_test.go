package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/integration/internal/server"
	"github.com/fairlead-go/fairlead/internal/cert"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
)

const (
	team     = "/team" // the prefix that the role of teamUser has
	teamUser = "team-user"
	password = "s3cret/with@odd:characters"
)

// A fortress is a server that takes clients with a certificate of its authority
// only, and users with a password.
type fortress struct {
	*server.Server
	authority *cert.Authority
	pair      cert.Pair        // of a client
	root      *clientv3.Client // logged in
}

func startFortress(t *testing.T) *fortress {
	t.Helper()
	dir := t.TempDir()
	authority, err := cert.New(dir, "authority")
	if err != nil {
		t.Fatal(err)
	}
	f := &fortress{authority: authority}
	serverPair, err := authority.Issue("server")
	if err != nil {
		t.Fatal(err)
	}
	if f.pair, err = authority.Issue("client"); err != nil {
		t.Fatal(err)
	}
	f.Server, err = server.Start(server.Options{Dir: t.TempDir(), NoSync: true, Authority: authority, Pair: serverPair})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	f.enableUsers(t)
	f.root = f.dial(t, "root", "root")
	return f
}

// dial makes a client of etcd's own kind.
func (f *fortress) dial(t *testing.T, user, password string) *clientv3.Client {
	t.Helper()
	conf, err := f.authority.ClientConfig(f.pair)
	if err != nil {
		t.Fatal(err)
	}
	c, err := server.Dial(context.Background(), f.Addr(), conf, func(c *clientv3.Config) {
		c.Username, c.Password = user, password
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// enableUsers makes root, and a user with one role that may read and write below
// one prefix and nothing else.
func (f *fortress) enableUsers(t *testing.T) {
	t.Helper()
	c, ctx := f.dial(t, "", ""), bounded(t)
	below := team + "/"
	steps := []func() error{
		func() error { _, err := c.UserAdd(ctx, "root", "root"); return err },
		func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := c.RoleAdd(ctx, "team-role"); return err },
		func() error {
			_, err := c.RoleGrantPermission(ctx, "team-role", below, clientv3.GetPrefixRangeEnd(below), clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
		func() error { _, err := c.UserAdd(ctx, teamUser, password); return err },
		func() error { _, err := c.UserGrantRole(ctx, teamUser, "team-role"); return err },
		func() error { _, err := c.AuthEnable(ctx); return err },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Fatalf("step %d of enabling users: %v", i+1, err)
		}
	}
}

// url is where our user opens its sessions; change edits it.
func (f *fortress) url(change func(u *url.URL, query url.Values)) string {
	u := &url.URL{Scheme: "etcds", Host: f.Addr(), Path: team, User: url.UserPassword(teamUser, password)}
	q := url.Values{"cacert": {f.authority.File}, "cert": {f.pair.Cert}, "key": {f.pair.Key}}
	if change != nil {
		change(u, q)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

func TestOneRoleOnThePrefixSuffices(t *testing.T) {
	t.Parallel()
	f, ctx := startFortress(t), bounded(t)
	openHere := func(identity string) *session.Session {
		s, err := session.Open(ctx, f.url(nil), quiet(identity, 0))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeSession(t, s) })
		return s
	}
	one, two := openHere("one"), openHere("two")
	g := lock(t, one, "jobs/nightly")
	waiter := locking(ctx, two, "jobs/nightly")
	queuedAt(t, f.root, team+"/jobs/nightly", 2)
	if err := one.Check(ctx); err != nil {
		t.Error(err)
	}
	if err := g.Confirm(ctx); err != nil {
		t.Error(err)
	}
	release(t, g)
	release(t, waiter.must(t))

	term, err := election.New(one, "leader").Campaign(ctx, "value")
	if err != nil {
		t.Fatal(err)
	}
	want := election.Leader{Value: "value", Identity: "one", Token: term.Token()}
	if l, err := election.New(two, "leader").Leader(ctx); err != nil || l != want {
		t.Errorf("Leader() = %+v, %v; want %+v", l, err, want)
	}
	if err := term.Resign(ctx); err != nil {
		t.Error(err)
	}
}

// Whoever cannot get in is told why, at once where waiting cannot help, and never
// with the password.
func TestRefusedAtTheDoor(t *testing.T) {
	t.Parallel()
	f := startFortress(t)
	foreign, err := cert.New(t.TempDir(), "foreign-authority")
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := foreign.Issue("stranger")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		url  string
		says string // in lower case
	}{
		{"WrongPassword", f.url(func(u *url.URL, _ url.Values) { u.User = url.UserPassword(teamUser, password+"?") }), "authentication failed"},
		{"UnknownUser", f.url(func(u *url.URL, _ url.Values) { u.User = url.UserPassword("nobody", password) }), "authentication failed"},
		{"NoUser", f.url(func(u *url.URL, _ url.Values) { u.User = nil }), "permission denied"},
		{"OutsideTheRole", f.url(func(u *url.URL, _ url.Values) { u.Path = "/elsewhere" }), "permission denied"},
		{"UnknownAuthority", f.url(func(_ *url.URL, q url.Values) { q.Set("cacert", foreign.File) }), "certificate"},
		{"NoCertificate", f.url(func(_ *url.URL, q url.Values) { q.Del("cert"); q.Del("key") }), "certificate"},
		{"ForeignCertificate", f.url(func(_ *url.URL, q url.Values) { q.Set("cert", stranger.Cert); q.Set("key", stranger.Key) }), "certificate"},
		{"MissingFile", f.url(func(_ *url.URL, q url.Values) { q.Set("cacert", "/nowhere/ca.crt") }), "/nowhere/ca.crt"},
		{"PlainClientAtTLSServer", "etcd://" + teamUser + ":" + url.QueryEscape(password) + "@" + f.Addr() + team, "use etcds://"},
		{"TLSClientAtPlainServer", f.url(func(u *url.URL, _ url.Values) { u.Host = shared.Addr() }), "use etcd://"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			expectRefusal(t, tc.url, patience, true, tc.says)
		})
	}
}

func TestAbsentServerGivesAClearErrorInTime(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := l.Addr().String()
	l.Close()
	expectRefusal(t, fmt.Sprintf("etcd://%s:%s@%s/", teamUser, url.QueryEscape(password), gone), time.Second, false, gone)
}

// A server that accepts connections and never answers.
func TestSilentServerGivesAClearErrorInTime(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	expectRefusal(t, "etcd://"+l.Addr().String(), time.Second, false, l.Addr().String())
}

// expectRefusal opens a session at the URL, which has to fail: at once, or with
// the error of the deadline when that has come.
func expectRefusal(t *testing.T, url string, limit time.Duration, atOnce bool, says string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	start := time.Now()
	s, err := session.Open(ctx, url, quiet("refused", 0))
	took := time.Since(start)
	if err == nil {
		closeSession(t, s)
		t.Fatal("the session was opened")
	}
	if late := took - limit; late > time.Second {
		t.Errorf("Open returned %v after its deadline", late)
	}
	if timedOut := errors.Is(err, context.DeadlineExceeded); timedOut == atOnce {
		t.Errorf("after %v of %v: %v; want an answer at once: %v", took, limit, err, atOnce)
	}
	if !strings.Contains(strings.ToLower(err.Error()), says) {
		t.Errorf("the error does not say %q: %v", says, err)
	}
	for _, form := range []string{password, "s3cret"} {
		if strings.Contains(err.Error(), form) {
			t.Errorf("the error has the password in it: %v", err)
		}
	}
}

// Permission that is taken away while one waits ends the wait with an error that
// says so; it does not try for ever.
func TestLostPermissionEndsTheCall(t *testing.T) {
	t.Parallel()
	f, ctx := startFortress(t), bounded(t)
	s, err := session.Open(ctx, f.url(nil), quiet("ours", time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	release(t, lock(t, s, "jobs/nightly"))
	if _, err := f.root.UserRevokeRole(ctx, teamUser, "team-role"); err != nil {
		t.Fatal(err)
	}
	_, err = mutex.New(s, "jobs/nightly").Lock(ctx)
	if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("Lock without permission: %v, want a permission error at once", err)
	}
	if _, err := f.root.UserGrantRole(ctx, teamUser, "team-role"); err != nil {
		t.Fatal(err)
	}
	closeSession(t, s)
}
