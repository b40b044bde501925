package redis_test

import (
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/integration/internal/frozen"
)

func TestFrozenHolderSeesLossBeforeNextGrant(t *testing.T) {
	t.Parallel()
	primary, err := replicated.Primary(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	frozen.Run(t, frozen.Store{
		Addrs: []string{primary.Addr()},
		URL:   func(addrs []string) string { return at(addrs, "") },
	},
		frozen.Weather{Name: "RepliesOnTime", TTL: shortTTL, Span: shortTTL / 2},
		frozen.Weather{Name: "RepliesLate", TTL: shortTTL, Late: 500 * time.Millisecond, Calm: 100 * time.Millisecond, Span: 400 * time.Millisecond},
		// Here requests outlive the delay, so that the holder does get replies to what it
		// sent two seconds before, which is four times the margin.
		frozen.Weather{Name: "RepliesLateAndAccepted", TTL: 2 * shortTTL, Late: 2 * time.Second, Calm: 2200 * time.Millisecond, Span: 800 * time.Millisecond},
	)
}
