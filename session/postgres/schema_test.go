package postgres_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/postgres"
)

func TestMigrationsBesideOneAnotherMakeOneSchema(t *testing.T) {
	t.Parallel()
	execute(t, "DROP SCHEMA IF EXISTS migrated CASCADE")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := postgres.Migrate(bounded(t), namespace(t, "migrated")); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() { // and those that open a session
			st, err := dial(namespace(t, "migrated"), nil, nil)
			if err != nil {
				t.Error(err)
				return
			}
			_ = st.Close()
		})
	}
	wg.Wait()
	p := enter(t, namespace(t, "migrated"), patience, nil)
	v := p.join("q")
	if err := postgres.Migrate(bounded(t), namespace(t, "migrated")); err != nil {
		t.Error(err)
	}
	if q := p.queue("q"); len(q) != 1 || q[0] != v.Me.Token {
		t.Errorf("after one more migration the queue is %v", q)
	}
	if n := ask[int](t, "SELECT count(*) FROM migrated.version WHERE layout = 4"); n != 1 {
		t.Errorf("the version is recorded %d times", n)
	}
}

func TestSchemaOfANewerReleaseIsRefusedUnlessItSaysOtherwise(t *testing.T) {
	t.Parallel()
	execute(t, "DROP SCHEMA IF EXISTS newer CASCADE")
	if err := postgres.Migrate(bounded(t), namespace(t, "newer")); err != nil {
		t.Fatal(err)
	}
	execute(t, "UPDATE newer.version SET layout = 7, needs = 1")
	enter(t, namespace(t, "newer"), patience, nil).join("q")
	execute(t, "UPDATE newer.version SET needs = 7")
	for _, migrate := range []string{"auto", "never"} {
		refusedAtOnce(t, with(t, namespace(t, "newer"), "migrate", migrate), "layout 7", "upgrade this program")
	}
	if err := postgres.Migrate(bounded(t), namespace(t, "newer")); !driver.IsPermanent(err) {
		t.Errorf("Migrate returned %v, want a permanent error", err)
	}
}

// What was joined under the layout before is there under this one, and can be broken.
func TestUpgradeKeepsWhatIsHeld(t *testing.T) {
	t.Parallel()
	execute(t, "DROP SCHEMA IF EXISTS upgraded CASCADE")
	c := admin(t, server)
	if _, err := c.PgConn().Exec(bounded(t), postgres.FirstLayout("upgraded")).ReadAll(); err != nil {
		t.Fatal(err)
	}
	refusedAtOnce(t, with(t, executorOf(t, "upgraded"), "namespace", "upgraded"), "fairlead migrate")
	execute(t, `INSERT INTO upgraded.session VALUES (1, 'old', '', 60000, now(), now() + interval '1 hour')`)
	execute(t, `INSERT INTO upgraded.entry (queue, token, id, session, kind, mode, version, value, info)
		VALUES ('q', 1, repeat('0', 32), 1, 'mutex', 'exclusive', 1, '', '')`)
	p := enter(t, namespace(t, "upgraded"), patience, nil)
	q, err := p.store.Read(bounded(t), "q", 0)
	if err != nil || len(q.Entries) != 1 || q.Entries[0].Identity != "old" {
		t.Fatalf("after the upgrade the queue is %v, %v", q, err)
	}
	e := q.Entries[0]
	if err := p.store.Break(bounded(t), e, driver.Mark{ID: e.ID, By: "ops"}, true); err != nil {
		t.Fatal(err)
	}
	if n := ask[int](t, "SELECT count(*) FROM upgraded.mark"); n != 1 {
		t.Errorf("%d marks, want one", n)
	}
	execute(t, "DELETE FROM upgraded.session WHERE id = 1")
	if n := ask[int](t, "SELECT count(*) FROM upgraded.mark"); n != 0 {
		t.Errorf("%d marks have outlived their session", n)
	}
}

