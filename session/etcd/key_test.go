package etcd

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
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
			c := driver.Claim{Name: "billing/nightly", ID: someID, Kind: kind, Mode: driver.Exclusive, Info: info, Value: "a\nb"}
			key, value := ks.entry(0x1234abcd, c, 7)
			name, base, ok := ks.split(key)
			if !ok || name != c.Name {
				t.Fatalf("%s: split(%q) = %q, %v", what, key, name, ok)
			}
			l, ours, err := parseEntry(base, value)
			if err != nil || !ours {
				t.Fatalf("%s: parseEntry(%q, %q): ours %v, %v", what, base, value, ours, err)
			}
			if l.id != c.ID || l.kind != kind || l.mode != c.Mode || !l.info.Since.Equal(info.Since) ||
				l.info.Note != info.Note || !l.info.Trace.Equal(info.Trace) || l.value != c.Value {
				t.Errorf("%s: parseEntry(%q, %q) = %+v", what, base, value, l)
			}
			if inKey(kind) != (l.slot == -1) || inKey(kind) != (value == c.Value) {
				t.Errorf("%s: %s = %q has slot %d", what, key, value, l.slot)
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
		if err := checkClaim(c); !driver.IsPermanent(err) {
			t.Errorf("%s: checkClaim returned %v, want a permanent error", what, err)
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
		"by hand-f1xm-0":                    foreign,
		"1-f1xm-0":                          good,
		"1-f1xm-12":                         good,
		"1-f1zz-0":                          good, // letters of a later release
		"1-f1xe-" + someID + "-":            good,
		"1-f1xm":                            garbled,
		"1-f1xm--1":                         garbled,
		"1-f1xm-99999999999":                garbled,
		"1-f1xm-" + someID + "-":            garbled,
		"1-f1x-0":                           garbled,
		"1-f1xme-0":                         garbled,
		"1-f01xm-0":                         garbled, // not as we write it
		"1-f1xm-00":                         garbled,
		"1-f1xe-" + someID:                  garbled,
		"1-f1xe-" + someID[1:] + "-":        garbled,
		"1-f1xe-" + someID + "-!":           garbled,
		"1-f1xe-" + someID + "-bg":          garbled, // a field cut short
		"1-f0xm-0":                          garbled,
		"1-f2xm-0":                          newer,
		"1-f2":                              newer,
		"1-f12anything at all":              newer,
		"1-f99999999999999999999xm-" + "ff": foreign, // no version number
	} {
		_, ours, err := parseEntry(base, someID+"-\nvalue")
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
			t.Errorf("parseEntry(%q): %s, want %s (%v)", base, got, want, err)
		}
	}
}

func TestGarbledValuesAreTold(t *testing.T) {
	for _, value := range []string{"", "\n", "value", someID, someID + "-", someID + "\n", someID + "-!\n", someID[1:] + "-\n"} {
		if l, ours, err := parseEntry("1-f1xm-0", value); !ours || err == nil {
			t.Errorf("parseEntry of the value %q: %+v", value, l)
		}
	}
}

func TestSlotIsOneEntrysAtATime(t *testing.T) {
	s := newSlots()
	held := map[int]string{}
	for i := range 100 {
		id := fmt.Sprint(i)
		slot := s.take("q", id, true, false)
		if held[slot] != "" || s.take("q", id, true, false) != slot || s.owner("q", slot) != id {
			t.Fatalf("slot %d of %s is taken by %q", slot, id, held[slot])
		}
		held[slot] = id
		if i >= 10 { // ten at a time
			gone := fmt.Sprint(i - 10)
			slot := s.find(gone)
			s.free("q", gone)
			s.free("q", gone) // late, or retried
			delete(held, slot)
		}
	}
	for slot := range held {
		if slot > 20 {
			t.Errorf("slot %d is in use though few are", slot)
		}
	}
	for _, id := range held {
		s.free("q", id)
	}
	if len(s.used) != 0 || len(s.of) != 0 {
		t.Errorf("left behind: %v %v", s.used, s.of)
	}
}

