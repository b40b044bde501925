package zk_test

import (
	"fmt"
	"math"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	gozk "github.com/go-zookeeper/zk"

	"github.com/fairlead-go/fairlead/internal/zkserver"
	"github.com/fairlead-go/fairlead/session/driver"
)

// counted starts a server that has these queues, of which the next entry gets the
// number given.
func counted(t *testing.T, next map[string]int32) *party {
	t.Helper()
	s := start(t, zkserver.Config{JVM: []string{
		"-Dzookeeper.digest.enabled=false",          // there is then but one checksum
		"-Dznode.container.checkIntervalMs=3600000", // a reaped queue would count from 0
	}})
	p := enterAt(t, "zk://"+s.Addr(), nil, nil)
	for queue := range next {
		p.leave(p.join(queue).Me)
	}
	reborn := func() {
		if err := s.Restart(bounded(t)); err != nil {
			t.Fatal(err)
		}
	}
	killed := func() {
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	killed()
	reborn() // and makes a snapshot first of all, of what it has then
	killed()
	for queue, n := range next {
		if err := setCounter(s.Dir(), "/"+queue, n); err != nil {
			t.Fatal(err)
		}
	}
	reborn()
	return enterAt(t, "zk://"+s.Addr(), nil, nil)
}

// number is what the server has added to an entry's name.
func number(key string) string {
	base := path.Base(key)
	return base[strings.LastIndex(base, "-lock-")+len("-lock-"):]
}

func keys(entries []driver.Entry) (ks []string) {
	for _, e := range entries {
		ks = append(ks, e.Key)
	}
	return ks
}

// Before 3.6 the counter went on at -2147483648, and later through 0. Since then
// it stays at 2147483647, and from there on the numbers are all the same.
func TestQueueStaysInOrderWhereItsCounterEnds(t *testing.T) {
	t.Parallel()
	starts := map[string]int32{
		"largest": math.MaxInt32 - 7, "nine digits": -1_000_000_005, "zero": -5,
	}
	p := counted(t, starts)
	for queue, first := range starts {
		t.Run(queue, func(t *testing.T) {
			const joins = 20
			p := &party{p.Lease, t, p.store}
			var entries []driver.Entry
			var ends []<-chan waited
			for i := range joins {
				v := p.join(queue)
				if i == 0 && number(v.Me.Key) != fmt.Sprintf("%010d", first) {
					t.Fatalf("the first entry is %s, want the number %d", v.Me.Key, first)
				}
				if i > 0 {
					if want := entries[i-1].Key; len(v.Ahead) != 1 || v.Ahead[0].Key != want {
						t.Fatalf("before %s is %v, want %s", v.Me.Key, keys(v.Ahead), want)
					}
					ends = append(ends, p.wait(v))
				}
				entries = append(entries, v.Me)
			}
			if numbered := numbers(entries); slices.IsSorted(numbered) && len(slices.Compact(numbered)) == joins {
				t.Errorf("the names could be sorted as strings: %v", keys(entries))
			}
			for i, e := range entries {
				if q := p.queue(queue); !slices.Equal(q, tokens(entries[i:])) {
					t.Fatalf("the queue is %v, want %v", q, tokens(entries[i:]))
				}
				p.leave(e)
				if i < len(ends) {
					if v := over(t, ends[i]); len(v.Ahead) != 0 {
						t.Fatalf("after %s has left %v is before %s", e.Key, keys(v.Ahead), v.Me.Key)
					}
				}
			}
		})
	}
}

func numbers(entries []driver.Entry) (ns []string) {
	for _, e := range entries {
		ns = append(ns, number(e.Key))
	}
	return ns
}

// While there are changes that the server has not carried out yet, it does count on
// past the largest number, and then goes back to it.
func TestQueueThatIsJoinedByManyStaysInOrderWhereItsCounterEnds(t *testing.T) {
	t.Parallel()
	p := counted(t, map[string]int32{"q": math.MaxInt32 - 10})
	const joins, rounds = 30, 2
	var made []driver.Entry
	var mu sync.Mutex
	for range rounds {
		var wg sync.WaitGroup
		for range joins {
			wg.Go(func() {
				v, err := p.Join(bounded(t), claim("q"))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				made = append(made, v.Me)
			})
		}
		wg.Wait()
	}
	slices.SortFunc(made, func(a, b driver.Entry) int { return int(int64(a.Token) - int64(b.Token)) })
	if q := p.queue("q"); !slices.Equal(q, tokens(made)) {
		t.Errorf("the queue is %v, want %v", q, tokens(made))
	}
	for i, e := range made {
		v, err := p.Look(bounded(t), e)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 && len(v.Ahead) != 0 || i > 0 && (len(v.Ahead) != 1 || v.Ahead[0].Token != made[i-1].Token) {
			t.Fatalf("%v is before token %d, the %d. of %d, numbered %v", tokens(v.Ahead), e.Token, i+1, len(made), numbers(made))
		}
	}
}

// These are the names as an older server makes them.
func TestNamesOnBothSidesOfTheOverflowAreInOrder(t *testing.T) {
	t.Parallel()
	p, h := enter(t, nil), byHand(t, server.Addr(), "")
	h.make(prefix(t) + "/q")
	var names []string
	for n := int64(math.MaxInt32 - 2); n < math.MaxInt32+3; n++ {
		name := fmt.Sprintf("%s/q/_c_%s-lock-%010d", prefix(t), "01234567-89ab-cdef-0123-456789abcdef", int32(n))
		names = append(names, h.put(name, "", gozk.FlagEphemeral))
	}
	q, err := p.store.Read(bounded(t), "q", 0)
	if err != nil || !slices.Equal(keys(q.Entries), names) {
		t.Errorf("the queue is %v, %v, want %v", keys(q.Entries), err, names)
	}
	if slices.IsSorted(names) {
		t.Errorf("a plain sort would do as well for %v", names)
	}
}
