package embed_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/embed"
	"github.com/fairlead-go/fairlead/watch"
)

// Two processes that spread their names over three clusters exclude each other, and go
// on with what lives on two of them when the third is gone.
func TestShardsOfThreeClusters(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	clusters := []string{"eu-1", "eu-2", "eu-3"}
	servers := map[string]*embed.Server{}
	sessions := [2]map[string]*session.Session{{}, {}}
	for _, cluster := range clusters {
		srv, err := embed.Start(ctx, embed.Config{Dir: t.TempDir(), UnsafeNoFsync: true, Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		servers[cluster] = srv
		for _, of := range sessions {
			s, err := session.Open(ctx, srv.Endpoint(), &session.Options{TTL: 3 * time.Second, Logger: quiet})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close(context.WithoutCancel(ctx))
			of[cluster] = s
		}
	}
	a, b := session.Shard(sessions[0]), session.Shard(sessions[1])

	// Each name is held on its own cluster, by the first that asks, and nowhere else.
	grants, lives := map[string]*session.Grant{}, map[string]int{}
	for i := range 12 {
		name := fmt.Sprintf("orders/%d", i)
		lives[a.Cluster(name)]++
		g, err := mutex.New(a.For(name), name).Lock(ctx)
		if err != nil {
			t.Fatal(err)
		}
		grants[name] = g
		if _, err := mutex.New(b.For(name), name).TryLock(ctx); !errors.Is(err, session.ErrHeld) {
			t.Errorf("the other process locks %q: %v", name, err)
		}
		for _, cluster := range clusters {
			q, err := watch.Read(ctx, sessions[1][cluster], name)
			if err != nil {
				t.Fatal(err)
			}
			if held := len(q.Holders) == 1; held != (cluster == a.Cluster(name)) {
				t.Errorf("%q is held on %s: %v; it lives on %s", name, cluster, held, a.Cluster(name))
			}
		}
	}
	if len(lives) != len(clusters) {
		t.Fatalf("the names live on %v only", lives)
	}

	servers["eu-2"].Close()
	for name, g := range grants {
		if a.Cluster(name) == "eu-2" {
			select {
			case <-g.Context().Done():
			case <-ctx.Done():
				t.Fatalf("%q is still held, though its cluster is gone", name)
			}
		}
	}
	for name, g := range grants {
		away := a.Cluster(name) == "eu-2"
		if lost := errors.Is(g.Check(), session.ErrLost); lost != away {
			t.Errorf("%q, which lives on %s, is lost: %v", name, a.Cluster(name), lost)
		}
		if away {
			wait, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
			if _, err := mutex.New(b.For(name), name).Lock(wait); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%q, whose cluster is gone: Lock returned %v", name, err)
			}
			cancel()
			continue
		}
		if err := g.Release(ctx); err != nil {
			t.Errorf("release %q: %v", name, err)
		}
		next, err := mutex.New(b.For(name), name).Lock(ctx)
		if err != nil {
			t.Errorf("%q, which lives on %s: %v", name, a.Cluster(name), err)
			continue
		}
		_ = next.Release(ctx)
	}
}
