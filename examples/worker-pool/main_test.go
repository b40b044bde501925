package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"
)

// All requests are made, and never more at a time than the limit says.
func TestRequestsKeepTheLimit(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, "memory://"+t.Name(), &out); err != nil {
		t.Fatal(err)
	}
	under, ended := 0, 0
	for line := range strings.Lines(out.String()) {
		switch {
		case strings.Contains(line, " begins "):
			under++
		case strings.Contains(line, " ends "):
			under--
			ended++
		}
		if under > limit {
			t.Errorf("%d requests at a time, want at most %d", under, limit)
		}
	}
	if ended != workers*jobs {
		t.Errorf("%d requests ended, want %d", ended, workers*jobs)
	}
	if t.Failed() {
		t.Logf("it printed\n%s", &out)
	}
}
