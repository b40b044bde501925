package etcd_test

import (
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/integration/internal/frozen"
)

func TestFrozenHolderSeesLossBeforeNextGrant(t *testing.T) {
	frozen.Run(t, frozen.Store{
		Addrs: []string{shared.Addr()},
		URL:   func(addrs []string) string { return "etcd://" + addrs[0] },
	},
		frozen.Weather{Name: "RepliesOnTime", TTL: shortTTL, Span: shortTTL / 2},
		frozen.Weather{Name: "RepliesLate", TTL: shortTTL, Late: time.Second, Calm: 100 * time.Millisecond, Span: 400 * time.Millisecond},
		// Here requests outlive the delay, so that the holder does get replies to
		// what it sent a second before. Trust that were counted from their receipt
		// would end a second too late, which is more than the margin and the
		// server's slack together.
		frozen.Weather{Name: "RepliesLateAndAccepted", TTL: 2 * shortTTL, Late: time.Second, Calm: 1200 * time.Millisecond, Span: 800 * time.Millisecond},
	)
}
