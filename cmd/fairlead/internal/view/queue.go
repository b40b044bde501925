package view

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
	"github.com/fairlead-go/fairlead/watch"
)

// unknown stands for what nobody has said, as of entries of other libraries.
const unknown = "-"

// List returns a table of queues.
func List(queues []watch.Snapshot, now time.Time) *Table {
	t := &Table{Columns: []Column{
		{Title: "NAME"}, {Title: "KIND"}, {Title: "LIMIT", Right: true}, {Title: "HOLDERS", Right: true},
		{Title: "WAITERS", Right: true}, {Title: "HELD AT MOST", Right: true},
	}}
	for _, q := range queues {
		held, ok := HeldAtMost(q, now)
		text := unknown
		if ok {
			text = Span(held)
		}
		t.Rows = append(t.Rows, []string{
			q.Name, cmp.Or(q.Kind, unknown), number(q.Limit), strconv.Itoa(len(q.Holders)), strconv.Itoa(len(q.Waiters)), text,
		})
	}
	return t
}

// HeldAtMost returns for how long the longest of the holders has been in the queue,
// and false when nobody holds or none of them says.
func HeldAtMost(q watch.Snapshot, now time.Time) (longest time.Duration, known bool) {
	for _, e := range q.Holders {
		if d, ok := age(e.Since, now); ok {
			longest, known = max(longest, d), true
		}
	}
	return longest, known
}

// Caveat says what the times in a table of holders are.
const Caveat = "Times are since joining, by the owner's clock: a holder may have waited first."

// Show returns what there is to say about a queue, in lines of at most width cells,
// if it is not 0, with at most that many holders and waiters, each, if most is not 0.
func Show(q watch.Snapshot, now time.Time, width, most int) []string {
	headline := Headline(q)
	if width > 0 {
		headline = Fit(headline, width)
	}
	lines := []string{headline}
	if len(q.Holders) > 0 {
		lines = append(lines, "")
		lines = append(lines, limited(Holders(q, now), width, most)...)
	}
	if len(q.Waiters) > 0 {
		lines = append(lines, "")
		lines = append(lines, limited(Waiters(q, now), width, most)...)
	}
	if slices.ContainsFunc(q.Holders, func(e watch.Entry) bool { return !e.Since.IsZero() }) {
		lines = append(lines, "", Caveat)
	}
	return lines
}

// limited returns the first rows of a table, and how many more there are.
func limited(t *Table, width, most int) []string {
	rest := 0
	if most > 0 && len(t.Rows) > most {
		rest = len(t.Rows) - most
		t.Rows = t.Rows[:most]
	}
	lines := t.Lines(width)
	if rest > 0 {
		lines = append(lines, fmt.Sprintf("… and %d more", rest))
	}
	return lines
}

// Headline says in one line what a queue is and how it stands.
func Headline(q watch.Snapshot) string {
	name := Text(q.Name)
	switch {
	case len(q.Holders)+len(q.Waiters) == 0:
		return name + ": free, nobody waits"
	case q.Kind == "" && q.Limit == 0:
		return fmt.Sprintf("%s: made by another library, %s", name, Counts(q))
	case q.Limit > 0:
		return fmt.Sprintf("%s: %s, %d of %d permits in use, %s", name, Text(cmp.Or(q.Kind, "semaphore")), InUse(q), q.Limit, Counts(q))
	}
	return fmt.Sprintf("%s: %s, %s", name, Text(q.Kind), Counts(q))
}

// Summary says in a few words how a queue stands.
func Summary(q watch.Snapshot) string {
	return Text(cmp.Or(q.Kind, "of another library")) + ", " + Counts(q)
}

// Counts says how many hold and how many wait.
func Counts(q watch.Snapshot) string {
	holders, waiters := "nobody holds", "nobody waits"
	if n := len(q.Holders); n > 0 {
		holders = plural(n, "holder")
	}
	if n := len(q.Waiters); n > 0 {
		waiters = plural(n, "waiter")
	}
	return holders + ", " + waiters
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + one + "s"
}

