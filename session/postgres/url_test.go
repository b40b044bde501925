package postgres

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/storeurl"
	"github.com/fairlead-go/fairlead/internal/storeurl/urltest"
	"github.com/fairlead-go/fairlead/session/driver"
)

func parse(t *testing.T, raw string) (target, error) {
	t.Helper()
	u, err := storeurl.Split(raw)
	if err != nil {
		return target{}, driver.Permanent(err)
	}
	return parseTarget(u)
}

func TestURLSaysWhereAndWho(t *testing.T) {
	for raw, want := range map[string]target{
		"postgres://app@db":                                                             {database: "app", namespace: "fairlead", migrate: true, sslmode: "prefer"},
		"postgresql://app@db/prod?sslmode=disable":                                      {database: "prod", namespace: "fairlead", migrate: true, sslmode: "disable"},
		"postgres://app:s%2Fx@h1,h2:6432/prod?namespace=team_1":                         {database: "prod", namespace: "team_1", migrate: true, sslmode: "prefer"},
		"postgres://app@db/prod?migrate=never&poll=200ms&ttl=5s":                        {database: "prod", namespace: "fairlead", poll: 200 * time.Millisecond, sslmode: "prefer"},
		"postgres://app@db/a%20b?server-name=x":                                         {database: "a b", namespace: "fairlead", migrate: true, sslmode: "verify-full"},
		"postgres://app@db/prod?sslmode=require&server-name=x":                          {database: "prod", namespace: "fairlead", migrate: true, sslmode: "require"},
		"postgres://app@[::1]:6432,db/prod?sslmode=verify-ca&migrate=auto":              {database: "prod", namespace: "fairlead", migrate: true, sslmode: "verify-ca"},
		"postgres://app:secret@10.0.0.1:1,10.0.0.2:2,10.0.0.3/prod?sslmode=verify-full": {database: "prod", namespace: "fairlead", migrate: true, sslmode: "verify-full"},
	} {
		got, err := parse(t, raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if got.User != "app" || got.database != want.database || got.namespace != want.namespace ||
			got.migrate != want.migrate || got.poll != want.poll || got.sslmode != want.sslmode {
			t.Errorf("%s is read as %+v", raw, got)
		}
		cfg, err := got.poolConfig(nil)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if n := strings.Count(raw, ",") + 1; len(got.Hosts) != n {
			t.Errorf("%s has the hosts %q", raw, got.Hosts)
		}
		if cc := cfg.ConnConfig; cc.User != "app" || cc.Database != want.database || cc.Host+":" != got.Hosts[0][:len(cc.Host)+1] && !strings.Contains(raw, "::1") {
			t.Errorf("%s makes the configuration %+v", raw, cc.Config)
		}
	}
}

func TestBadURLIsRefusedWithTheReason(t *testing.T) {
	dir := t.TempDir()
	empty, password := filepath.Join(dir, "empty"), filepath.Join(dir, "password")
	for file, text := range map[string]string{empty: "\n", password: "secret\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	long := strings.Repeat("n", 64)
	for raw, says := range map[string]string{
		"mysql://app@db/prod":                                            "mysql",
		"postgres://db/prod":                                             "no user",
		"postgres://:secret@db/prod":                                     "no user",
		"postgres://app@/prod":                                           "no host",
		"postgres://app@db:0/prod":                                       "port",
		"postgres://app@db,db/prod":                                      "twice",
		"postgres://app@db/prod/more":                                    "one database",
		"postgres://app@db/prod#x":                                       "#",
		"postgres://app@db/prod?host=x":                                  "unknown parameter",
		"postgres://app@db/prod?namespace=":                              "empty",
		"postgres://app@db/prod?namespace=Team":                          "a to z",
		"postgres://app@db/prod?namespace=1a":                            "digit",
		"postgres://app@db/prod?namespace=a%22b":                         "a to z",
		"postgres://app@db/prod?namespace=pg_x":                          "PostgreSQL's own",
		"postgres://app@db/prod?namespace=public":                        "PostgreSQL's own",
		"postgres://app@db/prod?namespace=" + long:                       "at most 63",
		"postgres://app@db/prod?poll=often":                              "poll=often",
		"postgres://app@db/prod?poll=-1s":                                "poll=-1s",
		"postgres://app@db/prod?migrate=yes":                             "neither auto nor never",
		"postgres://app@db/prod?sslmode=on":                              "none of disable",
		"postgres://app@db/prod?sslmode=allow":                           "none of disable",
		"postgres://app@db/prod?sslmode=disable&cacert=/x":               "contradicts",
		"postgres://app@db/prod?cacert=/does/not/exist":                  "cacert",
		"postgres://app@db/prod?cacert=" + url.QueryEscape(password):     "no certificate",
		"postgres://app@db/prod?cert=/x":                                 "without key",
		"postgres://app@db/prod?password-file=/does/not/exist":           "password-file",
		"postgres://app@db/prod?password-file=":                          "password-file",
		"postgres://app@db/prod?password-file=" + url.QueryEscape(empty): "is empty",
		"postgres://app:secret@db/prod?password-file=" + password:        "both in the URL and",
		"postgres://app:secret%zz@db/prod":                               "percent-encoded",
	} {
		_, err := parse(t, raw)
		if !driver.IsPermanent(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want a permanent error that says %q", raw, err, says)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is in the error: %v", err)
		}
	}
	got, err := parse(t, "postgres://app@db/prod?password-file="+url.QueryEscape(password))
	if err != nil || got.Password != "secret" {
		t.Errorf("of the file with the password is read %q, %v", got.Password, err)
	}
}

// A URL means the same in every environment.
func TestEnvironmentIsNotMixedIn(t *testing.T) {
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".pgpass"), []byte("*:*:*:*:theirs\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"HOME": home, "PGPASSFILE": filepath.Join(home, ".pgpass"),
		"PGHOST": "theirs", "PGPORT": "1", "PGDATABASE": "theirs", "PGUSER": "theirs", "PGPASSWORD": "theirs",
		"PGAPPNAME": "theirs", "PGOPTIONS": "-c search_path=theirs", "PGTZ": "theirs", "PGCONNECT_TIMEOUT": "77",
		"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/does/not/exist", "PGSSLCERT": "/does/not/exist", "PGSSLKEY": "/does/not/exist",
		"PGSSLNEGOTIATION": "direct", "PGSSLSNI": "0", "PGTARGETSESSIONATTRS": "standby", "PGREQUIREAUTH": "none",
		"PGCHANNELBINDING": "require", "PGMINPROTOCOLVERSION": "3.2", "PGMAXPROTOCOLVERSION": "3.2",
	} {
		t.Setenv(name, value)
	}
	for raw, password := range map[string]string{"postgres://app@db/prod": "", "postgres://app:ours@db/prod": "ours"} {
		got, err := parse(t, raw)
		if err != nil {
			t.Fatal(err)
		}
		cfg, err := got.poolConfig(nil)
		if err != nil {
			t.Fatal(err)
		}
		cc := cfg.ConnConfig
		if cc.Host != "db" || cc.Port != 5432 || cc.Database != "prod" || cc.User != "app" || cc.Password != password ||
			len(cc.RuntimeParams) != 2 || cc.RuntimeParams["client_encoding"] != "UTF8" || cc.RuntimeParams["application_name"] != "fairlead" || cc.ConnectTimeout != connectTimeout ||
			cc.SSLNegotiation == "direct" || cc.RequireAuth != "" || cc.ChannelBinding != "prefer" || cc.MinProtocolVersion != "3.0" || cc.MaxProtocolVersion != "3.0" {
			t.Errorf("%s makes the configuration %+v", raw, cc.Config)
		}
		if cc.TLSConfig == nil || cc.TLSConfig.RootCAs != nil || len(cc.TLSConfig.Certificates) > 0 || cc.TLSConfig.ServerName != "db" {
			t.Errorf("%s has the TLS configuration %+v", raw, cc.TLSConfig)
		}
	}
}