// A delete without guard whose answer was lost, or is still awaited, may arrive
// when its key would be another entry's.
func TestSlotWithADeleteUnderWayIsNeverUsedAgain(t *testing.T) {
	s := newSlots()
	slot := s.take("q", "a", true, false)
	s.made("a", 7)
	if s.claim("a", 6) || s.claim("b", 7) {
		t.Error("a delete without guard would be sent for an entry that is not there")
	}
	if !s.claim("a", 7) || s.claim("a", 7) {
		t.Error("a delete without guard is sent once")
	}
	s.free("q", "a") // another request has found the entry gone
	s.deleted("a")
	for i := range 50 {
		id := fmt.Sprint(i)
		if s.take("q", id, true, false) == slot {
			t.Fatal("the slot was given to another")
		}
		s.made(id, uint64(10+i))
		if !s.claim(id, uint64(10+i)) {
			t.Fatal("no delete without guard")
		}
		s.deleted(id)
		s.free("q", id)
	}
	if len(s.used["q"]) != 1 || len(s.of) != 0 {
		t.Errorf("left behind: %v %v", s.used, s.of)
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
		"694d8f5a", "1-f1xm-0", "1-f2xm", "1-f1xe-" + someID + "-cwIBAg", "a/b", "1-f1xe-" + someID + "-bv8", "-f1-", "1-f",
	} {
		f.Add(base, int64(7), []byte("value"))
		f.Add(base, int64(7), []byte(someID+"-cwIBAg\nvalue"))
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
		case e.Token != 3 || e.Version != 4 || !strings.HasSuffix(string(value), e.Value) || e.Key != string(kv.Key) || e.Mode == "":
			t.Errorf("entry of %q: %+v", base, e)
		case e.ID != "" && !isID(e.ID):
			t.Errorf("entry of %q has the ID %q", base, e.ID)
		case e.ID != "" && !inKey(e.Kind): // what Update would write is read as the same
			kv.Value = []byte(stored(e, e.Value))
			if same, ok, err := s.entry("q", kv); err != nil || !ok || same.ID != e.ID || same.Value != e.Value || !sameInfo(same.Info, e.Info) {
				t.Errorf("entry of %q: %+v comes back as %+v, %v, %v", base, e, same, ok, err)
			}
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
		if err != nil || !sameInfo(again, info) {
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

func sameInfo(a, b driver.Info) bool {
	return a.Note == b.Note && a.Since.Equal(b.Since) && (a.Trace.Equal(b.Trace) || !b.Trace.IsValid())
}

// What is written for a claim is read as the claim, whatever its parts are.
func FuzzClaim(f *testing.F) {
	f.Add("", "billing/nightly", "note", "value", int64(1), int64(1_700_000_000_123), 0, byte('x'), byte('m'))
	f.Add("/team/a", "a-f1xm-0/b", "-\n/", "\n-\n", int64(-1), int64(-1), 1<<31-1, byte('s'), byte('s'))
	f.Add("x", "q", "", "", int64(1<<62), int64(0), 7, byte('r'), byte('w'))
	f.Add("x", "q", "\xff", "v", int64(5), int64(9), 0, byte('x'), byte('e'))
	f.Fuzz(func(t *testing.T, prefix, name, note, value string, lease, since int64, slot int, mode, kind byte) {
		c := driver.Claim{Name: name, ID: someID, Kind: kinds[kind], Mode: modes[mode], Value: value,
			Info: driver.Info{Note: note, Since: time.UnixMilli(since)}}
		if driver.CheckName(name) != nil || checkClaim(c) != nil || !utf8.ValidString(note) || lease <= 0 || slot < 0 || slot > 1<<31-1 {
			return
		}
		ks := newKeyspace(prefix)
		key, stored := ks.entry(clientv3.LeaseID(lease), c, slot)
		at, base, ok := ks.split(key)
		l, ours, err := parseEntry(base, stored)
		if !ok || at != name || !ours || err != nil {
			t.Fatalf("%+v is written as %q = %q, which is in the queue %q, %v, ours %v, %v", c, key, stored, at, ok, ours, err)
		}
		if l.id != c.ID || l.kind != c.Kind || l.mode != c.Mode || l.value != value || !sameInfo(l.info, c.Info) || l.slot != slot && l.slot != -1 {
			t.Errorf("%+v comes back as %+v", c, l)
		}
	})
}

// A limit is read as it was written, and what is no limit is refused with the key to delete.
func FuzzLimit(f *testing.F) {
	for _, value := range []string{`{"limit":3,"through":7,"stamp":true}`, `{"limit":0}`, `{"limit":-3}`, `{"limit":1e3}`, `{"limit":"3"}`, "null", "", "3", `{"limit":3}x`} {
		f.Add([]byte(value))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		const key = "/p/.fairlead/v1/limit/q"
		read := func(value []byte) (driver.Limit, error) {
			return limitOf("q", []*mvccpb.KeyValue{{Key: []byte(key), Value: value, ModRevision: 9}})
		}
		l, err := read(value)
		if err != nil {
			if !driver.IsPermanent(err) || !strings.Contains(err.Error(), key) {
				t.Errorf("%q: %v is not permanent, or does not name the key", value, err)
			}
			return
		}
		if again, err := read([]byte(limitRecord{l.N, l.Through, l.Stamp}.encode())); err != nil || again != l || l.N < 1 {
			t.Errorf("%q is the limit %+v, which comes back as %+v, %v", value, l, again, err)
		}
	})
}
