package postgres_test

import (
	"crypto/rand"
	"strings"
	"testing"

	"github.com/fairlead-go/fairlead/session/drivertest"
)

func place(t *testing.T) drivertest.Entrance {
	url := namespace(t, "insist_"+strings.ToLower(rand.Text()))
	return func(link *drivertest.Link) drivertest.Party {
		p := enter(t, url, long, link)
		return drivertest.Party{Lease: p.Lease, Store: p.store}
	}
}

func TestConditionalJoinEndsHoweverOthersJoin(t *testing.T) { drivertest.RushedJoins(t, place) }

func TestResolveAdoptsNothingThatWasToldToLeave(t *testing.T) { drivertest.LateLeaves(t, place) }
