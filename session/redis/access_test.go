package redis_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/redis"
)

// elsewhere are the rules that one server alone has no use for: integration/redis needs
// them for sentinels and for a cluster.
var elsewhere = []string{"+asking", "+cluster|shards", "+role"}

// courtesies are those whose refusal nobody minds, unless, for the last, in a cluster.
var courtesies = []string{"+ping", "+cluster|slots"}

// A user without one of the rules cannot do all that a user with all of them can: none is
// there in vain. Without some of them the server only logs that it refuses.
func TestRulesAreTheLeastThatWork(t *testing.T) {
	t.Parallel()
	r, err := redisserver.StartReplicated(redisserver.Config{Users: []string{rules(redis.DefaultNamespace)}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	s := r.Servers()[0]
	use := func(name, without string) error {
		allowed := slices.DeleteFunc(strings.Fields(redis.Rules(name)), func(rule string) bool { return rule == without })
		do(t, s, append([]string{"ACL", "SETUSER", name, "on", ">" + password}, allowed...)...)
		warm(t, s, name)
		return everything(t, s, name)
	}
	if err := use("all", ""); err != nil {
		t.Fatalf("with all rules: %v", err)
	}
	if log := denials(t, s, "all"); log != "" {
		t.Errorf("with all rules the server has refused: %s", log)
	}
	for i, rule := range strings.Fields(redis.Rules("")) {
		name := fmt.Sprintf("without-%d", i)
		if !strings.HasPrefix(rule, "+") {
			continue
		}
		err := use(name, rule)
		switch {
		case slices.Contains(elsewhere, rule) && (err != nil || denials(t, s, name) != ""):
			t.Errorf("one server alone does not do without %s: %v", rule, err)
		case slices.Contains(courtesies, rule):
			mustBeDenied(t, s, name, rule)
		case !slices.Contains(elsewhere, rule) && err == nil:
			t.Errorf("everything works without %s", rule)
		}
	}
}

// denials is what the server has refused a user.
func denials(t *testing.T, s *redisserver.Server, name string) string {
	t.Helper()
	for _, entry := range do(t, s, "ACL", "LOG", "128").([]any) {
		if text := fmt.Sprint(entry); strings.Contains(text, " username "+name+" ") {
			return text
		}
	}
	return ""
}

// mustBeDenied waits until a user without a rule, who has a store open, has been refused something: a
// ping is sent only where nothing else was for a while.
func mustBeDenied(t *testing.T, s *redisserver.Server, name, rule string) {
	t.Helper()
	st, err := openStore(t, fmt.Sprintf("redis://%s@%s?namespace=%[3]s", url.UserPassword(name, password), s.Addr(), name))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	eventually(t, func() error {
		if denials(t, s, name) == "" {
			return fmt.Errorf("nobody asks for %s", rule)
		}
		return nil
	})
}

// Keys and channels are those of the namespace, and no others.
func TestRulesOfOneNamespaceOpenNoOther(t *testing.T) {
	t.Parallel()
	for _, other := range []string{"another", "fairlead2", "fair"} {
		st, err := openStore(t, serverURL(server, "?namespace="+other))
		if err == nil {
			st.Close()
		}
		mustBeRefused(t, err, "NOPERM")
	}
}

func TestWrongCredentialsAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t, redisserver.Config{Users: []string{
		rules(redis.DefaultNamespace),
		"off off >secret ~* &* +@all",
		"nothing on >secret",
		"reader on >secret ~* &* +@read +@connection",
		"silent on >secret ~* resetchannels +@all",
	}})
	for what, c := range map[string]struct{ user, want string }{
		"wrong password":     {user + ":wrong-secret@", "WRONGPASS"},
		"unknown user":       {"nobody:secret@", "WRONGPASS"},
		"a user that is off": {"off:secret@", "WRONGPASS"},
		"bare password":      {":secret@", "WRONGPASS"},
		"no user":            {"", "NOAUTH"},
		"no rights":          {"nothing:secret@", "NOPERM"},
		"only to read":       {"reader:secret@", "NOPERM"},
		"no channels":        {"silent:secret@", "NOPERM"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			refusedAtOnce(t, "redis://"+c.user+s.Addr(), c.want)
		})
	}
}

