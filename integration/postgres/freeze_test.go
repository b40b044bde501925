package postgres_test

import (
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/integration/internal/frozen"
)

func TestFrozenHolderSeesLossBeforeNextGrant(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	frozen.Run(t, frozen.Store{
		Addrs: []string{server.Addr()},
		URL:   func(addrs []string) string { return at(addrs[0]) },
	},
		frozen.Weather{Name: "RepliesOnTime", TTL: ttl, Span: ttl / 2},
		frozen.Weather{Name: "RepliesLate", TTL: ttl, Late: 500 * time.Millisecond, Calm: 100 * time.Millisecond, Span: 400 * time.Millisecond},
		// Here requests outlive the delay, so that the holder does get replies to what it
		// sent a second before, which is twice the margin.
		frozen.Weather{Name: "RepliesLateAndAccepted", TTL: 2 * ttl, Late: time.Second, Calm: 1200 * time.Millisecond, Span: 800 * time.Millisecond},
	)
}
