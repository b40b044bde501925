package etcd

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.opentelemetry.io/otel/trace"

	"github.com/fairlead-go/fairlead/session/driver"
)

const someID = "0123456789abcdef0123456789abcdef"

func TestEntryKeySurvivesTheRoundTrip(t *testing.T) {
	span := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1, 2, 15: 3}, SpanID: trace.SpanID{4, 7: 5}, TraceFlags: trace.FlagsSampled, Remote: true,
	})
	infos := map[string]driver.Info{
		"nothing": {},
		"since":   {Since: time.UnixMilli(1_700_000_000_123)},
		"before":  {Since: time.UnixMilli(-5)},
		"trace":   {Trace: span},
		"note":    {Note: "Ärger - mit / Zeichen_" + strings.Repeat("x", driver.MaxNote)},
		"all":     {Since: time.UnixMilli(1), Trace: span, Note: "n"},
	}
	for what, info := range infos {
		for kind := range kindLetters {
			ks := newKeyspace("/team")
			c := driver.Claim{Name: "billing/nightly", ID: someID, Kind: kind, Mode: driver.Exclusive, Info: info}
			key, err := ks.entry(0x1234abcd, c)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			name, base, ok := ks.split(key)
			if !ok || name != c.Name {
				t.Fatalf("%s: split(%q) = %q, %v", what, key, name, ok)
			}
			l, ours, err := parseLabel(base)
			if err != nil || !ours {
				t.Fatalf("%s: parseLabel(%q): ours %v, %v", what, base, ours, err)
			}
			if l.id != c.ID || l.kind != kind || l.mode != c.Mode || !l.info.Since.Equal(info.Since) ||
				l.info.Note != info.Note || !l.info.Trace.Equal(info.Trace) {
				t.Errorf("%s: parseLabel(%q) = %+v", what, base, l)
			}
		}
	}
}

func TestClaimThatTheLayoutCannotExpressIsRefused(t *testing.T) {
	for what, c := range map[string]driver.Claim{
		"mode": {ID: someID, Kind: "mutex", Mode: "sideways"},
		"kind": {ID: someID, Kind: "barrier", Mode: driver.Exclusive},
		"ID":   {ID: "short", Kind: "mutex", Mode: driver.Exclusive},
	} {
		if key, err := newKeyspace("").entry(1, c); !driver.IsPermanent(err) {
			t.Errorf("%s: entry returned %q, %v, want a permanent error", what, key, err)
		}
	}
}

func TestLabelsOfOthersAreTold(t *testing.T) {
	const (
		foreign = "foreign"
		good    = "good"
		garbled = "garbled"
		newer   = "newer"
	)
	for base, want := range map[string]string{
		"694d8f5a":                          foreign, // concurrency.Mutex, etcdctl
		"":                                  foreign,
		"-":                                 foreign,
		"694d8f5a-":                         foreign,
		"694d8f5a-f":                        foreign,
		"694d8f5a-fx":                       foreign,
		"694d8f5a-rest":                     foreign,
		"by hand-f1xm-" + someID + "-":      foreign,
		"1-f1xm-" + someID + "-":            good,
		"1-f1xm-" + someID:                  garbled,
		"1-f1zz-" + someID + "-":            good, // letters of a later release
		"1-f1xm":                            garbled,
		"1-f1x-" + someID + "-":             garbled,
		"1-f1xme-" + someID + "-":           garbled,
		"1-f1xm-" + someID[1:] + "-":        garbled,
		"1-f1xm-" + someID + "-!":           garbled,
		"1-f1xm-" + someID + "-bg":          garbled, // a field cut short
		"1-f0xm-" + someID + "-":            garbled,
		"1-f2xm-" + someID + "-":            newer,
		"1-f2":                              newer,
		"1-f12anything at all":              newer,
		"1-f99999999999999999999xm-" + "ff": foreign, // no version number
	} {
		_, ours, err := parseLabel(base)
		got := good
		switch {
		case driver.IsPermanent(err):
			got = newer
		case err != nil:
			got = garbled
		case !ours:
			got = foreign
		}
		if got != want {
			t.Errorf("parseLabel(%q): %s, want %s (%v)", base, got, want, err)
		}
	}
}

