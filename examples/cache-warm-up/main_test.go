package main

import (
	"bytes"
	"context"
	"errors"
	"log"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/session"
)

// The cache is filled once, before anybody reads it, and everybody reads it.
func TestOneReplicaWarmsUpAndAllRead(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, "memory://"+t.Name(), &out); err != nil {
		t.Fatal(err)
	}
	first, rest, _ := strings.Cut(out.String(), "\n")
	if !strings.HasSuffix(first, " warms up the cache") || strings.Contains(rest, "warms up") ||
		strings.Count(rest, ` reads "the catalog"`) != replicas {
		t.Errorf("it printed\n%s", &out)
	}
}

// stopper cancels when something is printed.
type stopper struct{ cancel func() }

func (s stopper) Write(p []byte) (int, error) {
	s.cancel()
	return len(p), nil
}

func TestWarmUpThatIsCancelledLetsGo(t *testing.T) {
	s, err := session.Open(t.Context(), "memory://"+t.Name(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	lock := rwmutex.New(s, "a")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var cache atomic.Pointer[string]
	_, err = warmUp(ctx, lock, 1, &cache, log.New(stopper{cancel}, "", 0))
	if !errors.Is(err, context.Canceled) || cache.Load() != nil {
		t.Errorf("it ended with %v and the cache %v", err, cache.Load())
	}
	soon, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := lock.Lock(soon); err != nil {
		t.Errorf("the next one: %v", err)
	}
}
