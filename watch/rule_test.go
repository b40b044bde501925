package watch

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// view makes a view from entries, the last of which is one's own; tokens are 1, 2, …
func view(entries ...driver.Entry) driver.View {
	for i := range entries {
		entries[i].Token = uint64(i + 1)
	}
	n := len(entries) - 1
	return driver.View{Me: entries[n], Ahead: entries[:n]}
}

func mutexEntry() driver.Entry { return driver.Entry{Kind: "mutex", Mode: driver.Exclusive} }
func foreignEntry() driver.Entry {
	return driver.Entry{Mode: driver.Exclusive, Value: sharedValue} // whatever others write
}
func writer() driver.Entry { return driver.Entry{Kind: "rwmutex", Mode: driver.Exclusive} }
func reader() driver.Entry { return driver.Entry{Kind: "rwmutex", Mode: driver.Shared} }

func downgraded() driver.Entry {
	return driver.Entry{Kind: "rwmutex", Mode: driver.Exclusive, Value: Downgraded()}
}

func permitEntry(weight int64) driver.Entry {
	return driver.Entry{Kind: "semaphore", Mode: driver.Permit, Value: PermitValue(weight, false)}
}

func stamped(weight int64) driver.Entry {
	return driver.Entry{Kind: "semaphore", Mode: driver.Permit, Value: PermitValue(weight, true)}
}

func garbledPermit(value string) driver.Entry { return driver.Entry{Mode: driver.Permit, Value: value} }

// obstacles are the tokens waited for.
func obstacles(on driver.Obstacles) []uint64 {
	var ts []uint64
	for _, e := range on.Entries {
		ts = append(ts, e.Token)
	}
	return ts
}

func TestLocksWaitForWhoExcludesThem(t *testing.T) {
	for what, c := range map[string]struct {
		v    driver.View
		want []uint64
		err  error
	}{
		"mutex alone":                         {view(mutexEntry()), nil, nil},
		"mutex behind two":                    {view(mutexEntry(), mutexEntry(), mutexEntry()), []uint64{2}, nil},
		"mutex behind another library's":      {view(foreignEntry(), mutexEntry()), []uint64{1}, nil},
		"writer behind readers":               {view(reader(), reader(), writer()), []uint64{2}, nil},
		"writer behind a downgraded one":      {view(downgraded(), writer()), []uint64{1}, nil},
		"reader alone":                        {view(reader()), nil, nil},
		"reader behind readers":               {view(reader(), reader(), reader()), nil, nil},
		"reader behind a waiting writer":      {view(reader(), writer(), reader()), []uint64{2}, nil},
		"reader behind two writers":           {view(writer(), writer(), reader(), reader()), []uint64{2}, nil},
		"reader behind a downgraded writer":   {view(downgraded(), reader(), reader()), nil, nil},
		"reader behind a mutex":               {view(mutexEntry(), reader(), reader()), []uint64{1}, nil},
		"reader behind another library's":     {view(foreignEntry(), reader()), []uint64{1}, nil},
		"mutex behind a permit":               {view(permitEntry(1), mutexEntry()), nil, session.ErrKind},
		"reader behind a permit":              {view(permitEntry(1), reader()), nil, session.ErrKind},
		"permit behind a mutex":               {view(mutexEntry(), permitEntry(1)), nil, session.ErrKind},
		"permit behind another library's":     {view(foreignEntry(), permitEntry(1)), nil, session.ErrKind},
		"permit whose limit somebody removed": {view(permitEntry(1)), nil, session.ErrLimit},
	} {
		on, err := RuleOf(c.v.Me.Mode)(c.v)
		if !errors.Is(err, c.err) || !slices.Equal(obstacles(on), c.want) {
			t.Errorf("%s: waits for %v, %v; want %v, %v", what, obstacles(on), err, c.want, c.err)
		}
	}
}

