package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"
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
