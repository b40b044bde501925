package main

import (
	"bytes"
	"context"
	"regexp"
	"testing"
	"time"
)

// What a holder writes that was paused is refused, in both places.
func TestPausedHolderIsRefused(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	if err := run(ctx, &out); err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`^a holds the lock, and has written 10
a is paused
b holds the lock, and has written 20
a goes on to write 11 to etcd: the grant is over, nothing was written
a goes on to write 11 elsewhere: fence: token \d+ for "balance" is stale: \d+ was admitted before
the balance is 20 in etcd, and 20 elsewhere
$`)
	if !want.Match(out.Bytes()) {
		t.Errorf("it printed\n%s", &out)
	}
}
