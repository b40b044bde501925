//go:build unix

package main

import (
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	etcdembed "go.etcd.io/etcd/server/v3/embed"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/view"
	"github.com/fairlead-go/fairlead/internal/pgserver"
	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/embed"
	_ "github.com/fairlead-go/fairlead/session/memory"
)

// roundTripChecks are what is done with every store, in this order.
var roundTripChecks = []string{"session", "ttl", "lock", "ls", "hand over", "release", "close"}

// diagnose runs doctor, which has to end with that status, and returns its findings by
// their checks. Nothing it prints is a password.
func diagnose(t *testing.T, status int, url string, flags ...string) map[string]view.Finding {
	t.Helper()
	p := start(t, append([]string{storeVariable + "=" + url, "doctor", "-o", "json"}, flags...)...)
	out := p.end(status)
	if all := out + p.stderr.String(); strings.Contains(all, "s3cret") {
		t.Errorf("%s: it prints the password:\n%s", url, all)
	}
	var found []view.Finding
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatalf("%s: %v in\n%s", url, err, out)
	}
	byCheck := map[string]view.Finding{}
	for _, f := range found {
		if worse, ok := byCheck[f.Check]; !ok || worse.Verdict == driver.Fine {
			byCheck[f.Check] = f
		}
	}
	return byCheck
}

// well checks that all is, but for what is expected.
func well(t *testing.T, found map[string]view.Finding, but map[string]driver.Verdict) {
	t.Helper()
	for _, check := range append(roundTripChecks, "connect") {
		if _, ok := found[check]; !ok {
			t.Errorf("there is no finding %q", check)
		}
	}
	for check, f := range found {
		want, ok := but[check]
		if !ok {
			want = driver.Fine
		}
		if f.Verdict != want || f.Seconds < 0 {
			t.Errorf("the verdict is not %s: %+v", want, f)
		}
	}
}

// mustFind checks a finding.
func mustFind(t *testing.T, found map[string]view.Finding, check string, verdict driver.Verdict, says ...string) {
	t.Helper()
	f, ok := found[check]
	if !ok || f.Verdict != verdict {
		t.Errorf("there is no finding %q with the verdict %s: %+v", check, verdict, found)
	}
	contains(t, f.Detail+"\n"+f.Advice, says...)
}

