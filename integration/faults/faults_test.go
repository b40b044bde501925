package main

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	play() // members and clients are this program, too
	goleak.VerifyTestMain(m)
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-backend", "paper"}, {"-minutes", "0"}, {"-clients", "2"}, {"-ttl", "-1s"}, {"more"},
	} {
		if o, err := parse(args); err == nil {
			t.Errorf("%q was taken for %+v", args, o)
		}
	}
}

func TestReplayHasEverythingThatDecidesWhichFaultsHappen(t *testing.T) {
	t.Parallel()
	want := options{backend: "etcd", length: 90 * time.Second, seed: 7, clients: 4, ttl: 5 * time.Second}
	got, err := parse(strings.Fields(strings.TrimPrefix(want.replay(), "go run ./faults ")))
	if err != nil || got != want {
		t.Errorf("%q is read as %+v, %v; want %+v", want.replay(), got, err, want)
	}
}