func TestKeysAreReadAsTheyAreWritten(t *testing.T) {
	s := &store{ns: "team_1"}
	ns, claim, ok := parseKey(s.key(255, "c1"))
	if ns != "team_1" || claim != "c1" || !ok {
		t.Errorf("%q is read as %q, %q, %v", s.key(255, "c1"), ns, claim, ok)
	}
	for _, key := range []string{"", "x", "pg1/a/b", "pg2/a/b/c", "pg1/A/b/c", "pg1/public/b/c", "pg1/a/b/c/d"} {
		if _, _, ok := parseKey(key); ok {
			t.Errorf("%q is taken for a key", key)
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, raw := range append(urltest.Seeds("postgres"), "postgresql://u@h/d?sslmode=require&poll=1h", "postgres://u:S3CRET@h/d/e",
		"postgres://u:S3CRET@h?namespace=A", "postgres://u@h?poll=1ns", "postgres://u:p%00@h", "postgres://u@h/%2F", "postgres://u@h:65536") {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := storeurl.Split(raw)
		if err != nil || u.Query().Has("password-file") || slices.ContainsFunc(needTLS, u.Query().Has) {
			return // reads files
		}
		got, err := parseTarget(u)
		if err != nil {
			if !driver.IsPermanent(err) || urltest.HasSecret(raw) && strings.Contains(err.Error(), urltest.Secret) {
				t.Errorf("%q: %v is not permanent, or tells the password", raw, err)
			}
			return
		}
		cfg, err := got.poolConfig(nil)
		if err != nil {
			t.Fatalf("%q: %+v cannot be configured: %v", raw, got, err)
		}
		password, _ := u.User.Password()
		if cc := cfg.ConnConfig; cc.User != u.User.Username() || cc.Password != password || cc.Database == "" || checkNamespace(got.namespace) != nil ||
			net.JoinHostPort(cc.Host, fmt.Sprint(cc.Port)) != got.Hosts[0] || got.poll != 0 && got.poll < minPoll {
			t.Errorf("%q: %+v makes the configuration %+v", raw, got, cc.Config)
		}
	})
}

// A key that is taken for one of ours is the one that would be written.
func FuzzKey(f *testing.F) {
	for _, key := range []string{"pg1/team_1/ff/c1", "pg1/a/0ff/c", "pg1/a/FF/c", "pg1/a//", "pg1/a/ffffffffffffffff/c", "pg1/a/1ffffffffffffffff/c"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		ns, claim, ok := parseKey(key)
		if !ok {
			return
		}
		session, err := strconv.ParseUint(strings.Split(key, "/")[2], 16, 64)
		if written := (&store{ns: ns}).key(int64(session), claim); err != nil || written != key {
			t.Errorf("%q is taken for the key %q, %v", key, written, err)
		}
	})
}

// What was decoded is encoded as something that decodes to the same.
func FuzzInfo(f *testing.F) {
	for _, s := range []string{
		"", "{}", "null", `{"note":"n","since":-5}`, `{"since":9223372036854775807}`, `{"since":1e3}`, `{"note":7}`, `{"note":"\ud800"}`,
		`{"trace":"00-01020000000000000000000000000003-0400000000000005-03"}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		info := decodeInfo(s)
		if again := decodeInfo(encodeInfo(info)); again.Note != info.Note || !again.Since.Equal(info.Since) || !again.Trace.Equal(info.Trace) {
			t.Errorf("%q is %+v, which comes back as %+v", s, info, again)
		}
	})
}
