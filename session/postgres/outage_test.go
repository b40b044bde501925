package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/fairlead-go/fairlead/internal/pgserver"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/postgres"
)

// ownServer is one that the test may harm.
func ownServer(t *testing.T, c pgserver.Config) *pgserver.Server {
	t.Helper()
	s, err := pgserver.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// contend has sessions hand a lock on until stop is closed, and returns how many turns
// there were so far. Losses are allowed, overlaps are not.
func contend(t *testing.T, sessions []*session.Session, stop <-chan struct{}) (visits func() int, wait func()) {
	t.Helper()
	sc := &scene{t: t}
	ctx, cancel := context.WithTimeout(context.Background(), 5*patience)
	var wg sync.WaitGroup
	for _, s := range sessions {
		for range 2 {
			wg.Go(func() {
				m := mutex.New(s, "q")
				for {
					select {
					case <-stop:
						return
					default:
					}
					g, err := m.Lock(ctx)
					if err != nil {
						t.Errorf("%v", err)
						return
					}
					sc.enter(g)
					sc.exit(g)
					release, cancel := context.WithTimeout(ctx, time.Second)
					if err := g.Release(release); err != nil && !errors.Is(err, session.ErrLost) && release.Err() == nil {
						t.Errorf("%v", err)
					}
					cancel()
				}
			})
		}
	}
	visits = func() int {
		sc.mu.Lock()
		defer sc.mu.Unlock()
		return sc.visits
	}
	return visits, func() { wg.Wait(); cancel() }
}

// moveOn waits until there were some more turns.
func moveOn(t *testing.T, visits func() int) {
	t.Helper()
	before := visits()
	eventually(t, func() error {
		if n := visits(); n < before+20 {
			return errors.New("the queue does not move on")
		}
		return nil
	})
}

// A server that is restarted, and one that crashes, in the middle of it all.
func TestQueueOutlivesRestartsOfTheServer(t *testing.T) {
	t.Parallel()
	for name, outage := range map[string]func(s *pgserver.Server) error{
		"shutdown":           func(s *pgserver.Server) error { return s.Shutdown(pgserver.Fast) },
		"immediate shutdown": func(s *pgserver.Server) error { return s.Shutdown(pgserver.Immediate) },
		"kill":               func(s *pgserver.Server) error { return s.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := ownServer(t, pgserver.Config{}) // with fsync
			var sessions []*session.Session
			for range 3 {
				sessions = append(sessions, open(t, s.AdminURL("postgres")))
			}
			stop := make(chan struct{})
			visits, wait := contend(t, sessions, stop)
			for range 3 {
				moveOn(t, visits)
				if err := outage(s); err != nil {
					t.Error(err)
				}
				if err := s.Restart(); err != nil {
					t.Fatal(err)
				}
			}
			moveOn(t, visits)
			close(stop)
			wait()
			// Nobody had lost its lease: an outage was shorter than the TTL.
			for _, ses := range sessions {
				if err := ses.Check(bounded(t)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// Leaving is not committed durably. What a crash brings back is removed by its owner as
// soon as it has connected again.
func TestEntriesThatACrashBroughtBackAreRemoved(t *testing.T) {
	t.Parallel()
	s := ownServer(t, pgserver.Config{Settings: map[string]string{"wal_writer_delay": "10s", "wal_writer_flush_after": "0"}})
	a, b := enter(t, s.AdminURL("postgres"), long, nil), enter(t, s.AdminURL("postgres"), long, nil)
	held := a.join("q")
	v := b.join("q")
	stays := a.join("stays")
	a.leave(held.Me)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if q := again(t, s, "SELECT count(*) FROM fairlead.entry WHERE queue = 'q'"); q != 2 {
		t.Logf("the crash has brought nothing back: %d entries", q)
	}
	ends(t, b.waiting(v), patience) // it may have heard of the turn before the crash
	eventually(t, func() error {
		if q := b.queue("q"); len(q) != 1 || q[0] != v.Me.Token {
			return fmt.Errorf("the queue is %v, want %d alone", q, v.Me.Token)
		}
		return nil
	})
	if _, err := a.Look(bounded(t), stays.Me); err != nil {
		t.Errorf("an entry that nobody has left: %v", err)
	}
}

// A crash of the server may bring back an entry that was broken, but not without the mark
// for its owner: nobody else would tell it to leave.
func TestMarkOfAnEntryThatWasBrokenSurvivesACrash(t *testing.T) {
	t.Parallel()
	s := ownServer(t, pgserver.Config{Settings: map[string]string{"wal_writer_delay": "10s", "wal_writer_flush_after": "0"}})
	a, b := enter(t, s.AdminURL("postgres"), long, nil), enter(t, s.AdminURL("postgres"), long, nil)
	for _, force := range []bool{true, false} {
		held := a.join("q").Me
		b.join("q")
		if err := b.store.Break(bounded(t), held, driver.Mark{ID: held.ID, By: "ops"}, force); err != nil {
			t.Fatal(err)
		}
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		var marks []driver.Mark
		eventually(t, func() (err error) {
			marks, err = a.Marks(bounded(t))
			return err
		})
		_, err := a.Look(bounded(t), held)
		marked := slices.ContainsFunc(marks, func(m driver.Mark) bool { return m.ID == held.ID })
		if !marked && !errors.Is(err, driver.ErrEntryGone) {
			t.Errorf("broken with force %t, the entry is there without a mark (%v)", force, err)
		}
	}
}

// again asks a server for a number.
func again(t *testing.T, s *pgserver.Server, sql string) (n int) {
	t.Helper()
	if err := admin(t, s).QueryRow(bounded(t), sql).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// What was acknowledged is there after a crash, whatever the defaults of the server.
func TestWhatLetsSomebodyInSurvivesACrash(t *testing.T) {
	t.Parallel()
	s := ownServer(t, pgserver.Config{Settings: map[string]string{
		"synchronous_commit": "off", "wal_writer_delay": "10s", "wal_writer_flush_after": "0",
	}})
	a := enter(t, s.AdminURL("postgres"), long, nil)
	v := a.join("q")
	e, err := a.Update(bounded(t), v.Me, "new")
	if err != nil {
		t.Fatal(err)
	}
	gone := claim("q")
	if _, err := a.Resolve(bounded(t), gone); !errors.Is(err, driver.ErrEntryGone) {
		t.Fatal(err)
	}
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { return a.Renew(bounded(t)) })
	now, err := a.Look(bounded(t), v.Me)
	if err != nil || now.Me.Value != "new" || now.Me.Version != e.Version {
		t.Errorf("after the crash the entry is %+v, %v", now.Me, err)
	}
	if _, err := a.Join(bounded(t), gone); err == nil {
		t.Error("a claim that was settled was made all the same")
	}
	if next := a.join("q2"); next.Me.Token <= e.Version {
		t.Errorf("token %d follows version %d", next.Me.Token, e.Version)
	}
}

// A primary that was demoted, or a standby, is no place to talk to.
func TestReadOnlyServerIsPassedOver(t *testing.T) {
	t.Parallel()
	primary := ownServer(t, pgserver.Config{NoSync: true})
	standby, err := pgserver.StartReplica(primary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Close)

	u, err := url.Parse(standby.AdminURL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err = postgres.Open(ctx, u, nil)
	if err == nil || driver.IsPermanent(err) || !strings.Contains(err.Error(), "read only") || !strings.Contains(err.Error(), standby.Addr()) {
		t.Errorf("Open of a standby returned %v", err)
	}

	both := strings.Replace(standby.AdminURL("postgres"), standby.Addr(), standby.Addr()+","+primary.Addr(), 1)
	pool, err := pgxpool.New(bounded(t), both+"&target_session_attrs=read-write")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	pooled, err := postgres.NewSession(bounded(t), pool, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pooled.Close(bounded(t)) }()
	sessions := []*session.Session{open(t, both), open(t, both), pooled}
	stop := make(chan struct{})
	visits, wait := contend(t, sessions, stop)
	moveOn(t, visits)

	// Demoted: from one moment on it takes no writes, and its connections stay.
	if err := primary.Exec(bounded(t), "postgres", "ALTER SYSTEM SET default_transaction_read_only = on"); err != nil {
		t.Fatal(err)
	}
	if err := primary.Exec(bounded(t), "postgres", "SELECT pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
	// What is on its way reaches the standby, which the server does not wait for.
	from, to := admin(t, primary), admin(t, standby)
	eventually(t, func() error {
		var before, after string
		var there bool
		err := from.QueryRow(bounded(t), "SELECT pg_current_wal_lsn()::text").Scan(&before)
		if err == nil {
			err = to.QueryRow(bounded(t), "SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", before).Scan(&there)
		}
		if err == nil {
			err = from.QueryRow(bounded(t), "SELECT pg_current_wal_lsn()::text").Scan(&after)
		}
		if err == nil && (!there || before != after) {
			err = errors.New("the standby has not caught up")
		}
		return err
	})
	if err := standby.Promote(bounded(t)); err != nil {
		t.Fatal(err)
	}
	moveOn(t, visits)
	lock, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, s := range sessions { // each of them has found its way
		if g, err := mutex.New(s, "another").Lock(lock); err != nil {
			t.Error(err)
		} else if err := g.Release(lock); err != nil {
			t.Error(err)
		}
	}
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	moveOn(t, visits)
	close(stop)
	wait()
}

// What a standby does not know may be there all the same: a program's own pool may reach one.
func TestNothingIsKnownFromAStandby(t *testing.T) {
	t.Parallel()
	primary := ownServer(t, pgserver.Config{NoSync: true})
	standby, err := pgserver.StartReplica(primary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(standby.Close)
	if err := postgres.Migrate(bounded(t), primary.AdminURL("postgres")); err != nil {
		t.Fatal(err)
	}
	behind := admin(t, standby)
	eventually(t, func() error {
		_, err := behind.Exec(bounded(t), "SELECT fairlead.schema_layout()")
		return err
	})
	if _, err := behind.Exec(bounded(t), "SELECT pg_wal_replay_pause()"); err != nil {
		t.Fatal(err)
	}

	cfg, err := pgxpool.ParseConfig(primary.AdminURL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	var astray atomic.Bool
	cfg.BeforeConnect = func(_ context.Context, cc *pgx.ConnConfig) error {
		if astray.Load() {
			cc.Host, cc.Port = behind.Config().Host, behind.Config().Port
		}
		return nil
	}
	pool, err := pgxpool.NewWithConfig(bounded(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	s, err := postgres.NewSession(bounded(t), pool, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(bounded(t)) }()
	p := &party{store: s.Store(), t: t}
	if p.Lease, _, err = p.store.Grant(bounded(t), driver.Spec{TTL: long}); err != nil {
		t.Fatal(err)
	}
	v := p.join("q")
	for _, to := range []bool{true, false} {
		astray.Store(to)
		pool.Reset()
		if !to { // what went there before may be on its way back
			eventually(t, func() error { return p.Check(bounded(t)) })
		}
		_, look := p.Look(bounded(t), v.Me)
		if check := p.Check(bounded(t)); errors.Is(check, driver.ErrLeaseGone) || (check == nil) == to {
			t.Errorf("on a standby: %t; Check returned %v", to, check)
		}
		if errors.Is(look, driver.ErrEntryGone) || errors.Is(look, driver.ErrLeaseGone) || (look == nil) == to {
			t.Errorf("on a standby: %t; Look returned %v", to, look)
		}
	}
}

// A server that does not answer keeps nobody for longer than the context.
func TestFrozenServerKeepsNobody(t *testing.T) {
	t.Parallel()
	s := ownServer(t, pgserver.Config{NoSync: true})
	p := enter(t, s.AdminURL("postgres"), patience, &drivertest.Link{})
	held := p.join("q")
	if err := s.Stop(); errors.Is(err, errors.ErrUnsupported) {
		t.Skip("processes cannot be stopped here")
	} else if err != nil {
		t.Fatal(err)
	}
	for what, call := range map[string]func(ctx context.Context) error{
		"Join":  func(ctx context.Context) error { _, err := p.Join(ctx, claim("q")); return err },
		"Look":  func(ctx context.Context) error { _, err := p.Look(ctx, held.Me); return err },
		"Renew": p.Renew,
		"Leave": func(ctx context.Context) error { return p.Leave(ctx, held.Me) },
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		begun := time.Now()
		if err := call(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s returned %v", what, err)
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("%s took %v", what, took)
		}
		cancel()
	}
	begun := time.Now()
	other, err := dial(s.AdminURL("postgres"), nil, nil)
	if err == nil {
		_ = other.Close()
		t.Error("a frozen server was connected to")
	} else if driver.IsPermanent(err) {
		t.Errorf("Open of a frozen server returned the permanent error %v", err)
	}
	t.Logf("connecting was given up after %v: %v", time.Since(begun).Round(time.Millisecond), err)
	if err := s.Cont(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { return p.Leave(bounded(t), held.Me) })
}
