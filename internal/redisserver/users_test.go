package redisserver

import (
	"errors"
	"strings"
	"testing"
)

func TestUsersMayDoWhatTheirRulesSayAndTheDefaultUserNothing(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Users: []string{"fairlead on >secret ~{fairlead}:* &{fairlead}:* +set +get"}})
	c := connect(t, s.Addr())
	c.want(t, Error("NOAUTH"), "GET", "{fairlead}:x")
	c.want(t, Error("WRONGPASS"), "AUTH", "fairlead", "guess")
	c.want(t, "OK", "AUTH", "fairlead", "secret")
	c.want(t, "OK", "SET", "{fairlead}:x", "1")
	c.want(t, Error("NOPERM"), "SET", "other", "1")
	c.want(t, Error("NOPERM"), "DEL", "{fairlead}:x")
	if got := do(t, s, "GET", "{fairlead}:x"); got != "1" {
		t.Errorf("the package's own user reads %v, want 1", got)
	}
}

func TestTheDefaultUserIsWhatARuleMakesIt(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Users: []string{"default on nopass +ping"}})
	c := connect(t, s.Addr())
	c.want(t, "PONG", "PING")
	c.want(t, Error("NOPERM"), "GET", "x")
}

func TestDoWorksBesideAPassword(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Settings: map[string]string{"requirepass": "secret"}})
	c := connect(t, s.Addr())
	c.want(t, Error("NOAUTH"), "PING")
	c.want(t, "OK", "AUTH", "secret")
	if got := do(t, s, "PING"); got != "PONG" {
		t.Errorf("PING = %v", got)
	}
}

func TestDoTellsARefusalAndNoPassword(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	_, err := s.Do(bounded(t), "AUTH", "fairlead", "secret")
	refusal, ok := errors.AsType[Error](err)
	if !ok || !strings.HasPrefix(string(refusal), "WRONGPASS ") {
		t.Fatalf("Do = %v, want the server's refusal", err)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Errorf("the password is in %q", err)
	}
}

func TestDoReadsEveryKindOfAnswer(t *testing.T) {
	t.Parallel()
	s := start(t, Config{})
	do(t, s, "RPUSH", "list", "a", "b\r\nc", "")
	got := do(t, s, "EVAL", `return {1, redis.call('LRANGE', 'list', 0, -1), false, redis.error_reply('ERR no'), {}}`, "0").([]any)
	if len(got) != 5 || got[0] != int64(1) || got[2] != nil || got[3] != Error("ERR no") {
		t.Fatalf("EVAL = %#v", got)
	}
	list, _ := got[1].([]any)
	if len(list) != 3 || list[0] != "a" || list[1] != "b\r\nc" || list[2] != "" {
		t.Errorf("a list of strings is %#v", list)
	}
	if empty, ok := got[4].([]any); !ok || len(empty) != 0 {
		t.Errorf("an empty list is %#v", got[4])
	}
}
