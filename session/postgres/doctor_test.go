package postgres_test

import (
	"context"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/fairlead-go/fairlead/internal/pgserver"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/drivertest"
	"github.com/fairlead-go/fairlead/session/postgres"
)

// unsynced is what the common server, which spares the disk, is warned of.
var unsynced = map[string]driver.Verdict{"durability": driver.Warning}

func TestExaminationOfAHealthyServerFindsNothingWrong(t *testing.T) {
	t.Parallel()
	s, err := pgserver.Start(pgserver.Config{}) // with fsync
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	found := drivertest.ExamineAt(t, s.AdminURL("postgres"))
	drivertest.ExpectVerdicts(t, found, nil)
	for check, says := range map[string]string{
		"version": "PostgreSQL ", "clock": "agree", "schema": "layout 4", "rights": "all functions", "durability": "on disk",
		"standbys": "none", "pooler": "none in between",
	} {
		if !strings.Contains(found[check].Detail, says) {
			t.Errorf("%+v does not say %q", found[check], says)
		}
	}

	replica, err := pgserver.StartReplica(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(replica.Close)
	found = drivertest.ExamineAt(t, s.AdminURL("postgres"))
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"standbys": driver.Warning})
	if f := found["standbys"]; !strings.Contains(f.Advice, "synchronous_standby_names") {
		t.Errorf("with an asynchronous standby it says %+v", f)
	}
}

func TestExaminationFindsSettingsThatEndanger(t *testing.T) {
	t.Parallel()
	s, err := pgserver.Start(pgserver.Config{}) // with fsync
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	url := s.AdminURL("postgres")
	drivertest.ExpectVerdicts(t, drivertest.ExamineAt(t, url), nil) // and there is a schema
	admin, err := pgx.Connect(bounded(t), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close(context.Background()) })
	set := func(name, value string) {
		t.Helper()
		for _, sql := range []string{"ALTER SYSTEM SET " + name + " = " + value, "SELECT pg_reload_conf()"} {
			if _, err := admin.Exec(bounded(t), sql); err != nil {
				t.Fatalf("%s: %v", sql, err)
			}
		}
		for now := ""; now != value; { // new sessions have it once the server has taken it in
			if err := admin.QueryRow(bounded(t), "SELECT current_setting($1)", name).Scan(&now); err != nil {
				t.Fatal(err)
			}
		}
	}
	set("full_page_writes", "off")
	found := drivertest.ExamineAt(t, url)
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"durability": driver.Warning})
	if f := found["durability"]; !strings.Contains(f.Detail, "full_page_writes") {
		t.Errorf("it says %+v", f)
	}
	set("full_page_writes", "on")
	set("synchronous_standby_names", "nobody") // who commits waits for it from now on
	found = drivertest.ExamineAt(t, url)
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"standbys": driver.Warning})
	if f := found["standbys"]; !strings.Contains(f.Advice, "bring the standby back") {
		t.Errorf("it says %+v", f)
	}
}

func TestVersionsThatAreSupported(t *testing.T) {
	for number, want := range map[int]driver.Verdict{12_00_22: driver.Failure, 13_00_00: driver.Fine, 18_00_01: driver.Fine} {
		if f := postgres.Versioned(number); f.Verdict != want || (f.Advice != "") != (want == driver.Failure) {
			t.Errorf("%d: %+v, want %s", number, f, want)
		}
	}
}

func TestExaminationByAUserWithTheLeastRights(t *testing.T) {
	t.Parallel()
	url := with(t, executor(t, "examined"), "namespace", "examined", "migrate", "never")
	drivertest.ExpectVerdicts(t, drivertest.ExamineAt(t, url), unsynced)
	// As after an update by the owner, who has not granted what is new.
	execute(t, "REVOKE EXECUTE ON FUNCTION examined.queue_break FROM examined")
	found := drivertest.ExamineAt(t, url)
	drivertest.ExpectVerdicts(t, found, map[string]driver.Verdict{"durability": driver.Warning, "rights": driver.Failure})
	if f := found["rights"]; !strings.Contains(f.Detail, "queue_break") || !strings.Contains(f.Advice, "GRANT EXECUTE") {
		t.Errorf("it says %+v", f)
	}
	execute(t, "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA examined TO examined")
}

func TestExaminationTellsOfALaterLayout(t *testing.T) {
	t.Parallel()
	execute(t, "DROP SCHEMA IF EXISTS later CASCADE")
	if err := postgres.Migrate(bounded(t), namespace(t, "later")); err != nil {
		t.Fatal(err)
	}
	execute(t, "UPDATE later.version SET layout = 7, needs = 1")
	found := drivertest.ExamineAt(t, namespace(t, "later"))
	drivertest.ExpectVerdicts(t, found, unsynced)
	if f := found["schema"]; !strings.Contains(f.Detail, "layout 7") {
		t.Errorf("it says %+v", f)
	}
}

func TestExaminationSeesAPooler(t *testing.T) {
	t.Parallel()
	executor(t, "pooleye")
	direct := with(t, server.URL("pooleye", "secret", "postgres"), "namespace", "pooleye")
	sessions := with(t, bouncer(t, pgserver.PoolSession, "pooleye").URL("pooleye", "secret", "postgres"), "namespace", "pooleye")
	transactions := with(t, bouncer(t, pgserver.PoolTransaction, "pooleye").URL("pooleye", "secret", "postgres"), "namespace", "pooleye", "poll", "200ms")
	for url, says := range map[string]string{
		direct:                           "none in between",
		with(t, direct, "poll", "200ms"): "none in between, and still",
		sessions:                         "one is in between, which shares sessions",
		transactions:                     "look every 200ms",
	} {
		found := drivertest.ExamineAt(t, url)
		drivertest.ExpectVerdicts(t, found, unsynced)
		if f := found["pooler"]; !strings.Contains(f.Detail, says) {
			t.Errorf("%+v does not say %q", f, says)
		}
	}
}
