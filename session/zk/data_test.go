package zk

import (
	"maps"
	"strings"
	"testing"
	"time"

	gozk "github.com/go-zookeeper/zk"
	"go.opentelemetry.io/otel/trace"

	"github.com/fairlead-go/fairlead/session/driver"
)

func someSpan() trace.SpanContext {
	return trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1, 2, 15: 3}, SpanID: trace.SpanID{4, 7: 5}, TraceFlags: trace.FlagsSampled, Remote: true,
	})
}

func TestEntrySurvivesTheRoundTrip(t *testing.T) {
	for what, info := range map[string]driver.Info{
		"nothing": {},
		"since":   {Since: time.UnixMilli(1_700_000_000_123)},
		"before":  {Since: time.UnixMilli(-5)},
		"trace":   {Trace: someSpan()},
		"note":    {Note: "Ärger\n\"mit\" \u2028 <Zeichen> " + strings.Repeat("x", driver.MaxNote)},
		"all":     {Since: time.UnixMilli(1), Trace: someSpan(), Note: header},
	} {
		for _, value := range []string{"", "v", "\n", "a\nb", "\x00\xff", header, header + "{\"layout\":9}\n", strings.Repeat("x", driver.MaxValue)} {
			e := driver.Entry{ID: someID, Mode: driver.Shared}
			if err := decodeEntry(&e, encodeEntry("rwmutex", info, value)); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if e.ID != someID || e.Mode != driver.Shared || e.Kind != "rwmutex" || e.Value != value {
				t.Errorf("%s: the entry is %+v, want the value %q", what, e, value)
			}
			if !e.Info.Since.Equal(info.Since) || e.Info.Note != info.Note || !e.Info.Trace.Equal(info.Trace) {
				t.Errorf("%s: the info is %+v, want %+v", what, e.Info, info)
			}
		}
	}
}

func TestDataOfOthersAreAValueAndNoneOfOurs(t *testing.T) {
	for _, data := range []string{
		"", "\n", "10.0.0.1", "host/4711", "\xff\x00\n", "{}", "{\"layout\":1}\n", "fairlead", header, header + "\n",
		header + "{}", header + "{\n", header + "{\"layout\":1", header + "[]\n", header + "1\n", header + "{\"layout\":\"1\"}\nv",
		header + "{\"layout\":1,\"kind\":7}\nv", header + "{\"layout\":1e99}\n", header + "{\"layout\":1.5}\n",
		header + "{\"layout\":1}{\"layout\":1}\n", "Fairlead {\"layout\":1}\n", " " + header + "{\"layout\":1}\n",
		header + strings.Repeat("[", 1<<16) + "\n", header + "{}\nv", header + "null\nv", header + "{\"layout\":-1}\nv", header + "{\"layout\":0,\"kind\":\"mutex\"}\nv",
	} {
		e := driver.Entry{ID: someID, Mode: driver.Exclusive}
		if err := decodeEntry(&e, []byte(data)); err != nil || e.ID != "" || e.Kind != "" || e.Value != data || e.Mode != driver.Exclusive {
			t.Errorf("decodeEntry(%.60q): %v, ID %q, kind %q, value %.60q", data, err, e.ID, e.Kind, e.Value)
		}
	}
}

func TestNewerLayoutIsRefused(t *testing.T) {
	for _, head := range []string{
		"{\"layout\":2}", "{\"layout\":2147483647,\"more\":[]}", "{\"kind\":\"mutex\",\"layout\":2,\"since\":5}",
		"{\"layout\":2,\"since\":\"2030-01-01\"}", "{\"since\":{},\"layout\":3}", // whose fields are others
	} {
		e := driver.Entry{Key: "/q/node", ID: someID}
		err := decodeEntry(&e, []byte(header+head+"\nvalue"))
		if !driver.IsPermanent(err) || !strings.Contains(err.Error(), "/q/node") || !strings.Contains(err.Error(), "upgrade") {
			t.Errorf("decodeEntry of %s returned %v, want a permanent error that names the node and what to do", head, err)
		}
	}
}

