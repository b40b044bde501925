package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"testing"
	"time"

	_ "github.com/fairlead-go/fairlead/session/memory"
)

// When the replica that leads is stopped, the other takes over, with a larger
// token.
func TestTheOtherReplicaTakesOver(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	logged, out := io.Pipe()
	defer logged.Close()
	log.SetFlags(0)
	log.SetOutput(out)
	defer log.SetFlags(log.LstdFlags)
	defer log.SetOutput(os.Stderr)
	context.AfterFunc(ctx, func() { logged.CloseWithError(ctx.Err()) })

	replica := func() (stop context.CancelFunc, ended chan error) {
		ctx, stop := context.WithCancel(ctx)
		ended = make(chan error, 1)
		go func() { ended <- run(ctx, "memory://"+t.Name(), "here") }()
		return stop, ended
	}
	token := func() (n uint64) {
		t.Helper()
		if _, err := fmt.Fscanf(logged, "leading, token %d\n", &n); err != nil {
			t.Fatal(err)
		}
		return n
	}

	stopFirst, firstEnded := replica()
	defer stopFirst()
	first := token()
	stopSecond, secondEnded := replica()
	defer stopSecond()
	stopFirst()
	second := token()
	for second == first { // said before it was stopped
		second = token()
	}
	if second < first {
		t.Errorf("the second leader's token is %d, the first's was %d", second, first)
	}
	stopSecond()
	go io.Copy(io.Discard, logged)
	for _, ended := range []chan error{firstEnded, secondEnded} {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("a replica that was stopped returned %v", err)
		}
	}
}