// refusedAtOnce opens a URL, which has to fail for good.
func refusedAtOnce(t *testing.T, rawURL, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), atOnce)
	defer cancel()
	s, err := session.Open(ctx, rawURL, &session.Options{Logger: quiet})
	if err == nil {
		_ = s.Close(ctx)
		t.Fatal("a session was opened")
	}
	mustBeRefused(t, err, want)
	if ctx.Err() != nil {
		t.Errorf("%v came as late as %v", err, atOnce)
	}
}

// atOnce is less than the time after which an answer is given up.
const atOnce = 4 * time.Second

// mustBeRefused checks an error that is permanent and tells why, and no password.
func mustBeRefused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !driver.IsPermanent(err) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v, want a permanent error with %q in it", err, want)
	}
	if want == "NOPERM" && !strings.Contains(fmt.Sprint(err), "documentation of package redis") {
		t.Errorf("%v does not say where it is written what a user needs", err)
	}
}

// What a user is forbidden while its session lives ends what needs it, and at once.
func TestUserThatIsForbiddenToJoinIsToldSo(t *testing.T) {
	t.Parallel()
	s := startWarm(t, redisserver.Config{})
	o := open(t, serverURL(s, ""), "party", longTTL)
	g := lock(t, o, "q")
	do(t, s, "ACL", "SETUSER", user, "-zadd")
	ctx := bounded(t)
	_, err := mutex.New(o, "other").Lock(ctx)
	mustBeRefused(t, err, "documentation of package redis")
	if err := g.Confirm(ctx); err != nil {
		t.Errorf("what is held needs no right to join: %v", err)
	}
	do(t, s, "ACL", "SETUSER", user, "+zadd")
	lock(t, o, "other")
}