func TestMissingSchemaIsAskedForInWords(t *testing.T) {
	t.Parallel()
	user := executor(t, "alien") // may use that schema alone
	for _, migrate := range []string{"auto", "never"} {
		refusedAtOnce(t, with(t, user, "namespace", "missing", "migrate", migrate), "fairlead migrate", "missing", "postgres.Migrate")
	}
	// One of an older release that it may not update: here it is older than any.
	execute(t, "UPDATE alien.version SET layout = 0")
	for _, migrate := range []string{"auto", "never"} {
		refusedAtOnce(t, with(t, user, "namespace", "alien", "migrate", migrate), "fairlead migrate", "?namespace=alien")
	}
	execute(t, "UPDATE alien.version SET layout = 4")
	// Somebody else's schema is not taken over.
	execute(t, "DROP SCHEMA IF EXISTS taken CASCADE; CREATE SCHEMA taken; CREATE TABLE taken.session (x int)")
	refusedAtOnce(t, namespace(t, "taken"), `"session" already exists`)
	if ask[bool](t, "SELECT to_regclass('taken.entry') IS NOT NULL") {
		t.Error("half a schema was made")
	}
}

// The user of TestConformance may call the functions. Without that grant there is no
// way in, nor is there ever one to the tables.
func TestFunctionsAndTablesAreNotForEverybody(t *testing.T) {
	t.Parallel()
	user := executor(t, "walled")
	execute(t, "REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA walled FROM walled")
	refusedAtOnce(t, with(t, user, "namespace", "walled"), "GRANT USAGE ON SCHEMA walled", "GRANT EXECUTE")
	execute(t, "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA walled TO walled")
	enter(t, with(t, user, "namespace", "walled"), patience, nil).join("q")
	pool, err := pgxpool.New(bounded(t), user)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for _, table := range []string{"session", "entry", "limits", "settled", "observer", "version", "place", "mark"} {
		if _, err := pool.Exec(bounded(t), "SELECT FROM walled."+table); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("table %s can be read: %v", table, err)
		}
	}
	for _, call := range []string{"tell('q', 1)", "show('q')"} { // have no privileges of their own
		if _, err := pool.Exec(bounded(t), "SET search_path = walled; SELECT walled."+call); err == nil {
			t.Errorf("%s can be called", call)
		}
	}
}

// Whoever migrates, what is made belongs to the owner of what is there: functions call one
// another with the rights of their owner.
func TestMigrationMakesWhatBelongsToTheOwner(t *testing.T) {
	t.Parallel()
	const ns, owner, stranger = "owned", `the "owner"`, "owned_stranger"
	execute(t, "DROP SCHEMA IF EXISTS owned CASCADE")
	for _, role := range []string{owner, stranger} {
		if !ask[bool](t, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", role) {
			if err := server.CreateRole(bounded(t), role, "secret"); err != nil {
				t.Fatal(err)
			}
		}
	}
	execute(t, `GRANT CREATE ON DATABASE postgres TO "the ""owner"""`)
	if err := postgres.Migrate(bounded(t), with(t, server.URL(owner, "secret", "postgres"), "namespace", ns)); err != nil {
		t.Fatal(err)
	}
	execute(t, "UPDATE owned.version SET layout = 3; DROP FUNCTION owned.tell; GRANT CREATE, USAGE ON SCHEMA owned TO owned_stranger; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA owned TO owned_stranger")
	err := postgres.Migrate(bounded(t), with(t, server.URL(stranger, "secret", "postgres"), "namespace", ns))
	if !driver.IsPermanent(err) || !strings.Contains(err.Error(), owner) {
		t.Errorf("Migrate as somebody who has nothing to do with the owner returned %v", err)
	}
	if err := postgres.Migrate(bounded(t), namespace(t, ns)); err != nil { // as a superuser
		t.Fatal(err)
	}
	if others := ask[int](t, "SELECT count(*) FROM pg_proc WHERE pronamespace = 'owned'::regnamespace AND proowner::regrole <> $1::regrole", `"the ""owner"""`); others != 0 {
		t.Errorf("%d functions do not belong to the owner", others)
	}
	a, b := enter(t, with(t, executorOf(t, ns), "namespace", ns), patience, nil), enter(t, namespace(t, ns), patience, nil)
	held := a.join("q")
	ended := b.waiting(b.join("q"))
	a.leave(held.Me)
	ends(t, ended, patience)
}

