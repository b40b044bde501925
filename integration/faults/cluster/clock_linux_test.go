package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/internal/process"
)

func TestClockIsAsFarAheadAsItIsSet(t *testing.T) {
	t.Parallel()
	c, err := newClocks(t.TempDir(), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	ask := func(i int) func(context.Context) (time.Time, error) {
		return func(ctx context.Context) (at time.Time, err error) {
			out, err := process.Host{Through: c.through(i)}.Command("date", "+%s.%N").Output()
			if err != nil {
				return at, err
			}
			var seconds, nanos int64
			_, err = fmt.Sscanf(strings.TrimSpace(string(out)), "%d.%d", &seconds, &nanos)
			return time.Unix(seconds, nanos), err
		}
	}
	for _, ahead := range []time.Duration{time.Hour, -time.Minute, 0} {
		if err := c.step(bounded(t), 0, ahead, ask(0)); err != nil {
			t.Error(err)
		}
		if at, err := ask(1)(t.Context()); err != nil || time.Since(at).Abs() > clockError {
			t.Errorf("the other clock, which nobody has set, says %v, %v", at, err)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := c.step(short, 0, time.Hour, ask(1)); err == nil {
		t.Error("a server whose clock is not ahead is said to be")
	}
}
