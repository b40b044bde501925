package session_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fairlead-go/fairlead/internal/storeurl/urltest"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/memory"
)

var errAbsent = errors.New("connection refused")

func init() {
	session.Register("absent", func(context.Context, *url.URL, *session.Options) (driver.Store, error) { return nil, errAbsent })
	session.Register("forbidden", func(context.Context, *url.URL, *session.Options) (driver.Store, error) {
		return nil, driver.Permanent(errors.New("wrong password"))
	})
	session.Register("fresh", func(context.Context, *url.URL, *session.Options) (driver.Store, error) {
		return memory.NewStore().Connect(), nil
	})
}

func TestOpenNamesTheOffendingPart(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"", "has no scheme"},
		{"127.0.0.1:2379", "has no scheme"},
		{"nosuch://h", `no backend for the scheme "nosuch"`},
		{"fresh://h?ttl=soon", "ttl=soon"},
		{"fresh://h?ttl=-3s", "ttl=-3s"},
		{"fresh://u:s3cr%zzt@h", "percent-encoded"},
		{"forbidden://u:s3cret@h", "wrong password"},
		// What looks like something else, as it is not encoded.
		{"forbidden://u:1/s3cret@h", "percent-encoded"},
		{"forbidden://u:/s3cret@h", "percent-encoded"},
		{"forbidden://u:12@/s3cret@h", "percent-encoded"},
		{"forbidden://u:?s3cret@h", "percent-encoded"},
		{"forbidden://u:1#s3cret@h/x", "percent-encoded"},
		{"fresh://u:1?ttl=s3cret@h", "percent-encoded"},
		// What other programs take.
		{"u:s3cret@h:1", "no scheme"},
		{"forbidden:u:s3cret@h", "no scheme"},
		{"u:s3c://ret@h", "no scheme"},
		{"//u:s3cret@h", "no scheme"},
		{"forbidden://h/db?user=u&password=s3cret", "wrong password"},
		{"forbidden://h/db#s3cret", "wrong password"},
	} {
		s, err := session.Open(t.Context(), c.url, nil)
		if err == nil {
			s.Close(t.Context())
			t.Errorf("%q: no error", c.url)
			continue
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %q does not say %q", c.url, err, c.want)
		}
		if strings.Contains(err.Error(), "s3cr") {
			t.Errorf("%q: the password is in %q", c.url, err)
		}
	}
}

// Of several hosts, any may have a port.
func TestOpenTakesSeveralHosts(t *testing.T) {
	var got string
	session.Register("hosts", func(_ context.Context, u *url.URL, _ *session.Options) (driver.Store, error) {
		user, _ := url.PathUnescape(u.User.String())
		got = user + "|" + u.Host + "|" + u.Path + "|" + u.Query().Get("ttl")
		return memory.NewStore().Connect(), nil
	})
	for raw, want := range map[string]string{
		"hosts://h1,h2/a":                       "|h1,h2|/a|",
		"hosts://h1:1,h2/a":                     "|h1:1,h2|/a|",
		"hosts://h1,h2:2?ttl=9s":                "|h1,h2:2||9s",
		"hosts://u:p,p@h1:1,h2:2,[::1]":         "u:p,p|h1:1,h2:2,[::1]||",
		"hosts://h/a,b?ttl=9s":                  "|h|/a,b|9s",
		"hosts:///a,b":                          "||/a,b|",
		"hosts://u:p@[::1]:1,h2/a%40b,c?ttl=9s": "u:p|[::1]:1,h2|/a@b,c|9s",
	} {
		s, err := session.Open(t.Context(), raw, nil)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		s.Close(t.Context())
		if got != want {
			t.Errorf("%s was taken for %s, want %s", raw, got, want)
		}
	}
}

func TestOpenGivesUpAfterTenSecondsOrItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := session.Open(context.Background(), "absent://h", nil)
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("gave up after %v", took)
		}
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errAbsent) {
			t.Errorf("error %v", err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start = time.Now()
		_, err = session.Open(ctx, "absent://h", nil)
		if took := time.Since(start); took != time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("gave up after %v with %v", took, err)
		}
	})
}

func TestTTLComesFromOptionsElseURLElseDefault(t *testing.T) {
	for _, c := range []struct {
		url  string
		opts *session.Options
		want time.Duration
	}{
		{"fresh://h", nil, 15 * time.Second},
		{"fresh://h?ttl=40s", nil, 40 * time.Second},
		{"fresh://h?ttl=40s", &session.Options{TTL: 7 * time.Second}, 7 * time.Second},
	} {
		s, err := session.Open(t.Context(), c.url, c.opts)
		if err != nil {
			t.Fatal(err)
		}
		if s.TTL() != c.want {
			t.Errorf("%s %+v: TTL %v", c.url, c.opts, s.TTL())
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	for _, opts := range []*session.Options{
		{TTL: -1}, {Margin: -1}, {TTL: time.Second, Margin: time.Second}, {TTL: time.Second, Margin: time.Minute},
	} {
		if s, err := session.Open(t.Context(), "fresh://h", opts); err == nil {
			s.Close(t.Context())
			t.Errorf("%+v was accepted", opts)
		}
	}
}

// Whatever comes of a URL, its password is in no error.
func FuzzOpen(f *testing.F) {
	for _, raw := range append(urltest.Seeds("forbidden"), "nosuch://u:S3CRET@h", "forbidden://u:S3CRET@h?ttl=no", "forbidden://u:S3CRET@h?ttl=%20") {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if strings.HasPrefix(strings.ToLower(raw), "absent:") {
			return // which is tried for ten seconds
		}
		s, err := session.Open(t.Context(), raw, nil)
		if err == nil {
			s.Close(t.Context())
			return
		}
		if urltest.HasSecret(raw) && strings.Contains(err.Error(), urltest.Secret) {
			t.Errorf("the password of %q is in %q", raw, err)
		}
	})
}
