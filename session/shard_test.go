package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
	"github.com/fairlead-go/fairlead/watch"
)

// named returns shards of which only the names of the clusters count.
func named(clusters ...string) *session.Shards {
	m := map[string]*session.Session{}
	for _, c := range clusters {
		m[c] = &session.Session{}
	}
	return session.Shard(m)
}

// Two releases that place a name differently let two hold it: these never change. They
// come from another implementation of the algorithm, in Python.
func TestNamesStayWhereTheyAreFromReleaseToRelease(t *testing.T) {
	three, four := named("eu-1", "eu-2", "eu-3"), named("eu-4", "eu-3", "eu-2", "eu-1")
	for _, c := range []struct{ name, ofThree, ofFour string }{
		{"billing/nightly", "eu-3", "eu-4"},
		{"deploy", "eu-2", "eu-2"},
		{"orders/1", "eu-3", "eu-3"},
		{"orders/2", "eu-2", "eu-2"},
		{"orders/3", "eu-2", "eu-4"},
		{"orders/4", "eu-3", "eu-4"},
		{"orders/5", "eu-2", "eu-2"},
		{"orders/6", "eu-1", "eu-1"},
		{"orders/7", "eu-1", "eu-1"},
		{"orders/8", "eu-2", "eu-2"},
		{"Straße/ü", "eu-3", "eu-3"},
		{"long/" + strings.Repeat("0123456789", 30), "eu-3", "eu-3"},
	} {
		if got := three.Cluster(c.name); got != c.ofThree {
			t.Errorf("of three clusters, %q lives on %s, want %s", c.name, got, c.ofThree)
		}
		if got := four.Cluster(c.name); got != c.ofFour {
			t.Errorf("of four clusters, %q lives on %s, want %s", c.name, got, c.ofFour)
		}
	}
}

func TestNamesSpreadEvenlyAndMoveLittle(t *testing.T) {
	const names = 100_000
	three, four, two := named("eu-1", "eu-2", "eu-3"), named("eu-1", "eu-2", "eu-3", "eu-4"), named("eu-1", "eu-3")
	each, moved := map[string]int{}, 0
	for i := range names {
		name := fmt.Sprintf("orders/%d", i)
		was := three.Cluster(name)
		each[was]++
		switch now := four.Cluster(name); now {
		case was:
		case "eu-4":
			moved++
		default:
			t.Fatalf("a fourth cluster moves %q from %s to %s", name, was, now)
		}
		if now := two.Cluster(name); now != was && was != "eu-2" {
			t.Fatalf("without eu-2, %q moves from %s to %s", name, was, now)
		}
	}
	within := func(what string, n, want int) {
		if n < want*97/100 || n > want*103/100 {
			t.Errorf("%s: %d names, want %d, give or take 3 %%", what, n, want)
		}
	}
	for _, c := range []string{"eu-1", "eu-2", "eu-3"} {
		within(c, each[c], names/3)
	}
	within("moved by a fourth", moved, names/4)
}

func TestShardRefusesWhatNamesNoCluster(t *testing.T) {
	for what, m := range map[string]map[string]*session.Session{
		"one session at least": nil,
		"is nil":               {"eu-1": nil},
		"is empty":             {"": {}},
		"control character":    {"eu\x00": {}},
	} {
		func() {
			defer func() {
				if e := fmt.Sprint(recover()); !strings.HasPrefix(e, "session: ") || !strings.Contains(e, what) {
					t.Errorf("Shard(%v) panics with %q, want %q", m, e, what)
				}
			}()
			session.Shard(m)
		}()
	}
}

// fleet is some processes, each with a session on each of three clusters.
func fleet(t *testing.T, processes int) (stores map[string]*memory.Store, fleet []*session.Shards) {
	t.Helper()
	stores = map[string]*memory.Store{"eu-1": memory.NewStore(), "eu-2": memory.NewStore(), "eu-3": memory.NewStore()}
	for range processes {
		sessions := map[string]*session.Session{}
		for cluster, st := range stores {
			s, err := st.Session(patient(t), &session.Options{TTL: 10 * time.Second, Identity: cluster})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close(context.Background()) })
			sessions[cluster] = s
		}
		fleet = append(fleet, session.Shard(sessions))
	}
	return stores, fleet
}

// Whoever holds a name of shards excludes all that ask for it in another process, and
// stands on one cluster.
func TestShardsExclude(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := patient(t)
		_, processes := fleet(t, 2)
		for i := range 30 {
			name := fmt.Sprintf("orders/%d", i)
			g, err := mutex.New(processes[0].For(name), name).Lock(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := processes[0].For(name).Identity(), processes[0].Cluster(name); got != want {
				t.Errorf("the session for %q is that of %s, want %s", name, got, want)
			}
			if _, err := mutex.New(processes[1].For(name), name).TryLock(ctx); !errors.Is(err, session.ErrHeld) {
				t.Fatalf("a second process locks %q: %v", name, err)
			}
			for _, cluster := range []string{"eu-1", "eu-2", "eu-3"} {
				want := 0
				if cluster == processes[1].Cluster(name) {
					want = 1
				}
				if n := holders(t, processes[1], cluster, name); n != want {
					t.Errorf("%q has %d holders on %s, want %d", name, n, cluster, want)
				}
			}
			if err := g.Release(ctx); err != nil {
				t.Fatal(err)
			}
			next, err := mutex.New(processes[1].For(name), name).TryLock(ctx)
			if err != nil {
				t.Fatalf("after the release: %v", err)
			}
			_ = next.Release(ctx)
		}
	})
}

// holders counts those of a name on a cluster, whether it lives there or not.
func holders(t *testing.T, s *session.Shards, cluster, name string) int {
	t.Helper()
	for i := 0; ; i++ { // some name that lives there has the session
		if other := fmt.Sprint("search/", i); s.Cluster(other) == cluster {
			q, err := watch.Read(t.Context(), s.For(other), name)
			if err != nil {
				t.Fatal(err)
			}
			return len(q.Holders)
		}
	}
}

func TestALostClusterStopsItsOwnNamesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := patient(t)
		stores, processes := fleet(t, 2)
		grants := map[string]*session.Grant{}
		for i := range 30 {
			name := fmt.Sprintf("orders/%d", i)
			g, err := mutex.New(processes[0].For(name), name).Lock(ctx)
			if err != nil {
				t.Fatal(err)
			}
			grants[name] = g
		}
		for _, p := range processes {
			for i, done := 0, false; !done; i++ {
				if name := fmt.Sprint("search/", i); p.Cluster(name) == "eu-2" {
					stores["eu-2"].Cut(p.For(name))
					defer stores["eu-2"].Heal(p.For(name))
					done = true
				}
			}
		}
		time.Sleep(time.Minute)
		for name, g := range grants {
			away := processes[0].Cluster(name) == "eu-2"
			if lost := errors.Is(g.Check(), session.ErrLost); lost != away {
				t.Errorf("%q, which lives on %s, is lost: %v", name, processes[0].Cluster(name), lost)
			}
			wait, cancel := context.WithTimeout(ctx, 5*time.Second)
			_ = g.Release(wait)
			next, err := mutex.New(processes[1].For(name), name).Lock(wait)
			cancel()
			switch {
			case (err != nil) != away:
				t.Errorf("%q, which lives on %s: Lock returned %v", name, processes[0].Cluster(name), err)
			case err == nil:
				_ = next.Release(ctx)
			}
		}
	})
}
