package etcd

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead-go/fairlead/internal/storeurl"
	"github.com/fairlead-go/fairlead/internal/storeurl/urltest"
	"github.com/fairlead-go/fairlead/session/driver"
)

func parse(t testing.TB, raw string) (target, error) {
	t.Helper()
	u, err := storeurl.Split(raw)
	if err != nil {
		return target{}, driver.Permanent(err) // as session.Open ends with it
	}
	return parseTarget(u)
}

func TestURLSaysWhereAndWho(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	type parts struct {
		endpoints              []string
		prefix, user, password string
	}
	for raw, want := range map[string]parts{
		"etcd://h":                         {endpoints: []string{"http://h:2379"}},
		"etcd://h:1/":                      {endpoints: []string{"http://h:1"}, prefix: "/"},
		"etcd://h1:1,h2,h3:3/a/b":          {endpoints: []string{"http://h1:1", "http://h2:2379", "http://h3:3"}, prefix: "/a/b"},
		"etcd://[::1]:9/a%20b":             {endpoints: []string{"http://[::1]:9"}, prefix: "/a b"},
		"etcd://[::1]":                     {endpoints: []string{"http://[::1]:2379"}},
		"etcd://u:p%40@h?ttl=3s":           {endpoints: []string{"http://h:2379"}, user: "u", password: "p@"},
		"etcd://u@h?password-file=" + file: {endpoints: []string{"http://h:2379"}, user: "u", password: "s3cret"},
		"etcds://h:1/x":                    {endpoints: []string{"https://h:1"}, prefix: "/x"},
	} {
		got, err := parse(t, raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if !slices.Equal(got.endpoints, want.endpoints) || got.Path != want.prefix || got.User != want.user ||
			got.Password != want.password || (got.TLS != nil) != strings.HasPrefix(raw, "etcds") {
			t.Errorf("%s: got %+v, want %+v", raw, got, want)
		}
	}
}

func TestURLErrorNamesThePartAtFault(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for raw, want := range map[string]string{
		"http://h":                                `scheme "http"`,
		"etcd://":                                 "no host",
		"etcd:///prefix":                          "no host",
		"etcd://h:0":                              `port "0"`,
		"etcd://h:70000":                          `port "70000"`,
		"etcd://h1:x,h2:1":                        `port ":x"`,
		"etcd://:2379":                            "no name or address",
		"etcd://h1,,h2":                           "no name or address",
		"etcd://h,h":                              `"h" is given twice`,
		"etcd://h?tll=3s":                         `unknown parameter "tll"`,
		"etcd://h?ttl=3s&ttl=4s":                  `"ttl" is given 2 times`,
		"etcd://h?cacert=x":                       "etcds://",
		"etcds://h?cacert=":                       `"cacert" is empty`,
		"etcd://h?a=%zz":                          "after the ?",
		"etcd://h/a#b":                            "#",
		"etcd://u@h":                              `user "u" has no password`,
		"etcd://:secret@h":                        "no user",
		"etcd://u:secret@h?password-file=x":       "password-file",
		"etcd://u@h?password-file=/does/not/be":   "/does/not/be",
		"etcds://h?cacert=/does/not/be":           "cacert: open /does/not/be",
		"etcds://h?cacert=" + junk:                "no certificate in PEM form",
		"etcds://h?cert=" + junk:                  "without key",
		"etcds://h?key=" + junk:                   "without cert",
		"etcds://h?cert=" + junk + "&key=" + junk: junk,
	} {
		_, err := parse(t, raw)
		switch {
		case err == nil:
			t.Errorf("%s: accepted, want an error about %q", raw, want)
		case !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: %v, want %q in it", raw, err, want)
		case !driver.IsPermanent(err):
			t.Errorf("%s: %v is not permanent", raw, err)
		}
	}
}

// The endpoints are the hosts, and an error is permanent and has no password in it.
func FuzzURL(f *testing.F) {
	for _, raw := range append(urltest.Seeds("etcd"), "etcds://[::1]:9/?cacert=x#y") {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := storeurl.Split(raw)
		if err != nil || u.Query().Has("password-file") || u.Scheme == "etcds" {
			return // reads files
		}
		got, err := parseTarget(u)
		if err != nil {
			if !driver.IsPermanent(err) || urltest.HasSecret(raw) && strings.Contains(err.Error(), urltest.Secret) {
				t.Errorf("%q: %v is not permanent, or tells the password", raw, err)
			}
			return
		}
		if len(got.endpoints) != strings.Count(u.Host, ",")+1 || got.Path != u.Path || (got.User == "") != (got.Password == "") {
			t.Errorf("%q: %+v", raw, got)
		}
		for _, e := range got.endpoints {
			if !strings.HasPrefix(e, "http://") {
				t.Errorf("%q has the endpoint %q", raw, e)
			}
		}
	})
}
