package history

import (
	"slices"
	"testing"
)

func exclusive(token uint64, granted, ended int64) Hold {
	return Hold{Token: token, Called: 1, Granted: granted, Ended: ended}
}

func shared(token uint64, granted, ended int64) Hold {
	return Hold{Token: token, Called: 1, Granted: granted, Ended: ended, Shared: true}
}

// expect checks both orders of holds.
func expect(t *testing.T, ok bool, check func([]Hold) error, holds ...Hold) {
	t.Helper()
	for range 2 {
		if err := check(holds); (err == nil) != ok {
			t.Errorf("got error %v for %+v", err, holds)
		}
		slices.Reverse(holds)
	}
}

func TestExclusion(t *testing.T) {
	downgraded := exclusive(1, 10, 50)
	downgraded.Downgraded = 20
	late := exclusive(1, 10, 15) // it was over before
	late.Downgraded = 20
	for name, holds := range map[string][]Hold{
		"one after the other":         {exclusive(1, 10, 20), exclusive(2, 20, 30), exclusive(4, 35, never)},
		"readers together":            {shared(1, 10, 50), shared(2, 5, 30), exclusive(3, 50, 60)},
		"reader beside a downgraded":  {downgraded, shared(2, 30, 40), exclusive(3, 60, 70)},
		"reader after a late one":     {late, shared(2, 15, 40), exclusive(3, 40, 50)},
		"lost before it was returned": {exclusive(1, 50, 20), exclusive(2, 30, 40)},
	} {
		t.Run(name, func(t *testing.T) { expect(t, true, CheckExclusion, holds...) })
	}
	for name, holds := range map[string][]Hold{
		"two holders":                 {exclusive(1, 10, 20), exclusive(2, 19, 30)},
		"two that never end":          {exclusive(1, 10, never), exclusive(2, 19, never)},
		"not in the order of tokens":  {exclusive(2, 10, 20), exclusive(1, 30, 40)},
		"one token twice":             {exclusive(1, 10, 20), exclusive(1, 30, 40)},
		"reader beside writer":        {exclusive(1, 10, 20), shared(2, 15, 30)},
		"reader beside an early one":  {exclusive(1, 10, 40), shared(2, 41, 42), shared(3, 30, 60)},
		"writer beside reader":        {shared(1, 10, 20), exclusive(2, 15, 30)},
		"writer beside a long reader": {shared(1, 10, 90), shared(2, 10, 20), exclusive(3, 50, 60)},
		"writer beside a downgraded":  {downgraded, exclusive(3, 40, 70)},
		"reader before a downgrade":   {downgraded, shared(2, 19, 70)},
		"reader before a late one":    {late, shared(2, 14, 40)},
		"reader after a later writer": {shared(1, 30, 40), exclusive(2, 10, 20)},
	} {
		t.Run(name, func(t *testing.T) { expect(t, false, CheckExclusion, holds...) })
	}
}

func TestFIFO(t *testing.T) {
	first := Hold{Token: 1, Called: 10, Joined: 20, Granted: 100, Ended: 110}
	second := Hold{Token: 2, Called: 15, Granted: 120, Ended: 130}
	expect(t, true, CheckFIFO, first, second)
	first.Token = 3 // both asked before either was seen in the queue
	expect(t, true, CheckFIFO, first, second)
	second.Called = 21
	expect(t, false, CheckFIFO, first, second)
	first.Joined = 0 // so it is known to be in the queue from 100 on
	expect(t, true, CheckFIFO, first, second)
	second.Called = 101
	expect(t, false, CheckFIFO, first, second)
	expect(t, false, CheckFIFO, first, second, Hold{Token: 4, Called: 10, Granted: 200, Ended: 210})
}

func TestPermits(t *testing.T) {
	permits := func(token uint64, weight, granted, ended int64) Hold {
		return Hold{Token: token, Weight: weight, Granted: granted, Ended: ended}
	}
	check := func(holds []Hold) error { return CheckPermits(holds, 3) }
	expect(t, true, check, permits(1, 2, 10, 20), permits(2, 1, 10, 30), permits(3, 2, 20, 30))
	expect(t, false, check, permits(1, 2, 10, 20), permits(2, 1, 10, 30), permits(3, 2, 19, 30))
	expect(t, false, check, permits(1, 4, 10, 20))
	expect(t, true, check, permits(1, 3, 20, 10), permits(2, 3, 15, 30)) // lost before it was returned
	expect(t, false, check, permits(1, 1, 10, 20), permits(1, 1, 10, 20))
}

func TestHoldsOfAHistory(t *testing.T) {
	rec := NewRecorder(nil)
	h := rec.Lock("n")
	h.BeginAt(1, 1, Lock()).Failed()
	h.BeginAt(2, 1, Lock()).At(10).Granted(1)
	h.BeginAt(11, 1, Write(1)).At(12).Done()
	h.BeginAt(20, 1, Downgrade(1)).At(21).Granted(1)
	h.BeginAt(30, 1, Release(1)).Unknown()
	h.BeginAt(25, 1, Lose(1))
	h.BeginAt(3, 2, RLock()).At(40).Granted(2)
	h.BeginAt(4, 3, Lock()).Unknown()
	want := []Hold{
		{Client: 1, Token: 1, Called: 2, Granted: 10, Downgraded: 20, Ended: 25},
		{Client: 2, Token: 2, Called: 3, Granted: 40, Ended: never, Shared: true},
	}
	if got := h.Holds(); !slices.Equal(got, want) {
		t.Errorf("got %+v", got)
	}

	s := rec.Semaphore("s", 3)
	c := s.Begin(1, Acquire(2))
	c.Queued()
	c.Granted(5)
	got := s.Holds()
	if len(got) != 1 || got[0].Weight != 2 || got[0].Joined <= got[0].Called || got[0].Joined >= got[0].Granted {
		t.Errorf("got %+v", got)
	}
}
