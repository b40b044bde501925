package postgres

import (
	"github.com/fairlead-go/fairlead/session/driver"
)

// Unheard is how many waits of a store ended by a look, without having been told.
func Unheard(st driver.Store) int64 { return st.(*store).unheard.Load() }

// Deafen breaks the connection that listens, without a word to the server.
func Deafen(st driver.Store) {
	if l := st.(*store).hub.line.Load(); l != nil {
		_ = l.conn.Close()
	}
}

// Listens reports whether a store has a connection that listens.
func Listens(st driver.Store) bool { return st.(*store).hub.line.Load() != nil }

// Inbox is the channel that a store listens to.
func Inbox(st driver.Store) string { return st.(*store).hub.inbox }

// Connected is how many connections a store has made for requests.
func Connected(st driver.Store) int64 { return st.(*store).pool.Stat().NewConnsCount() }

// Lanes is how many requests of a store, of those that keep no lease, are under way.
func Lanes(st driver.Store) int { return len(st.(*store).lanes) }

// MostLanes is how many of them there are at most.
func MostLanes(st driver.Store) int { return cap(st.(*store).lanes) }

// FirstLayout makes a schema as the first release did.
func FirstLayout(ns string) string {
	return in(ns, `CREATE SCHEMA "fairlead"; SET search_path = "fairlead", pg_catalog;`+upgrades[0]+grants)
}

// Versioned is the finding about a server with that number.
func Versioned(number int) driver.Finding { return facts{number: number}.versioned() }

// Gathered is how many joins and leaves of a store wait for a lane.
func Gathered(st driver.Store) (n int) {
	for _, g := range []*gathering{st.(*store).joins, st.(*store).leaves} {
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