// Where the default isolation is another one, each request says what it needs.
func TestDefaultsOfTheDatabaseDoNoHarm(t *testing.T) {
	t.Parallel()
	user := executor(t, "defaults")
	execute(t, "ALTER ROLE defaults SET default_transaction_isolation = 'serializable'; ALTER ROLE defaults SET synchronous_commit = off; ALTER ROLE defaults SET search_path = pg_temp; ALTER ROLE defaults SET enable_indexscan = off")
	pool, err := pgxpool.New(bounded(t), user)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	opts := &session.Options{Identity: "pool"}
	for range 2 {
		s, err := postgres.NewSession(bounded(t), pool, "defaults", opts)
		if err != nil {
			t.Fatal(err)
		}
		handOff(t, []*session.Session{s}, "q", 4, 50)
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if pool.Stat().TotalConns() == 0 {
		t.Error("the pool is the caller's and was emptied")
	}
	handOff(t, []*session.Session{open(t, with(t, user, "namespace", "defaults"))}, "q", 4, 50)
}

// A name is the same queue for all, whatever encoding a role has by default.
func TestNamesMeanTheSameInEveryEncoding(t *testing.T) {
	t.Parallel()
	const ns, name = "encoded", "ü"
	user := executor(t, ns)
	execute(t, "ALTER ROLE encoded SET client_encoding = 'LATIN1'")
	enter(t, namespace(t, ns), patience, nil).join(name)
	if v := enter(t, with(t, user, "namespace", ns), patience, nil).join(name); len(v.Ahead) != 1 {
		t.Errorf("ahead of who comes second are %v", v.Ahead)
	}
	pool, err := pgxpool.New(bounded(t), user)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	s, err := postgres.NewSession(bounded(t), pool, ns, nil)
	if err == nil {
		_ = s.Close(context.Background())
	}
	if !driver.IsPermanent(err) || !strings.Contains(err.Error(), "client_encoding") {
		t.Errorf("NewSession through a pool with another encoding returned %v", err)
	}
}

// As docs/operations.md tells those to do who restore a backup.
func TestTokensCanBeRaisedAndSessionsEndedByHand(t *testing.T) {
	t.Parallel()
	execute(t, "DROP SCHEMA IF EXISTS restored CASCADE")
	p := enter(t, namespace(t, "restored"), patience, nil)
	before := p.join("q").Me.Token
	execute(t, "SELECT setval('restored.token', (SELECT last_value FROM restored.token) + 1000000000)")
	execute(t, "DELETE FROM restored.session")
	next := enter(t, namespace(t, "restored"), patience, nil)
	v := next.join("q")
	if v.Me.Token <= before+1_000_000_000 || len(v.Ahead) != 0 {
		t.Errorf("after token %d comes %d, behind %v", before, v.Me.Token, v.Ahead)
	}
}

// What one is told to do after a restore: no token comes again, and no lease goes on.
func TestRestoreAsItIsDescribed(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, sql, _ := strings.Cut(string(text), "\n```sql\n")
	sql, _, ok := strings.Cut(sql, "```")
	if !ok {
		t.Fatal("the document shows no SQL any more")
	}
	execute(t, "DROP SCHEMA IF EXISTS described CASCADE")
	p := enter(t, namespace(t, "described"), patience, nil)
	before := p.join("q").Me.Token
	for statement := range strings.SplitSeq(strings.ReplaceAll(sql, "fairlead.", "described."), ";\n") {
		if statement != "" {
			execute(t, statement)
		}
	}
	if err := p.Renew(bounded(t)); !errors.Is(err, driver.ErrLeaseGone) {
		t.Errorf("Renew of a lease of before returned %v, want ErrLeaseGone", err)
	}
	v := enter(t, namespace(t, "described"), patience, nil).join("q")
	if len(v.Ahead) != 0 || v.Me.Token < before+1e9 {
		t.Errorf("after it the token is %d, and was %d; ahead are %v", v.Me.Token, before, v.Ahead)
	}
}