func TestGarbledLimitIsAnErrorThatTellsWhatToDo(t *testing.T) {
	s, err := newStore(Config{Servers: []string{"h:2181"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.root = "/team"
	defer s.cancel()
	at := func(data string) (driver.Limit, error) {
		return s.limitOf("a/b", node{[]byte(data), &gozk.Stat{Mzxid: 7}})
	}
	want := driver.Limit{N: 3, Through: 1 << 63, Stamp: true, Version: 7}
	if got, err := at(string(limitRecord{want.N, want.Through, want.Stamp}.encode())); err != nil || got != want {
		t.Fatalf("the limit is %+v, %v, want %+v", got, err, want)
	}
	for _, data := range []string{
		"", "3", "{}", "[]", "null", "{\"limit\":0}", "{\"limit\":-1}", "{\"limit\":\"3\"}", "{\"limit\":3", "{\"limit\":1e30}",
		"{\"limit\":3,\"through\":-1}", "{\"limit\":3,\"stamp\":1}", "\xff\x00", "{\"limit\":3}}", "fairlead {\"limit\":3}\n",
	} {
		got, err := at(data)
		if !driver.IsPermanent(err) || !strings.Contains(err.Error(), "\"/team/.fairlead/v1/limit/a%2Fb\"") || !strings.Contains(err.Error(), "delete") {
			t.Errorf("of %q the limit is %+v, %v, want a permanent error that names the node", data, got, err)
		}
	}
}

func TestOwnerByAGarbledNodeIsNotKnown(t *testing.T) {
	if got := decodeSession(sessionRecord{Identity: "Ärger \"1\""}.encode()).Identity; got != "Ärger \"1\"" {
		t.Errorf("the identity came back as %q", got)
	}
	for _, data := range []string{"", "me", "[]", "null", "{}", "{\"identity\":7}", "{\"identity\":", "\xff"} {
		if got := decodeSession([]byte(data)).Identity; got != "" {
			t.Errorf("decodeSession(%q) = %q", data, got)
		}
	}
}

func FuzzDecodeEntry(f *testing.F) {
	f.Add([]byte("10.0.0.1"))
	f.Add(encodeEntry("mutex", driver.Info{Note: "n", Since: time.UnixMilli(1), Trace: someSpan()}, "v"))
	f.Add([]byte(header + "{\"layout\":2}\nv"))
	f.Add([]byte(header + "{\"layout\":1,\"trace\":\"-\"}\n"))
	f.Add([]byte(header + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		e := driver.Entry{ID: someID, Key: "/q/node"}
		switch err := decodeEntry(&e, data); {
		case err != nil:
			if !driver.IsPermanent(err) {
				t.Errorf("%q: %v is not permanent", data, err)
			}
		case e.ID == "":
			if e.Value != string(data) {
				t.Errorf("%q: the value of a foreign entry is %q", data, e.Value)
			}
		default: // ours: what it says can be written again
			again := driver.Entry{ID: someID, Key: "/q/node"}
			err := decodeEntry(&again, encodeEntry(e.Kind, e.Info, e.Value))
			if err != nil || again.Kind != e.Kind || again.Value != e.Value || again.Info.Note != e.Info.Note || !again.Info.Since.Equal(e.Info.Since) ||
				!again.Info.Trace.Equal(e.Info.Trace) {
				t.Errorf("%q: %+v came back as %+v, %v", data, e, again, err)
			}
		}
	})
}

func FuzzLimit(f *testing.F) {
	f.Add([]byte("{\"limit\":3,\"through\":7,\"stamp\":true}"))
	f.Add([]byte("{\"limit\":-3}"))
	f.Add([]byte("null"))
	s, err := newStore(Config{Servers: []string{"h:2181"}}, nil)
	if err != nil {
		f.Fatal(err)
	}
	s.cancel()
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := s.limitOf("q", node{data, &gozk.Stat{}})
		if err != nil {
			if !driver.IsPermanent(err) || !strings.Contains(err.Error(), s.limitPath("q")) {
				t.Errorf("%q: %v is not permanent, or does not name the node", data, err)
			}
			return
		}
		again, err := s.limitOf("q", node{limitRecord{l.N, l.Through, l.Stamp}.encode(), &gozk.Stat{}})
		if err != nil || again != l || l.N < 1 {
			t.Errorf("%q is the limit %+v, which comes back as %+v, %v", data, l, again, err)
		}
	})
}

// What a session's node says is read as it was written, and is not known where somebody
// else wrote.
func FuzzSessionRecord(f *testing.F) {
	for _, data := range []string{
		`{"identity":"host/1"}`, `{"identity":"a","marks":{"00":{"by":"ops"}}}`, `{"marks":{"":{}}}`, `{"identity":7}`, "null", "host/1", `{"identity":"\ud800"}`,
	} {
		f.Add([]byte(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := decodeSession(data)
		again := decodeSession(r.encode())
		if again.Identity != r.Identity || !maps.Equal(again.Marks, r.Marks) {
			t.Errorf("%q is the record %+v, which comes back as %+v", data, r, again)
		}
	})
}