// everything has a user do what there is to do, in a namespace of the same name.
func everything(t *testing.T, s *redisserver.Server, name string) (err error) {
	t.Helper()
	do(t, s, "SCRIPT", "FLUSH")
	base := fmt.Sprintf("redis://%s@%s", url.UserPassword(name, password), s.Addr())
	st, err := openStore(t, base+"?namespace="+name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	u := &usage{ctx: ctx, t: t, s: s, st: st, prefix: "{" + name + "}:"}
	for _, step := range []func() error{u.begin, u.queue, u.watch, u.permits, u.claims, u.sweep, u.end} {
		if err := step(); err != nil {
			return err
		}
	}
	for _, other := range []string{"/1?namespace=", "?wait=1&namespace="} {
		if err := u.other(base + other + name); err != nil {
			return err
		}
	}
	return nil
}

func openStore(t *testing.T, rawURL string) (driver.Store, error) {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	return redis.Open(bounded(t), u, &session.Options{Logger: quiet, TTL: 2 * time.Second})
}

// short is how long a user gets for what nobody tells when it is done.
const short = 3 * time.Second

// A usage is what a user does.
type usage struct {
	ctx    context.Context
	t      *testing.T
	s      *redisserver.Server
	st     driver.Store
	prefix string
	a, b   driver.Lease
}

func (u *usage) grant() (driver.Lease, error) {
	l, _, err := u.st.Grant(u.ctx, driver.Spec{TTL: longTTL})
	return l, err
}

func (u *usage) begin() (err error) {
	if u.a, err = u.grant(); err != nil {
		return err
	}
	if u.b, err = u.grant(); err != nil {
		return err
	}
	return errors.Join(u.a.Renew(u.ctx), u.b.Check(u.ctx))
}

func (u *usage) queue() error {
	first, err := u.a.Join(u.ctx, claim("q"))
	if err != nil {
		return err
	}
	second, err := u.b.Join(u.ctx, claim("q"))
	if err != nil {
		return err
	}
	try := claim("q")
	try.Admit = func(v driver.View) bool { return len(v.Ahead) == 0 }
	if _, err := u.b.Join(u.ctx, try); !errors.Is(err, driver.ErrRefused) {
		return fmt.Errorf("try-lock behind others: %w", err)
	}
	if first.Me, err = u.a.Update(u.ctx, first.Me, "value"); err != nil {
		return err
	}
	if second, err = u.b.Look(u.ctx, second.Me); err != nil {
		return err
	}
	if queues, err := u.st.List(u.ctx, "q"); err != nil || len(queues) != 1 {
		return fmt.Errorf("list %v: %w", queues, err)
	}
	if entries, err := u.a.Entries(u.ctx); err != nil || len(entries) != 1 {
		return fmt.Errorf("entries %v: %w", entries, err)
	}
	// Less than what it takes until it looks by itself.
	ctx, cancel := context.WithTimeout(u.ctx, longTTL/6)
	defer cancel()
	end := make(chan error, 1)
	go func() {
		_, err := u.b.Wait(ctx, second, driver.Obstacles{Entries: second.Ahead})
		end <- err
	}()
	if err := u.a.Leave(u.ctx, first.Me); err != nil {
		cancel()
		<-end
		return err
	}
	return errors.Join(<-end, u.b.Leave(u.ctx, second.Me))
}

var errSeen = errors.New("seen")

func (u *usage) watch() error {
	seen := 0
	err := u.st.Watch(u.ctx, "watched", func(driver.Queue) error {
		if seen++; seen == 2 {
			return errSeen
		}
		go func() { _, _ = u.a.Join(u.ctx, claim("watched")) }()
		return nil
	})
	if errors.Is(err, errSeen) {
		return nil
	}
	return err
}

func (u *usage) permits() error {
	v, err := u.a.Join(u.ctx, permit("s", 2))
	if err != nil {
		return err
	}
	w, err := u.b.Join(u.ctx, permit("s", 2))
	if err != nil {
		return err
	}
	end := make(chan error, 1)
	go func() {
		_, err := u.b.Wait(u.ctx, w, driver.Obstacles{Entries: w.Ahead, Limit: true})
		end <- err
	}()
	to := w.Limit
	to.N = 3
	err = errors.Join(u.st.SetLimit(u.ctx, "s", w.Limit, to), <-end)
	_, conflict := u.a.Join(u.ctx, permit("s", 2))
	if _, ok := errors.AsType[*driver.LimitError](conflict); !ok {
		err = errors.Join(err, conflict)
	}
	return errors.Join(err, u.a.Leave(u.ctx, v.Me))
}

func (u *usage) claims() error {
	if _, err := u.a.Resolve(u.ctx, claim("c")); !errors.Is(err, driver.ErrEntryGone) {
		return err
	}
	return u.a.Withdraw(u.ctx, claim("c"))
}

// sweep leaves an entry of a dead session, which the next one is to take away.
func (u *usage) sweep() error {
	dead, err := u.grant()
	if err != nil {
		return err
	}
	if _, err := dead.Join(u.ctx, claim("left")); err != nil {
		return err
	}
	do(u.t, u.s, "DEL", u.prefix+"s:"+dead.ID())
	if _, err := u.grant(); err != nil {
		return err
	}
	for begun := time.Now(); time.Since(begun) < short; time.Sleep(10 * time.Millisecond) {
		if do(u.t, u.s, "EXISTS", u.prefix+"q:left") == int64(0) {
			return nil
		}
	}
	return errors.New("the queue of a dead session stays")
}

func (u *usage) end() error { return errors.Join(u.a.Revoke(u.ctx), u.b.Revoke(u.ctx)) }

// other begins a session with another URL.
func (u *usage) other(rawURL string) error {
	st, err := openStore(u.t, rawURL)
	if err != nil {
		return err
	}
	defer st.Close()
	_, _, err = st.Grant(u.ctx, driver.Spec{TTL: longTTL})
	return err
}
