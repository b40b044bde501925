package redis_test

import (
	"testing"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/session/drivertest"
)

func place(t *testing.T) drivertest.Entrance {
	s := startWarm(t, redisserver.Config{})
	return func(link *drivertest.Link) drivertest.Party {
		p := enter(t, s, link)
		return drivertest.Party{Lease: p.Lease, Store: p.store}
	}
}

func TestConditionalJoinEndsHoweverOthersJoin(t *testing.T) { drivertest.RushedJoins(t, place) }

func TestResolveAdoptsNothingThatWasToldToLeave(t *testing.T) { drivertest.LateLeaves(t, place) }
