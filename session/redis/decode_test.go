package redis

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

// records are what may be found as those of entries.
var records = []string{
	"7 9 s1 i1 exclusive\n{\"layout\":1,\"kind\":\"mutex\"}\nvalue\nmore",
	"7 7 s i shared\n{\"layout\":1,\"kind\":\"rwmutex\",\"since\":-1,\"note\":\"\\u0000\",\"trace\":\"00-01020000000000000000000000000003-0400000000000005-03\"}\n",
	"7 7 s i permit\n{\"layout\":2,\"since\":\"a time\"}\n3 granted", "7  7 s i exclusive\n{\"layout\":1}\n", "07 7 s i exclusive\n{\"layout\":1}\n",
	"7 7 s i exclusive\nnull\n", "7 7 s i exclusive", "", "7 7 s\ti exclusive x\n{}\n",
}

// A record of ours, as it would be written anew, is read as the same. What is not spelled as
// the scripts spell it is refused, with the key that it is under.
func FuzzRecord(f *testing.F) {
	for _, text := range records {
		f.Add(text, "1000")
	}
	f.Add(records[0], "9223372036854775807")
	f.Add(records[0], "-")
	s := &store{prefix: "{ns}:"}
	f.Fuzz(func(t *testing.T, text, left string) {
		e, err := s.decodeEntry("q", "id", text, left)
		if err != nil {
			if !driver.IsPermanent(err) || !strings.Contains(err.Error(), "{ns}:d:q") {
				t.Errorf("%q: %v is not permanent, or does not name the key", text, err)
			}
			return
		}
		head, _, _ := strings.Cut(text, "\n")
		words := strings.Split(head, " ")
		if len(words) != 5 || words[0] != fmt.Sprint(e.Token) || words[1] != fmt.Sprint(e.Version) || words[2] != e.Lease || words[4] != string(e.Mode) {
			t.Errorf("%q is read as %+v", text, e)
		}
		if (e.TTLLeft < 0) != strings.HasPrefix(left, "-") && e.TTLLeft != 0 || e.TTLLeft%time.Millisecond != 0 {
			t.Errorf("%s milliseconds are %v", left, e.TTLLeft)
		}
		info := encodeInfo(e.Identity, driver.Claim{Kind: e.Kind, Info: e.Info})
		again, err := s.decodeEntry("q", "id", head+"\n"+info+"\n"+e.Value, left)
		if err != nil || again.Kind != e.Kind || again.Identity != e.Identity || again.Value != e.Value || again.Info.Note != e.Info.Note ||
			!again.Info.Since.Equal(e.Info.Since) || !again.Info.Trace.Equal(e.Info.Trace) {
			t.Errorf("%q is %+v, which comes back as %+v, %v", text, e, again, err)
		}
	})
}

// A limit is written as it was read, or refused.
func FuzzLimit(f *testing.F) {
	for _, text := range []string{"", "3 7 1 9", "3 7 2 9", "03 0 0 1", "+3 0 0 1", "3 0 0 1 5", "3\n0 0 1", "0 0 0 1", "-1 0 0 1", "3 0 0", "3 0 0 99999999999999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := decodeLimit("q", text)
		switch {
		case err != nil:
			if !driver.IsPermanent(err) || !strings.Contains(err.Error(), `queue "q"`) {
				t.Errorf("%q: %v is not permanent, or does not say where", text, err)
			}
		case text == "" && l != (driver.Limit{}), text != "" && (encodeLimit(l) != text || l.N < 1):
			t.Errorf("%q is the limit %+v", text, l)
		}
	})
}

// Each word of a reply is in the view that is made of it; what has words too many or too few
// is refused.
func FuzzView(f *testing.F) {
	one := []string{"3 7 1 9", "id", records[0], "5"}
	f.Add(strings.Join(one, "\x00"))
	f.Add(strings.Join(append(one, one[1:]...), "\x00"))
	f.Add(strings.Join(append(one, "id"), "\x00"))
	f.Add("\x00\x00\x00")
	f.Add("")
	s := &store{prefix: "{ns}:"}
	f.Fuzz(func(t *testing.T, text string) {
		words := strings.Split(text, "\x00")
		v, err := s.decodeView("q", words)
		if err == nil && (len(words) != 4+3*len(v.Ahead) || v.Me.ID != words[1]) {
			t.Errorf("%q are the view %+v", words, v)
		}
		if err != nil && !strings.Contains(err.Error(), `queue "q"`) && !strings.Contains(err.Error(), "{ns}:d:q") {
			t.Errorf("%q: %v does not say where", words, err)
		}
	})
}

// What is published to a waiter, by whomever, lets in nobody whose turn needs a look at the
// queue.
func FuzzHear(f *testing.F) {
	for _, m := range []string{
		"first x", "behind x y 5 " + records[0], "behind", "behind x y -5 " + records[0], "look x", "look limit", "", " ", "first",
	} {
		f.Add(m, true)
		f.Add(m, false)
	}
	l := &lease{s: &store{prefix: "{ns}:"}}
	f.Fuzz(func(t *testing.T, message string, limit bool) {
		w := &waiting{ear: &listener{notes: make(chan struct{}, 1)}}
		w.ear.put(message)
		me, on := driver.Entry{Name: "q", ID: "me", Mode: driver.Permit}, driver.Obstacles{Limit: true}
		if !limit {
			me.Mode, on = driver.Exclusive, driver.Obstacles{Entries: []driver.Entry{{ID: "x", Version: 9}}}
		}
		next, look, err := l.hear(w, driver.View{Me: me}, on)
		if err != nil && !strings.Contains(err.Error(), "{ns}:d:q") {
			t.Errorf("%q: %v does not say where", message, err)
		}
		if next.Me.ID != "" && (look || err != nil || len(next.Ahead) > 1 || limit) {
			t.Errorf("%q makes the view %+v, %v, %v", message, next, look, err)
		}
	})
}
