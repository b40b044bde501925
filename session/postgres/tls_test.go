package postgres_test

import (
	"strings"
	"testing"

	"github.com/fairlead-go/fairlead/internal/cert"
	"github.com/fairlead-go/fairlead/internal/pgserver"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/postgres"
)

func TestTLSIsAsStrictAsTheURLSays(t *testing.T) {
	t.Parallel()
	servers, clients, strangers := cert.NewKit(t), cert.NewKit(t), cert.NewKit(t)
	s := ownServer(t, pgserver.Config{NoSync: true, TLS: &pgserver.TLS{Cert: servers.Server.Cert, Key: servers.Server.Key, CA: clients.File}})
	if err := postgres.Migrate(bounded(t), s.AdminURL("postgres")); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateRole(bounded(t), "app", "secret"); err != nil {
		t.Fatal(err)
	}
	if err := s.Exec(bounded(t), "postgres", "GRANT USAGE ON SCHEMA fairlead TO app; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA fairlead TO app"); err != nil {
		t.Fatal(err)
	}
	base, _, _ := strings.Cut(s.URL("app", "secret", "postgres"), "?")
	own := with(t, base, "cert", clients.Client.Cert, "key", clients.Client.Key)
	for what, url := range map[string]string{
		"verify-full is meant":       with(t, own, "cacert", servers.File),
		"verify-full":                with(t, own, "cacert", servers.File, "sslmode", "verify-full"),
		"another name":               with(t, own, "cacert", servers.File, "server-name", "localhost"),
		"verify-ca and another name": with(t, own, "cacert", servers.File, "sslmode", "verify-ca", "server-name", "elsewhere.example"),
		"require":                    with(t, own, "sslmode", "require"),
		"prefer":                     with(t, own, "sslmode", "prefer"),
	} {
		p := enter(t, url, patience, nil)
		p.leave(p.join("q").Me)
		if n := again(t, s, "SELECT count(*) FROM pg_stat_ssl l JOIN pg_stat_activity a USING (pid) WHERE a.usename = 'app' AND NOT l.ssl"); n > 0 {
			t.Errorf("%s: %d connections are without TLS", what, n)
		}
	}
	for url, says := range map[string]string{
		own:                                  "certificate signed by unknown authority", // it is not one of the system's
		with(t, own, "cacert", clients.File): "no agreement on TLS",
		with(t, own, "cacert", clients.File, "sslmode", "verify-ca"):                        "no agreement on TLS",
		with(t, own, "cacert", clients.File, "sslmode", "require"):                          "no agreement on TLS",
		with(t, own, "cacert", servers.File, "server-name", "elsewhere.example"):            "elsewhere.example",
		with(t, base, "cacert", servers.File):                                               "does not let the user in",
		with(t, base, "sslmode", "disable"):                                                 "does not let the user in",
		with(t, strings.Replace(own, "secret", "secret-wrong", 1), "cacert", servers.File):  "password",
		with(t, strings.Replace(own, "/postgres?", "/missing?", 1), "cacert", servers.File): "no such database",
		with(t, strings.Replace(base, s.Addr(), server.Addr(), 1), "sslmode", "require"):    "refused TLS",
	} {
		refusedAtOnce(t, url, says)
	}
	// A server that does not speak it is good enough for prefer, which is the default.
	enter(t, with(t, namespace(t, "prefer"), "sslmode", "prefer"), patience, nil).join("q")
	// With TLS 1.3 a server refuses a client's certificate when the client believes to be
	// in, and may just hang up.
	if st, err := dial(with(t, base, "cacert", servers.File, "cert", strangers.Client.Cert, "key", strangers.Client.Key), nil, nil); err == nil {
		_ = st.Close()
		t.Error("a stranger's certificate was let in")
	}
	handOff(t, []*session.Session{open(t, with(t, own, "cacert", servers.File)), open(t, with(t, own, "cacert", servers.File))}, "q", 2, 20)
}
