package postgres

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fairlead-go/fairlead/session/driver"
)

// leastVersion is the oldest server that the schema is written for.
const leastVersion = 13_00_00

// factsSQL asks for what everybody may know.
const factsSQL = `SELECT current_setting('server_version'), current_setting('server_version_num')::int, clock_timestamp(),
	pg_backend_pid()::bigint, current_setting('fsync') = 'on', current_setting('full_page_writes') = 'on',
	current_setting('synchronous_standby_names'), (SELECT count(*) FROM pg_catalog.pg_stat_replication)`

// deniedSQL lists the functions of a schema that this user may not call.
const deniedSQL = `SELECT p.proname::text FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
	WHERE n.nspname = $1 AND NOT has_function_privilege(p.oid, 'EXECUTE') ORDER BY 1`

// facts are what a server says of itself.
type facts struct {
	version        string
	number         int
	now            time.Time
	sent, received time.Time
	pid, ours      int64 // of the server's process, as it says and as the connection was told
	fsync, whole   bool  // pages are written whole after a checkpoint
	synchronous    string
	replicas       int
}

// Examine implements driver.Doctor. It needs no other right than sessions do.
func (s *store) Examine(ctx context.Context) iter.Seq[driver.Finding] {
	return func(yield func(driver.Finding) bool) {
		f, err := s.ask(ctx)
		if err != nil {
			yield(driver.Unseen("server", s.failed(ctx, "examine the server", err)))
			return
		}
		_ = yield(f.versioned()) &&
			yield(driver.Clock(f.now, f.sent, f.received)) &&
			yield(s.examineSchema(ctx)) &&
			yield(s.examineRights(ctx)) &&
			yield(f.durability()) &&
			yield(f.standbys()) &&
			yield(s.pooler(f))
	}
}

func (s *store) ask(ctx context.Context) (f facts, err error) {
	ctx, cancel := s.request(ctx)
	defer cancel()
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return f, err
	}
	defer c.Release()
	f.ours, f.sent = int64(c.Conn().PgConn().PID()), time.Now()
	err = c.QueryRow(ctx, factsSQL, pgx.QueryExecModeExec).Scan(&f.version, &f.number, &f.now, &f.pid, &f.fsync, &f.whole, &f.synchronous, &f.replicas)
	f.received = time.Now()
	return f, err
}

func (f facts) versioned() driver.Finding {
	found := driver.Finding{Check: "version", Verdict: driver.Fine, Detail: "PostgreSQL " + f.version}
	if f.number < leastVersion {
		found.Verdict, found.Advice = driver.Failure, fmt.Sprintf("upgrade the server: %d or later is needed", leastVersion/10000)
	}
	return found
}

// examineSchema is about one that was not refused when the store began.
func (s *store) examineSchema(ctx context.Context) driver.Finding {
	found, err := s.readLayout(ctx)
	if err != nil {
		return driver.Finding{Check: "schema", Verdict: driver.Failure, Detail: s.failed(ctx, "read the layout", err).Error()}
	}
	f := driver.Finding{Check: "schema", Verdict: driver.Fine, Detail: fmt.Sprintf("%s has layout %d, as this build", s.ns, found)}
	switch {
	case found > layout:
		f.Detail = fmt.Sprintf("%s has layout %d, and builds of layout %d may use it", s.ns, found, layout)
	case found < layout:
		f.Verdict, f.Advice = driver.Failure, howToMigrate(s.ns)
	}
	return f
}

// examineRights finds functions of a later layout that nobody has granted.
func (s *store) examineRights(ctx context.Context) driver.Finding {
	var denied []string
	err := s.query(ctx, ordinary, deniedSQL, []any{s.ns}, func(r pgx.Rows) error {
		var name string
		err := r.Scan(&name)
		denied = append(denied, name)
		return err
	})
	switch {
	case err != nil:
		return driver.Unseen("rights", s.failed(ctx, "examine the rights", err))
	case len(denied) > 0:
		return driver.Finding{Check: "rights", Verdict: driver.Failure,
			Detail: "this user may not call " + strings.Join(denied, ", "), Advice: howToGrant(s.ns)}
	}
	return driver.Finding{Check: "rights", Verdict: driver.Fine, Detail: "this user may call all functions of the schema"}
}

// durability is about what a crash of the server loses. The functions themselves see to
// synchronous_commit.
func (f facts) durability() driver.Finding {
	found := driver.Finding{Check: "durability", Verdict: driver.Fine, Detail: "what lets somebody in is on disk, whatever synchronous_commit is"}
	switch {
	case !f.fsync:
		found.Verdict, found.Detail = driver.Warning, "fsync is off"
		found.Advice = "set fsync = on: a crash of the machine may lose what was granted, and hand out tokens again"
	case !f.whole:
		found.Verdict, found.Detail = driver.Warning, "full_page_writes is off"
		found.Advice = "set full_page_writes = on, unless the file system never tears a page: a crash may leave damaged ones"
	}
	return found
}

// standbys is about what a failover loses.
func (f facts) standbys() driver.Finding {
	found := driver.Finding{Check: "standbys", Verdict: driver.Fine, Detail: fmt.Sprintf("%d connected, synchronous_standby_names = '%s'", f.replicas, f.synchronous)}
	switch {
	case f.replicas == 0 && f.synchronous == "":
		found.Detail = "none are connected"
	case f.synchronous == "":
		found.Verdict = driver.Warning
		found.Advice = "name one in synchronous_standby_names, and fail over to that alone: an asynchronous one may lack what was granted last, and hand out tokens again"
	case f.replicas == 0:
		found.Verdict, found.Advice = driver.Warning, "bring the standby back: where one is waited for, nothing is granted without it"
	}
	return found
}

// pooler tells whether the connection ends at the server: what is in between invents the
// number of a process for its clients.
func (s *store) pooler(f facts) driver.Finding {
	found := driver.Finding{Check: "pooler", Verdict: driver.Fine, Detail: "none in between"}
	if f.pid != f.ours {
		found.Detail = "one is in between, which shares sessions: waiters are told"
	}
	if s.poll > 0 {
		found.Detail = fmt.Sprintf("none in between, and still waiters are not told: they look every %v", s.poll)
		if f.pid != f.ours {
			found.Detail = fmt.Sprintf("one is in between; waiters are not told, but look every %v", s.poll)
		}
	}
	return found
}
