package nemesis

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/cluster"
)

const ttl = 3 * time.Second

func traits(t *testing.T, backend string) cluster.Traits {
	t.Helper()
	tr, err := cluster.TraitsOf(backend)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestSeedDecidesWhatHappens(t *testing.T) {
	t.Parallel()
	tr := traits(t, "etcd")
	one, again, other := Draw(7, tr, ttl, time.Minute), Draw(7, tr, ttl, time.Minute), Draw(8, tr, ttl, time.Minute)
	if !reflect.DeepEqual(one, again) {
		t.Error("the same seed has drawn two plans")
	}
	if reflect.DeepEqual(one, other) {
		t.Error("two seeds have drawn the same plan")
	}
}

func TestLongRunHasAllKindsAndEveryRunHasTheWorst(t *testing.T) {
	t.Parallel()
	for _, backend := range cluster.Backends() {
		tr := traits(t, backend)
		seen := map[Kind]bool{}
		for _, lane := range Draw(1, tr, ttl, 10*time.Minute) {
			for _, f := range lane {
				seen[f.Kind] = true
			}
		}
		for _, k := range slices.Concat(serverFaults(tr), clientFaults) {
			if !seen[k] {
				t.Errorf("%s: ten minutes are without %q", backend, k)
			}
		}
		for seed := range uint64(100) {
			for i, lane := range Draw(seed, tr, ttl, 20*time.Second) {
				if want := []Kind{KillLeader, KillHolder, Isolate}[i]; len(lane) < 2 || lane[0].Kind != want {
					t.Fatalf("%s: lane %d of seed %d is %v, want %q first", backend, i, seed, lane, want)
				}
			}
		}
	}
}

func TestStoreIsAskedForNothingThatItHasNot(t *testing.T) {
	t.Parallel()
	for _, lane := range Draw(1, cluster.Traits{}, ttl, 10*time.Minute) {
		for _, f := range lane {
			switch f.Kind {
			case KillMember, FreezeMember, RestartAll, MoveLeader, Maintain, DeleteEntry,
				CutLeader, CutLeaderUp, CutLeaderDown, Ring, Exhaust, FillLeader, FillMember, Password,
				ClockAhead, ClockFarAhead, ClockBack, ClockFarBack:
				t.Fatalf("a store without traits gets %q", f.Kind)
			}
		}
	}
}

// Some freezes are shorter than the TTL and some longer, and some cuts outlast it.
func TestFaultsLastBothLessAndMoreThanATTL(t *testing.T) {
	t.Parallel()
	least, most := map[Kind]time.Duration{}, map[Kind]time.Duration{}
	for _, lane := range Draw(1, traits(t, "etcd"), ttl, time.Hour) {
		for _, f := range lane {
			if d, ok := least[f.Kind]; !ok || f.For < d {
				least[f.Kind] = f.For
			}
			most[f.Kind] = max(most[f.Kind], f.For)
		}
	}
	for _, k := range []Kind{PauseMember, PauseClient, KillLeader} {
		if most[k] > ttl {
			t.Errorf("%q lasts up to %v", k, most[k])
		}
	}
	for _, k := range []Kind{FreezeMember, FreezeLeader, FreezeClient, FreezeHolder} {
		if least[k] <= ttl {
			t.Errorf("%q lasts %v at times", k, least[k])
		}
	}
	for _, k := range []Kind{Isolate, CutUp, CutDown, CutOne} {
		if least[k] > ttl || most[k] < ttl {
			t.Errorf("%q lasts from %v to %v, want less and more than %v", k, least[k], most[k], ttl)
		}
	}
}
