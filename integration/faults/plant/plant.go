package plant

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fairlead-go/fairlead/internal/mutant"
	"github.com/fairlead-go/fairlead/session/driver"
)

// The bugs. Repeated is none: a sound driver bears it.
const (
	Identity   = "identity"   // releases without the entry's identity
	Repeated   = "repeated"   // releases repeatedly, as Identity does, but with the identity
	Unchecked  = "unchecked"  // grants without checking who owns
	Receipt    = "receipt"    // counts trust from when an answer was received
	OneHolder  = "one-holder" // the head of a semaphore waits for one holder only
	Orphan     = "orphan"     // adopts nothing after a lost reply
	Reader     = "reader"     // a reader ignores a waiting writer
	Compaction = "compaction" // a wait gives up when etcd has compacted what it watches
)

// A Bug wraps the driver of the store with that URL.
type Bug func(url string, s driver.Store) driver.Store

func anywhere(bug func(driver.Store) driver.Store) Bug {
	return func(_ string, s driver.Store) driver.Store { return bug(s) }
}

var bugs = map[string]Bug{
	"":         anywhere(func(s driver.Store) driver.Store { return s }),
	Identity:   anywhere(func(s driver.Store) driver.Store { return repeated(mutant.LeavesWithoutIdentity(s)) }),
	Repeated:   anywhere(repeated),
	Unchecked:  anywhere(mutant.GrantsUnseen),
	Receipt:    anywhere(mutant.TrustsFromReceipt),
	OneHolder:  anywhere(mutant.WaitsForOne),
	Orphan:     anywhere(mutant.AdoptsNothing),
	Reader:     anywhere(mutant.PassesWriters),
	Compaction: givesUpOnCompaction,
}

// Named returns a bug by its name, that of no bug being "".
func Named(name string) (Bug, error) {
	bug, ok := bugs[name]
	if !ok {
		return nil, fmt.Errorf("there is no bug %q to plant, but %q", name, Names())
	}
	return bug, nil
}

// Names are those of all bugs.
func Names() []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(bugs)), func(name string) bool { return name == "" })
}

const (
	// again is when a release is repeated: by then, who had given up waiting asks for
	// another turn, or somebody who had released has been granted one.
	again = 250 * time.Millisecond

	repeatTimeout = time.Second
)

// repeated makes each request to leave a second time, somewhat later, as happens when
// the reply to the first was lost.
func repeated(s driver.Store) driver.Store {
	return mutant.Mutation{Lease: mutant.Lies{
		Leave: func(ctx context.Context, l *mutant.Lease, e driver.Entry) error {
			time.AfterFunc(again, func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), repeatTimeout)
				defer cancel()
				_ = l.Lease.Leave(ctx, e)
			})
			return l.Lease.Leave(ctx, e)
		},
	}}.Plant(s)
}