func TestPermitsWaitForWhatMayLetThemIn(t *testing.T) {
	all := func(n uint64) (ts []uint64) {
		for i := range n {
			ts = append(ts, i+1)
		}
		return ts
	}
	for what, c := range map[string]struct {
		v       driver.View
		n       int64
		through uint64
		want    []uint64
		limit   bool
	}{
		"alone":                             {view(permitEntry(5)), 5, 0, nil, false},
		"it fits":                           {view(permitEntry(2), permitEntry(2), permitEntry(1)), 5, 0, nil, false},
		"first of those who wait":           {view(permitEntry(2), permitEntry(2), permitEntry(2)), 5, 0, all(2), true},
		"second of those who wait":          {view(permitEntry(2), permitEntry(2), permitEntry(2), permitEntry(1)), 5, 0, []uint64{3}, false},
		"light behind heavy":                {view(permitEntry(1), permitEntry(5), permitEntry(1)), 5, 0, []uint64{2}, false},
		"behind stamped":                    {view(stamped(3), stamped(3), permitEntry(3)), 3, 0, all(2), true},
		"behind those named by the limit":   {view(permitEntry(1), permitEntry(1), permitEntry(1), permitEntry(1)), 2, 3, all(3), true},
		"named by the limit oneself":        {view(permitEntry(3), permitEntry(3)), 3, 2, nil, false},
		"stamped oneself":                   {view(permitEntry(3), stamped(3)), 3, 0, nil, false},
		"one stamped behind one that waits": {view(permitEntry(3), stamped(1), permitEntry(1)), 2, 0, []uint64{1}, false},
		"two of them":                       {view(permitEntry(3), stamped(1), permitEntry(1), permitEntry(1)), 2, 0, []uint64{3}, false},
		"garbled":                           {view(permitEntry(1), garbledPermit("much"), permitEntry(1)), 5, 0, []uint64{2}, false},
		"garbled and stamped":               {view(garbledPermit("x granted"), permitEntry(1)), 5, 0, []uint64{1}, false},
		"a mutex that is about to be told":  {view(permitEntry(1), mutexEntry(), permitEntry(1)), 5, 0, []uint64{2}, false},
		"more than there are numbers for":   {view(permitEntry(math.MaxInt64), permitEntry(math.MaxInt64), permitEntry(1)), 5, 0, []uint64{2}, false},
		"as much as there are numbers for":  {view(permitEntry(1), permitEntry(math.MaxInt64)), math.MaxInt64, 0, all(1), true},
	} {
		c.v.Limit = driver.Limit{N: c.n, Through: c.through, Version: 1}
		on, err := Permit(c.v)
		if err != nil || !slices.Equal(obstacles(on), c.want) || on.Limit != c.limit {
			t.Errorf("%s: waits for %v and the limit %t, %v; want %v and %t", what, obstacles(on), on.Limit, err, c.want, c.limit)
		}
	}
}

func TestPermitValuesSurviveTheRoundTrip(t *testing.T) {
	for _, weight := range []int64{1, 7, math.MaxInt64} {
		for _, granted := range []bool{false, true} {
			e := driver.Entry{Mode: driver.Permit, Value: PermitValue(weight, granted)}
			if p := permitOf(e); p.weight != weight || p.granted != granted {
				t.Errorf("%q is read as %+v", e.Value, p)
			}
		}
	}
}

// A permit says what it weighs in one spelling: anything else is never taken for a holder, and
// always for a reason to wait.
func FuzzPermit(f *testing.F) {
	for _, value := range []string{"3", "3 granted", "03", "+3", "-3", "0", "3  granted", "3 granted granted", " granted", "9223372036854775807", "9223372036854775808"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		p := permitOf(driver.Entry{Mode: driver.Permit, Value: value})
		switch {
		case p.weight < 1:
			t.Errorf("%q weighs %d", value, p.weight)
		case p == permit{weight: math.MaxInt64}: // garbled, or as good as that
		case PermitValue(p.weight, p.granted) != value:
			t.Errorf("%q is taken for %q", value, PermitValue(p.weight, p.granted))
		}
	})
}