// InUse returns how many permits the holders have.
func InUse(q watch.Snapshot) (n int64) {
	for _, e := range q.Holders {
		n += e.Weight
	}
	return n
}

// Holders returns a table of the holders.
func Holders(q watch.Snapshot, now time.Time) *Table {
	t := &Table{Columns: []Column{
		{Title: "HOLDER"}, {Title: "TOKEN", Right: true}, {Title: "MODE"}, {Title: "PERMITS", Right: true},
		{Title: "HELD AT MOST", Right: true}, {Title: "JOINED"}, {Title: "TTL LEFT", Right: true}, {Title: "NOTE"}, {Title: "VALUE"},
	}}
	for _, e := range q.Holders {
		t.Rows = append(t.Rows, []string{
			Owner(e), token(e), Mode(q, e), number(e.Weight), cmp.Or(ageText(e.Since, now), unknown), joined(e, now), left(e), e.Note, e.Value,
		})
	}
	return t
}

// Waiters returns a table of the waiters, with what each of them waits for.
func Waiters(q watch.Snapshot, now time.Time) *Table {
	t := &Table{Columns: []Column{
		{Title: "#", Right: true}, {Title: "WAITER"}, {Title: "TOKEN", Right: true}, {Title: "MODE"}, {Title: "PERMITS", Right: true},
		{Title: "WAITED", Right: true}, {Title: "JOINED"}, {Title: "WAITS FOR"}, {Title: "NOTE"}, {Title: "VALUE"},
	}}
	places := Places(q)
	for i, e := range q.Waiters {
		t.Rows = append(t.Rows, []string{
			strconv.Itoa(i + 1), Owner(e), token(e), Mode(q, e), number(e.Weight), cmp.Or(ageText(e.Since, now), unknown), joined(e, now),
			WaitsFor(q, e, places), e.Note, e.Value,
		})
	}
	return t
}

// Places returns the place of each waiter, from 1, by its token.
func Places(q watch.Snapshot) map[uint64]int {
	places := make(map[uint64]int, len(q.Waiters))
	for i, e := range q.Waiters {
		places[e.Token] = i + 1
	}
	return places
}

// WaitsFor says what one waits for: a holder by its token, a waiter by its place.
func WaitsFor(q watch.Snapshot, e watch.Entry, places map[uint64]int) string {
	switch {
	case len(e.WaitsFor) == 0 && e.Weight > q.Limit:
		return "nothing: it asks for more than the limit"
	case len(e.WaitsFor) == 0:
		return "nothing: the name is in use otherwise"
	case places[e.WaitsFor[0]] > 0:
		return fmt.Sprintf("#%d", places[e.WaitsFor[0]])
	case e.Mode == string(driver.Permit):
		return fmt.Sprintf("any holder: %d free", max(q.Limit-InUse(q), 0))
	}
	return fmt.Sprintf("holder %d", e.WaitsFor[0])
}

// Owner says whose an entry is. That of another library says only where it is.
func Owner(e watch.Entry) string {
	if e.Identity == "" {
		return "key " + e.Key
	}
	return e.Identity
}

func token(e watch.Entry) string { return strconv.FormatUint(e.Token, 10) }

// Mode is told where a queue may have entries of two.
func Mode(q watch.Snapshot, e watch.Entry) string {
	for _, entries := range [][]watch.Entry{q.Holders, q.Waiters} {
		if slices.ContainsFunc(entries, func(o watch.Entry) bool { return o.Mode == string(driver.Shared) }) {
			return e.Mode
		}
	}
	return ""
}

func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

func joined(e watch.Entry, now time.Time) string {
	if e.Since.IsZero() {
		return ""
	}
	return Clock(e.Since, now)
}

func left(e watch.Entry) string {
	if e.TTLLeft <= 0 {
		return ""
	}
	return Span(e.TTLLeft)
}