func TestKeysOutsideQueuesHaveNoName(t *testing.T) {
	ks := newKeyspace("/team")
	for _, key := range []string{
		"/other/a/1", "/team/1", "/team//1", "/team/a//1", "/team/./1", "/team", "", "/team/a\x00b/1",
		ks.session(0x17),
	} {
		if name, _, ok := ks.split(key); ok {
			t.Errorf("split(%q) found the queue %q", key, name)
		}
	}
}

func TestPrefixIsAsWritten(t *testing.T) {
	for prefix, want := range map[string]string{
		"": "a/", "/": "/a/", "/team": "/team/a/", "/team/": "/team/a/", "team": "team/a/", "//x": "//x/a/",
	} {
		if got := newKeyspace(prefix).dir("a"); got != want {
			t.Errorf("under %q the queue a is at %q, want %q", prefix, got, want)
		}
	}
}

func quietStore() *store {
	return &store{keys: newKeyspace("/p"), logger: slog.New(slog.DiscardHandler), warned: map[string]struct{}{}}
}

func FuzzEntry(f *testing.F) {
	for _, base := range []string{
		"694d8f5a", "1-f1xm-" + someID + "-", "1-f2xm", "1-f1xm-" + someID + "-cwIBAg", "a/b", "1-f1xm-" + someID + "-bv8", "-f1-", "1-f",
	} {
		f.Add(base, int64(7), []byte("value"))
	}
	f.Fuzz(func(t *testing.T, base string, lease int64, value []byte) {
		s := quietStore()
		kv := &mvccpb.KeyValue{Key: []byte(s.keys.dir("q") + base), Value: value, Lease: lease, CreateRevision: 3, ModRevision: 4}
		e, ok, err := s.entry("q", kv)
		switch {
		case err != nil:
			if !driver.IsPermanent(err) || !strings.Contains(err.Error(), "layout") {
				t.Errorf("entry of %q: %v", base, err)
			}
		case !ok:
			if lease != 0 && !strings.Contains(base, "/") {
				t.Errorf("the leased key %q is no entry: nobody would wait for it", base)
			}
		case e.Token != 3 || e.Version != 4 || e.Value != string(value) || e.Key != string(kv.Key) || e.Mode == "":
			t.Errorf("entry of %q: %+v", base, e)
		case e.ID != "" && !isID(e.ID):
			t.Errorf("entry of %q has the ID %q", base, e.ID)
		}
		s.keys.split(string(kv.Key))
	})
}

func FuzzInfo(f *testing.F) {
	f.Add("")
	f.Add(encodeInfo(driver.Info{Since: time.UnixMilli(5), Note: "n"}))
	f.Add("dAEA")
	f.Fuzz(func(t *testing.T, s string) {
		info, err := decodeInfo(s)
		if err != nil {
			return
		}
		again, err := decodeInfo(encodeInfo(info))
		if err != nil || again.Note != info.Note || !again.Since.Equal(info.Since) || !again.Trace.Equal(info.Trace) && info.Trace.IsValid() {
			t.Errorf("%q decodes to %+v, which comes back as %+v, %v", s, info, again, err)
		}
	})
}

func FuzzSessionRecord(f *testing.F) {
	f.Add([]byte(sessionRecord{Identity: "host/1"}.encode()))
	f.Add([]byte(`{"identity":7}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := decodeSession(value)
		if err != nil {
			return
		}
		if again, err := decodeSession([]byte(r.encode())); err != nil || again != r {
			t.Errorf("%q decodes to %+v, which comes back as %+v, %v", value, r, again, err)
		}
	})
}
