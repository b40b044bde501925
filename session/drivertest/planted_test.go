package drivertest

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead-go/fairlead/internal/mutant"
	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/session/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestPlantedBugsAreCaught runs cases on a store with a bug: each of those that
// are meant for it has to report it.
func TestPlantedBugsAreCaught(t *testing.T) {
	var work sync.WaitGroup
	defer work.Wait()
	places := make(chan struct{}, 8) // most of a failing case's time is waiting
	for _, bug := range bugs {
		for _, name := range bug.caughtBy {
			c := caseNamed(t, name)
			reported := make(chan []string, 1)
			work.Go(func() {
				places <- struct{}{}
				defer func() { <-places }()
				reported <- record(t.Context(), c, backend(memory.NewStore(), bug.plant))
			})
			// Parallel, so that all have been started when the first one waits.
			t.Run(bug.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				failures := <-reported
				if len(failures) == 0 {
					t.Fatalf("%s passes on a store with this bug: %s", name, bug.name)
				}
				t.Logf("reported: %s", failures[0])
			})
		}
	}
}

// TestSoundStorePasses shows that it is the bug that is caught: without one, the
// same cases on the same terms report nothing.
func TestSoundStorePasses(t *testing.T) {
	tried := map[string]bool{}
	for _, bug := range bugs {
		for _, name := range bug.caughtBy {
			if tried[name] {
				continue
			}
			tried[name] = true
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				b := backend(memory.NewStore(), func(s driver.Store) driver.Store { return s })
				b.patience = 0 // a sound store may be slow
				for _, failure := range record(t.Context(), caseNamed(t, name), b) {
					t.Errorf("%s", failure)
				}
			})
		}
	}
}

func caseNamed(t *testing.T, name string) Case {
	t.Helper()
	for _, c := range Cases() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("there is no case %s", name)
	return Case{}
}

// backend is the memory store with a bug in its driver.
func backend(st *memory.Store, plant func(driver.Store) driver.Store) Backend {
	return Backend{
		MinTTL:   300 * time.Millisecond,
		Connect:  func(TB, *Link) driver.Store { return plant(st.Connect()) },
		patience: 1500 * time.Millisecond, // a hang is a failure, too
		Expire: func(tb TB, l driver.Lease) {
			if m, ok := l.(*mutant.Lease); ok {
				l = m.Lease
			}
			if err := l.Revoke(context.Background()); err != nil {
				tb.Errorf("end the lease: %v", err)
			}
		},
	}
}
