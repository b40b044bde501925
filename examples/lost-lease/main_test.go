package main

import (
	"bytes"
	"testing"
	"testing/synctest"
)

// The service stops when its lease is lost, and leads again; in virtual time, so that the
// test waits for nothing.
func TestServiceOutlivesItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		if err := run(t.Context(), &out); err != nil {
			t.Fatal(err)
		}
		const want = "leading\nthe lease is lost: stopped\nleading again, with a larger token: true\n"
		if out.String() != want {
			t.Errorf("it printed\n%s, want\n%s", &out, want)
		}
	})
}
