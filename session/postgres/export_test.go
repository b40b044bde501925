package postgres

import (
	"context"

	"github.com/fairlead-go/fairlead/session/driver"
)

// storeOf is the store that a session uses, alone or with others.
func storeOf(st driver.Store) *store {
	if u, ok := st.(*user); ok {
		return u.store
	}
	return st.(*store)
}

// Unheard is how many waits of a store ended by a look, without having been told.
func Unheard(st driver.Store) int64 { return storeOf(st).unheard.Load() }

// Deafen breaks the connection that listens, without a word to the server.
func Deafen(st driver.Store) {
	if l := storeOf(st).hub.line.Load(); l != nil {
		_ = l.conn.Close()
	}
}

// Listens reports whether a store has a connection that listens.
func Listens(st driver.Store) bool { return storeOf(st).hub.line.Load() != nil }

// Line is the connection with which a store listens; no two of them are equal.
func Line(st driver.Store) any { return storeOf(st).hub.line.Load() }

// Inbox is the channel that a store listens to.
func Inbox(st driver.Store) string { return storeOf(st).hub.inbox }

// Connected is how many connections a store has made for requests.
func Connected(st driver.Store) int64 { return storeOf(st).pool.Stat().NewConnsCount() }

// Leases is how many leases a store knows of, whosever they are.
func Leases(st driver.Store) int {
	s := storeOf(st)
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.leases)
}

// Boxes is how many mailboxes a store keeps.
func Boxes(st driver.Store) int {
	h := storeOf(st).hub
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.boxes)
}

// Tidy removes entries of a lease that nobody here knows of, as after a crash of the server.
func Tidy(ctx context.Context, l driver.Lease) { l.(*lease).tidy(ctx) }

// Lanes is how many requests of a store, of those that keep no lease, are under way.
func Lanes(st driver.Store) int { return len(storeOf(st).lanes) }

// MostLanes is how many of them there are at most.
func MostLanes(st driver.Store) int { return cap(storeOf(st).lanes) }

// FirstLayout makes a schema whose tables are of layout 1.
func FirstLayout(ns string) string {
	return in(ns, `CREATE SCHEMA "fairlead"; SET search_path = "fairlead", pg_catalog;`+upgrades[0]+functionsSQL+grants)
}

// Versioned is the finding about a server with that number.
func Versioned(number int) driver.Finding { return facts{number: number}.versioned() }

// Gathered is how many joins and leaves of a store wait for a lane.
func Gathered(st driver.Store) (n int) {
	for _, g := range []*gathering{storeOf(st).joins, storeOf(st).leaves} {
		g.mu.Lock()
		for _, calls := range g.waiting {
			n += len(calls)
		}
		g.mu.Unlock()
	}
	return n
}

// QueueLock is the expression, of $1, for the advisory lock of a queue.
func QueueLock(ns string) string {
	return in(ns, `hashtextextended('fairlead' || '/' || $1, 5261)`)
}

// Expect has a lease know of a claim, as while its Join is under way: entries of others, which a
// crash of the server may have brought back, it removes.
func Expect(l driver.Lease, c driver.Claim) { l.(*lease).take(c.Name, c.ID) }