func TestDoctorFindsNothingWrongWithAHealthyStore(t *testing.T) {
	t.Parallel()
	r, err := redisserver.Start(redisserver.Config{Settings: map[string]string{"appendonly": "yes"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	p, err := pgserver.Start(pgserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	if out, err := fairlead(t, "migrate", "--store", p.AdminURL("postgres")); err != nil {
		t.Fatalf("migrate: %v\n%s", err, out)
	}
	z, err := zkserver.Start(zkserver.Config{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(z.Close)
	for url, but := range map[string]map[string]driver.Verdict{
		store:                              {"clock": driver.Unknown},
		"embed://" + t.TempDir() + "/etcd": {"clock": driver.Unknown},
		"redis://" + r.Addr():              nil,
		p.AdminURL("postgres"):             nil,
		"zk://" + z.Addr():                 nil,
	} {
		t.Run(strings.SplitN(url, ":", 2)[0], func(t *testing.T) {
			well(t, diagnose(t, 0, url), but)
			if out := start(t, "ls", doctorPrefix, "--store", url, "-o", "json").end(0); out != "[]\n" {
				t.Errorf("it has left %s", out)
			}
		})
	}
}

// A store that nothing can be asked, in this process.
func TestDoctorOfAStoreInMemory(t *testing.T) {
	t.Parallel()
	x := &examination{store: &storeFlags{url: "memory://doctor", connectTimeout: patience}}
	if err := x.run(t.Context()); err != nil || x.failed {
		t.Errorf("%v, %+v", err, x.found)
	}
	var checks []string
	for _, f := range x.found {
		checks = append(checks, f.Check)
	}
	if want := append([]string{"connect"}, roundTripChecks...); !slices.Equal(checks, want) {
		t.Errorf("it did %v, want %v", checks, want)
	}
}

func TestDoctorPrintsALineACheckAndWhatToDo(t *testing.T) {
	t.Parallel()
	out := start(t, "doctor").end(0)
	contains(t, out, "ok       host ", "ok       version ", "unknown  clock ", "ok       hand over ", " ms  ")
	if strings.Contains(out, "→") || strings.Contains(out, "fail") {
		t.Errorf("it has something to say against it:\n%s", out)
	}
	out = start(t, "doctor", "--store", "redis://u:s3cret@"+vacant(t)).end(1)
	contains(t, out, "warn     host ", "fail     connect ", "connection refused", "         → start the server")
	if strings.Contains(out, "s3cret") {
		t.Errorf("it prints the password:\n%s", out)
	}
}

// vacant is an address where nobody listens.
func vacant(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestDoctorLeavesNothingInTheStore(t *testing.T) {
	t.Parallel()
	srv, err := startServer(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	well(t, diagnose(t, 0, srv.Endpoint()), map[string]driver.Verdict{"clock": driver.Unknown})
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + srv.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = etcd.Close() }()
	keys, err := etcd.Get(t.Context(), "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil || keys.Count != 0 {
		t.Errorf("it has left %v, %v", keys, err)
	}
	if leases, err := etcd.Leases(t.Context()); err != nil || len(leases.Leases) != 0 {
		t.Errorf("it has left %v, %v", leases, err)
	}
	if keys.Header.Revision < 4 {
		t.Errorf("nothing was done: the revision is %d", keys.Header.Revision)
	}
}

func TestDoctorNamesAHostThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	dead := vacant(t)
	found := diagnose(t, 0, store+","+dead)
	mustFind(t, found, "host", driver.Warning, dead, "connection refused")
	mustFind(t, found, "version", driver.Warning, dead)
	mustFind(t, found, "hand over", driver.Fine)
}

func TestDoctorFindsWhatIsWrongWithRedis(t *testing.T) {
	t.Parallel()
	s, err := redisserver.Start(redisserver.Config{Users: []string{"app on >s3cret ~* &* +@all"}, Settings: map[string]string{"appendonly": "yes"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	url := "redis://app:s3cret@" + s.Addr()
	well(t, diagnose(t, 0, url), nil)
	mustFind(t, diagnose(t, 0, url+"?wait=0"), "replicas", driver.Fine)
	found := diagnose(t, 1, url+"?wait=1", "--timeout", "4s")
	mustFind(t, found, "replicas", driver.Failure, "0 connected, wait=1")
	mustFind(t, diagnose(t, 1, "redis://app:s3cret-wrong@"+s.Addr()), "connect", driver.Failure, "WRONGPASS")
	if _, err := s.Do(t.Context(), "CONFIG", "SET", "maxmemory-policy", "allkeys-lru"); err != nil {
		t.Fatal(err)
	}
	mustFind(t, diagnose(t, 1, url), "connect", driver.Failure, "maxmemory-policy allkeys-lru", "noeviction")
}

func TestDoctorFindsAPoolerAndAMissingSchema(t *testing.T) {
	t.Parallel()
	s, err := pgserver.Start(pgserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.CreateRole(t.Context(), "app", "s3cret"); err != nil {
		t.Fatal(err)
	}
	direct := s.URL("app", "s3cret", "postgres")
	admin := s.AdminURL("postgres")

	found := diagnose(t, 1, admin)
	mustFind(t, found, "connect", driver.Failure, "no schema", "fairlead migrate")
	for _, url := range []string{admin, admin + "&migrate=auto", admin + "&migrate=never"} { // none of them makes it
		mustFind(t, diagnose(t, 1, url), "connect", driver.Failure, "no schema")
	}
	mustFind(t, diagnose(t, 1, admin+"&migrate=maybe"), "connect", driver.Failure, "migrate")

	if out, err := fairlead(t, "migrate", "--store", admin); err != nil {
		t.Fatalf("migrate: %v\n%s", err, out)
	}
	mustFind(t, diagnose(t, 1, direct), "connect", driver.Failure, "GRANT USAGE ON SCHEMA fairlead")
	for _, grant := range []string{"GRANT USAGE ON SCHEMA fairlead TO app", "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA fairlead TO app"} {
		if err := s.Exec(t.Context(), "postgres", grant); err != nil {
			t.Fatal(err)
		}
	}
	well(t, diagnose(t, 0, direct), nil)
	mustFind(t, diagnose(t, 1, strings.Replace(direct, "s3cret", "s3cret-wrong", 1)), "connect", driver.Failure, "password")

	b, err := pgserver.StartBouncer(s, pgserver.PoolTransaction, map[string]string{"app": "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	pooled := b.URL("app", "s3cret", "postgres")
	mustFind(t, diagnose(t, 1, pooled), "connect", driver.Failure, "pooler", "?poll=200ms")
	found = diagnose(t, 0, pooled+"&poll=50ms")
	well(t, found, nil)
	mustFind(t, found, "pooler", driver.Fine, "look every 50ms")
}

func TestDoctorFindsThatEtcdHasNoSpace(t *testing.T) {
	t.Parallel()
	srv, err := embed.Start(t.Context(), embed.Config{Dir: t.TempDir(), Logger: warnings(), UnsafeNoFsync: true,
		Adjust: func(c *etcdembed.Config) { c.QuotaBackendBytes = 4 << 20 }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + srv.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = etcd.Close() }()
	for range 200 {
		if _, err = etcd.Put(t.Context(), "filler", strings.Repeat("x", 256<<10)); err != nil {
			break
		}
	}
	contains(t, err.Error(), "space exceeded")
	found := diagnose(t, 1, srv.Endpoint())
	mustFind(t, found, "alarms", driver.Failure, "NOSPACE", "disarm")
	mustFind(t, found, "space", driver.Warning, "quota")
	mustFind(t, found, "session", driver.Failure, "space")
}

// A server that is frozen does not keep it for longer than it may take.
func TestDoctorEndsInTime(t *testing.T) {
	t.Parallel()
	s, err := redisserver.Start(redisserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	found := diagnose(t, 1, "redis://"+s.Addr(), "--timeout", "2s", "--connect-timeout", "1m")
	mustFind(t, found, "connect", driver.Failure, s.Addr())
	if d := time.Since(began); d > patience/4 {
		t.Errorf("it took %v", d)
	}
}

func TestDoctorGrantsOtherThanAskedAreToldOf(t *testing.T) {
	t.Parallel()
	z, err := zkserver.Start(zkserver.Config{NoSync: true, MinSessionTimeout: 8 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(z.Close)
	found := diagnose(t, 0, "zk://"+z.Addr()+"?ttl=3s")
	well(t, found, map[string]driver.Verdict{"ttl": driver.Warning})
	mustFind(t, found, "ttl", driver.Warning, "8s granted, 3s asked", "minSessionTimeout")
}

func TestDoctorExplainsWhatIsWrongWithTheCommand(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"doctor x":                         "unknown command",
		"doctor --timeout 0s":              "--timeout 0s",
		"doctor -o yaml":                   "it is table or json",
		"doctor --store nowhere":           "no scheme",
		"doctor --store etcd://h:port":     "port",
		"doctor --store etcd://u:s3cret/@": "percent-encoded",
		"doctor --connect-timeout 0s":      "--connect-timeout 0s",
	} {
		out := complains(t, statusFailure, strings.Fields(args)...)
		contains(t, out, want)
		if strings.Contains(out, "s3cret") {
			t.Errorf("%s: it prints the password:\n%s", args, out)
		}
	}
	contains(t, start(t, "doctor", "--store", "nosuch://h").end(1), "no backend for the scheme")
}
