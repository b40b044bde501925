package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/storeurl"
	"github.com/fairlead-go/fairlead/internal/storeurl/urltest"
	"github.com/fairlead-go/fairlead/session/driver"
)

func targetOf(t testing.TB, raw string) (target, error) {
	t.Helper()
	u, err := storeurl.Split(raw)
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return parseTarget(u)
}

// passwordFile makes a file with a line, as an editor would.
func passwordFile(t testing.TB) string {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestURLSaysWhereAndWho(t *testing.T) {
	file := passwordFile(t)
	type parts struct {
		hosts                          string
		user, password, namespace      string
		database, wait                 int
		sentinel, watcher, watcherWord string
	}
	for raw, want := range map[string]parts{
		"redis://h":                                           {hosts: "h:6379"},
		"redis://h:1/":                                        {hosts: "h:1"},
		"redis://[::1]:9/15":                                  {hosts: "[::1]:9", database: 15},
		"redis://h//3/":                                       {hosts: "h:6379", database: 3},
		"redis://h1:1,h2,h3:3":                                {hosts: "h1:1 h2:6379 h3:3"},
		"redis://:p%40%3A%2F@h?ttl=3s":                        {hosts: "h:6379", password: "p@:/"},
		"redis://u:p@h?namespace=a.b_c:d-1":                   {hosts: "h:6379", user: "u", password: "p", namespace: "a.b_c:d-1"},
		"redis://h?password-file=" + file:                     {hosts: "h:6379", password: "s3cret"},
		"redis://u@h?password-file=" + file:                   {hosts: "h:6379", user: "u", password: "s3cret"},
		"redis://h?wait=1":                                    {hosts: "h:6379", wait: 1},
		"redis://h?wait=0":                                    {hosts: "h:6379"},
		"redis://h?wait=100":                                  {hosts: "h:6379", wait: 100},
		"redis://u:p@s1,s2:26379/1?sentinel=m":                {hosts: "s1:26379 s2:26379", user: "u", password: "p", database: 1, sentinel: "m"},
		"redis://s?sentinel=m&sentinel-password-file=" + file: {hosts: "s:26379", sentinel: "m", watcherWord: "s3cret"},
		"redis://s?sentinel=m&sentinel-user=w&sentinel-password-file=" + file: {hosts: "s:26379", sentinel: "m", watcher: "w", watcherWord: "s3cret"},
	} {
		if want.namespace == "" {
			want.namespace = DefaultNamespace
		}
		got, err := targetOf(t, raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		p := parts{strings.Join(got.Hosts, " "), got.User, got.Password, got.namespace,
			got.database, got.replicas, got.sentinel, got.sentinelUser, got.sentinelPassword}
		if p != want || got.TLS != nil {
			t.Errorf("%s: got %+v, want %+v", raw, p, want)
		}
	}
}

func TestURLErrorNamesThePartAtFault(t *testing.T) {
	file := passwordFile(t)
	for raw, want := range map[string]string{
		"http://h":                          `scheme "http"`,
		"redis://":                          "no host",
		"redis:///1":                        "no host",
		"redis://h:0":                       `port "0"`,
		"redis://h1,,h2":                    "no name or address",
		"redis://h,h:6379":                  "given twice",
		"redis://h?db=1":                    `unknown parameter "db"`,
		"redis://:secret@h?Namespace=a":     `unknown parameter "Namespace"`,
		"redis://h?wait=1&wait=2":           `"wait" is given 2 times`,
		"redis://h?namespace=":              `"namespace" is empty`,
		"redis://:secret@h?namespace=a%7Db": `namespace "a}b"`,
		"redis://h?namespace=a/b":           `namespace "a/b"`,
		"redis://h?namespace=%C3%BC":        "namespace",
		"redis://h?namespace=x%20y":         `namespace "x y"`,
		"redis://h?namespace=" + strings.Repeat("n", 65):        "1 to 64",
		"redis://h?wait=some":                                   "wait=some",
		"redis://h?wait=-1":                                     "wait=-1",
		"redis://h?wait=101":                                    "wait=101",
		"redis://:secret@h/jobs":                                `path "/jobs"`,
		"redis://h/-1":                                          `path "/-1"`,
		"redis://h/1/2":                                         `path "/1/2"`,
		"redis://u@h":                                           `user "u" has no password`,
		"redis://u:secret@h?password-file=" + file:              "give one",
		"redis://h?password-file=/does/not/be":                  "/does/not/be",
		"redis://h?sentinel=":                                   `"sentinel" is empty`,
		"redis://h?sentinel-user=w":                             "need sentinel=NAME",
		"redis://h?sentinel-password-file=" + file:              "need sentinel=NAME",
		"redis://h?sentinel=m&sentinel-user=w":                  "needs sentinel-password-file",
		"redis://h?sentinel=m&sentinel-password-file=/no/where": "/no/where",
		"redis://h#1":                                           "#",
		"redis://h?cacert=x":                                    "rediss://",
		"rediss://h?cacert=/does/not/be":                        "cacert: open /does/not/be",
	} {
		_, err := targetOf(t, raw)
		switch {
		case err == nil:
			t.Errorf("%s: accepted, want an error about %q", raw, want)
		case !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") && !strings.Contains(err.Error(), file):
			t.Errorf("%s: %v, want %q in it", raw, err, want)
		case !driver.IsPermanent(err):
			t.Errorf("%s: %v is not permanent", raw, err)
		}
	}
}

// Nobody answers: the error says who was asked, and not with which password.
func TestHostsAreTriedAndNamed(t *testing.T) {
	busy := errors.New("is busy")
	for raw, want := range map[string][]string{
		"redis://u:secret@h":                     {"h:6379"},
		"redis://u:secret@h1,h2,h3:9":            {"h1:6379", "h2:6379", "h3:9"},
		"redis://u:secret@s1:1,s2:2?sentinel=m":  {"s1:1", "s2:2"},
		"rediss://u:secret@s1:1,s2:2?sentinel=m": {"s1:1", "s2:2"},
	} {
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		tried := map[string]bool{}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err = OpenWith(ctx, u, nil, func(_ context.Context, _, addr string) (net.Conn, error) {
			mu.Lock()
			defer mu.Unlock()
			tried[addr] = true
			return nil, busy
		})
		cancel()
		mu.Lock()
		for _, addr := range want {
			if !tried[addr] {
				t.Errorf("%s: %s was not tried", raw, addr)
			}
		}
		for addr := range tried {
			if !slices.Contains(want, addr) {
				t.Errorf("%s: %s was tried", raw, addr)
			}
		}
		mu.Unlock()
		if err == nil || driver.IsPermanent(err) || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), strings.Join(want, ", ")) {
			t.Errorf("%s: Open returned %v, want a temporary error that names the servers", raw, err)
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, raw := range append(urltest.Seeds("redis"), "redis://u:p@h1:1,h2/2?ttl=1s&wait=3&namespace=x", "redis://[::1]:9/?sentinel=x",
		"redis://h/+7", "redis://h?wait=007", "redis://h/99999999999999999999") {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := storeurl.Split(raw)
		if err != nil || u.Query().Has("password-file") || u.Query().Has("sentinel-password-file") || u.Scheme == "rediss" {
			return // reads files
		}
		got, err := parseTarget(u)
		if err != nil {
			if !driver.IsPermanent(err) || urltest.HasSecret(raw) && strings.Contains(err.Error(), urltest.Secret) {
				t.Errorf("%q: %v is not permanent, or tells the password", raw, err)
			}
			return
		}
		if len(got.Hosts) == 0 || checkNamespace(got.namespace) != nil || got.database < 0 || got.replicas < 0 || got.replicas > maxReplicas {
			t.Errorf("%q: %+v", raw, got)
		}
		if path := strings.Trim(u.Path, "/"); path != "" && path != fmt.Sprint(got.database) {
			t.Errorf("%q is the database %d", raw, got.database)
		}
	})
}
