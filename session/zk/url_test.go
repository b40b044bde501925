package zk

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/internal/storeurl"
	"github.com/fairlead-go/fairlead/internal/storeurl/urltest"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// opened opens a URL whose servers all answer, and returns the store without
// closing it: it has connected to nobody.
func opened(t testing.TB, raw string) (*store, error) {
	t.Helper()
	u, err := storeurl.Split(raw)
	if err != nil {
		return nil, driver.Permanent(err) // as session.Open ends with it
	}
	return openedAt(t, u)
}

func openedAt(t testing.TB, u *url.URL) (*store, error) {
	t.Helper()
	st, err := OpenWith(t.Context(), u, &session.Options{}, func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		return near, far.Close()
	})
	if err != nil {
		return nil, err
	}
	return st.(*store), st.Close()
}

func TestURLSaysWhereAndWho(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	type parts struct {
		servers    []string
		root, auth string
		creator    bool
	}
	for raw, want := range map[string]parts{
		"zk://h":                         {servers: []string{"h:2181"}},
		"zk://h:1/":                      {servers: []string{"h:1"}},
		"zk://h//":                       {servers: []string{"h:2181"}},
		"zk://h1:1,h2,h3:3/a/b":          {servers: []string{"h1:1", "h2:2181", "h3:3"}, root: "/a/b"},
		"zk://h/a/b/":                    {servers: []string{"h:2181"}, root: "/a/b"},
		"zk://[::1]:9/a%20b/%C3%BC":      {servers: []string{"[::1]:9"}, root: "/a b/ü"},
		"zk://h/100%25":                  {servers: []string{"h:2181"}, root: "/100%"},
		"zk://u:p%40%3A%2F@h?ttl=3s":     {servers: []string{"h:2181"}, auth: "u:p@:/"},
		"zk://u:p@h:1/a?acl=creator":     {servers: []string{"h:1"}, root: "/a", auth: "u:p", creator: true},
		"zk://u@h?password-file=" + file: {servers: []string{"h:2181"}, auth: "u:s3cret"},
		"zk://u@h?acl=creator&ttl=1s&password-file=" + file: {servers: []string{"h:2181"}, auth: "u:s3cret", creator: true},
	} {
		s, err := opened(t, raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		got := parts{servers: s.servers, root: s.root, creator: s.acl[0].Scheme == "auth"}
		if len(s.auth) > 0 {
			got.auth = string(s.auth[0].Data)
		}
		if !slices.Equal(got.servers, want.servers) || got.root != want.root || got.auth != want.auth || got.creator != want.creator {
			t.Errorf("%s: got %+v, want %+v", raw, got, want)
		}
		if len(s.acl) != 1 || s.acl[0].Perms != gozk.PermAll {
			t.Errorf("%s: the ACL is %+v", raw, s.acl)
		}
	}
}

func TestURLErrorNamesThePartAtFault(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for raw, want := range map[string]string{
		"http://h":                  `scheme "http"`,
		"zk://":                     "no host",
		"zk:///chroot":              "no host",
		"zk://h:0":                  `port "0"`,
		"zk://h1:x,h2:1":            `port ":x"`,
		"zk://h1,,h2":               "no name or address",
		"zk://h,h:2181":             "given twice",
		"zk://h?chroot=a":           `unknown parameter "chroot"`,
		"zk://h?ttl=3s&ttl=4s":      `"ttl" is given 2 times`,
		"zk://h?acl=":               `"acl" is empty`,
		"zk://h?acl=creator":        "needs a user",
		"zk://u:secret@h?acl=world": "acl=world",
		"zk://u:secret@h?acl=creator&acl=creator": `"acl" is given 2 times`,
		"zk://u@h?acl=creator":                    `user "u" has no password`,
		"zk://:secret@h":                          "no user",
		"zk://u@h?password-file=/does/not/be":     "/does/not/be",
		"zk://h/a//b":                             `part ""`,
		"zk://h//a":                               `part ""`,
		"zk://h/a/./b":                            `part "."`,
		"zk://h/..":                               `part ".."`,
		"zk://h/a/%00":                            `part "\x00"`,
		"zk://h/a%0Ab":                            `part "a\nb"`,
		"zk://h/%F0%9F%98%80":                     "does not allow",
		"zk://h/%EE%80%80":                        "does not allow",
		"zk://h/a#b":                              "#",
		"zk://h?a=%zz":                            "after the ?",
		"zk://h?cacert=x":                         "zks://",
		"zk://h?cert=x&key=y":                     "zks://",
		"zks://h?cacert=":                         `"cacert" is empty`,
		"zks://h?cacert=/does/not/be":             "cacert: open /does/not/be",
		"zks://h?cacert=" + junk:                  "no certificate in PEM form",
		"zks://h?cert=" + junk:                    "without key",
		"zks://h?key=" + junk:                     "without cert",
		"zks://h?cert=" + junk + "&key=" + junk:   junk,
	} {
		_, err := opened(t, raw)
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

// The server splits at the first colon, and so would take it for another user.
func TestUserWithAColonIsRefused(t *testing.T) {
	if s, err := opened(t, "zk://a%3Ab:secret@h"); !driver.IsPermanent(err) {
		t.Errorf("the user a:b becomes %q, %v, want a permanent error", s.auth[0].Data, err)
	}
}

// A path that is not UTF-8 cannot be written as Java does.
func TestPathThatIsNotUTF8IsRefused(t *testing.T) {
	if s, err := opened(t, "zk://h/a/%FF"); !driver.IsPermanent(err) {
		t.Errorf("the root is %q, %v, want a permanent error", s.root, err)
	}
}

func TestServersAreTriedInTurnAndNamed(t *testing.T) {
	u, err := url.Parse("zk://u:secret@h1,h2,h3:9/a")
	if err != nil {
		t.Fatal(err)
	}
	var tried []string
	busy := errors.New("is busy")
	_, err = OpenWith(t.Context(), u, nil, func(_ context.Context, _, addr string) (net.Conn, error) {
		tried = append(tried, addr)
		return nil, busy
	})
	if want := []string{"h1:2181", "h2:2181", "h3:9"}; !slices.Equal(tried, want) {
		t.Errorf("%v were tried, want %v", tried, want)
	}
	if !errors.Is(err, busy) || driver.IsPermanent(err) || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "h1:2181, h2:2181, h3:9") {
		t.Errorf("Open returned %v, want a temporary error that names the servers", err)
	}
	tried = nil
	st, err := OpenWith(t.Context(), u, nil, func(_ context.Context, _, addr string) (net.Conn, error) {
		if tried = append(tried, addr); len(tried) < 2 {
			return nil, busy
		}
		near, far := net.Pipe()
		return near, far.Close()
	})
	if err != nil || len(tried) != 2 {
		t.Fatalf("with one server that answers Open returned %v after %v", err, tried)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}

func FuzzURL(f *testing.F) {
	for _, raw := range append(urltest.Seeds("zk"), "zk://u:p@h1:1,h2/a?ttl=1s&acl=creator", "zk://[::1]:9/?acl=x", "zk://h/a//..", "zk://h/%F0%9F%98%80") {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := storeurl.Split(raw)
		if err != nil || u.Query().Has("password-file") || u.Scheme == "zks" {
			return // reads files
		}
		s, err := openedAt(t, u)
		if err != nil {
			if !driver.IsPermanent(err) || urltest.HasSecret(raw) && strings.Contains(err.Error(), urltest.Secret) {
				t.Errorf("%q: %v is not permanent, or tells the password", raw, err)
			}
			return
		}
		if len(s.servers) == 0 || len(s.auth) > 1 {
			t.Errorf("%q: %+v", raw, s)
		}
		for _, part := range strings.Split(s.root, "/")[1:] {
			if err := allowedByServer(part); err != nil {
				t.Errorf("%q: %v", raw, err)
			}
		}
	})
}
