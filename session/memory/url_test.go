package memory_test

import (
	"strings"
	"testing"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
)

func TestURLsThatMeanSomethingElseAreRefused(t *testing.T) {
	for rest, want := range map[string]string{
		"":                      "memory://NAME",
		"name/path":             "memory://NAME",
		"user:secret@name":      "memory://NAME",
		"name#x":                "memory://NAME",
		"name?tll=3s":           `unknown parameter "tll" (known: ttl)`,
		"name?ttl=":             `parameter "ttl" is empty`,
		"name?ttl=3s&ttl=4s":    "more than once",
		"name?ttl=15ns":         "was a unit forgotten",
		"name?ttl=3s%zz&ttl=4s": "malformed",
	} {
		s, err := session.Open(t.Context(), "memory://"+rest, nil)
		if err == nil {
			_ = s.Close(t.Context())
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", rest, err, want)
		}
	}
	s, err := session.Open(t.Context(), "memory://name?ttl=3s", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close(t.Context())
}

func TestSessionOfAnotherStoreIsRefused(t *testing.T) {
	s, err := memory.NewStore().Session(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	defer func() {
		if r := recover(); r != "memory: the session is on another Store" {
			t.Errorf("it panics with %v", r)
		}
	}()
	memory.NewStore().Expire(s)
}
