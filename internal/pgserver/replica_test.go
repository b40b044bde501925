package pgserver

import (
	"testing"
	"time"
)

func replicate(t *testing.T, primary *Server) *Server {
	t.Helper()
	began := time.Now()
	r, err := StartReplica(primary)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("replica ready after %v", time.Since(began))
	finish(t, r)
	return r
}

// awaitRow waits until table t of the server has the number.
func awaitRow(t *testing.T, s *Server, n int) {
	t.Helper()
	conn := connect(t, s.AdminURL("postgres"))
	until(t, "the replica has the row", func() bool {
		return ask[bool](t, conn, "select exists(select from t where n = $1)", n)
	})
}

func TestAReplicaIsReadOnlyUntilPromoted(t *testing.T) {
	t.Parallel()
	primary, ctx := begin(t, quick()), bounded(t)
	if err := primary.Exec(ctx, "postgres", "create table t (n int); insert into t values (1)"); err != nil {
		t.Fatal(err)
	}
	addUser(t, primary, "alice")
	replica := replicate(t, primary)
	if err := primary.Exec(ctx, "postgres", "insert into t values (2)"); err != nil {
		t.Fatal(err)
	}
	awaitRow(t, replica, 1)
	awaitRow(t, replica, 2)
	connect(t, replica.URL("alice", "alice", "postgres"))
	refused(t, "a write to the replica", replica.Exec(ctx, "postgres", "insert into t values (3)"), "25006")
	refused(t, "Promote of the primary", primary.Promote(ctx), "55000")

	if err := replica.Promote(ctx); err != nil {
		t.Fatal(err)
	}
	if err := replica.Exec(ctx, "postgres", "insert into t values (3)"); err != nil {
		t.Error(err)
	}
	if err := replica.Shutdown(Fast); err != nil {
		t.Fatal(err)
	}
	if err := replica.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := replica.Exec(ctx, "postgres", "insert into t values (4)"); err != nil {
		t.Errorf("a promoted replica after a restart: %v", err)
	}
	if ask[bool](t, connect(t, primary.AdminURL("postgres")), "select exists(select from t where n > 2)") {
		t.Error("the primary follows its replica")
	}
}

func TestAReplicaOutlivesItsPrimaryAndCatchesUp(t *testing.T) {
	t.Parallel()
	primary, ctx := begin(t, quick()), bounded(t)
	if err := primary.Exec(ctx, "postgres", "create table t (n int); insert into t values (1)"); err != nil {
		t.Fatal(err)
	}
	replica := replicate(t, primary)
	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := replica.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := replica.Restart(); err != nil {
		t.Fatalf("a replica without its primary: %v", err)
	}
	awaitRow(t, replica, 1)
	if err := primary.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := primary.Exec(ctx, "postgres", "insert into t values (2)"); err != nil {
		t.Fatal(err)
	}
	awaitRow(t, replica, 2)
}
