package etcd

import (
	"context"
	"time"

	"github.com/fairlead-go/fairlead/session/driver"
)

// Compaction is the finding about a history of which that many revisions are long.
func Compaction(ctx context.Context, st driver.Store, long int64) driver.Finding {
	return st.(*store).compaction(ctx, long)
}

// Supported tells whether a server of that version is.
func Supported(version string) bool { return supported(version) }

// Lanes is how many joins, or leaves, of a lease go at once.
const Lanes = lanes

// Crowd is how many joins, or leaves, of a lease go at once that are of one queue.
const Crowd = crowd

// Sluggish is the time of an answer for which they become fewer.
const Sluggish = sluggish

// batchersOf are those of a lease's joins and of its leaves.
func batchersOf(l driver.Lease) []*batcher {
	return []*batcher{l.(*lease).joins, l.(*lease).leaves}
}

// Waiting returns how many joins and leaves of a lease wait to go with others.
func Waiting(l driver.Lease) int {
	n := 0
	for _, b := range batchersOf(l) {
		b.mu.Lock()
		for _, members := range b.waiting {
			n += len(members)
		}
		b.mu.Unlock()
	}
	return n
}

// UnderWay returns how many requests with joins and leaves of a lease are under way.
func UnderWay(l driver.Lease) int {
	n := 0
	for _, b := range batchersOf(l) {
		b.mu.Lock()
		n += b.underWay
		b.mu.Unlock()
	}
	return n
}

// SetLanes makes joins and leaves of a lease wait when so many are under way.
func SetLanes(l driver.Lease, n int) {
	for _, b := range batchersOf(l) {
		b.mu.Lock()
		b.lanes = n
		b.mu.Unlock()
	}
}

// SetWindow lets so many joins, or leaves, of a lease that are of one queue go at once, until
// answers say otherwise.
func SetWindow(l driver.Lease, n int) {
	for _, b := range batchersOf(l) {
		b.mu.Lock()
		b.window = n
		b.mu.Unlock()
	}
}

// SetPatience bounds how long joins and leaves, of all leases of the store, wait for
// those that are under way. It counts from the watchdog's next look.
func SetPatience(l driver.Lease, d time.Duration) {
	w := l.(*lease).s.patience
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limit = d
}

// SkipEpochs has a lease believe in an epoch that is yet to come.
func SkipEpochs(l driver.Lease, n int64) { l.(*lease).epoch.Add(n) }

// SetLong makes queues long, for a store, from so many keys on; 0: from when they were read.
func SetLong(st driver.Store, n int64) {
	l := st.(*store).lengths
	l.mu.Lock()
	defer l.mu.Unlock()
	l.from = n
}

// MaxKnown is how many long queues a store remembers.
const MaxKnown = maxKnown

// NoteLength tells a store how many keys a queue has.
func NoteLength(st driver.Store, name string, n int64) { st.(*store).lengths.note(name, n) }

// IsLong tells whether a store takes a queue for a long one.
func IsLong(st driver.Store, name string) bool { return st.(*store).lengths.areLong(name) }

// RefreshStream has the next watches of a store go on another stream.
func RefreshStream(st driver.Store) { st.(*store).refreshStream(presentStream(st)) }

// AbandonStream ends the watches on the stream that a store's next watch would go on.
func AbandonStream(st driver.Store) {
	on := presentStream(st)
	st.(*store).refreshStream(on)
	on.abandon()
}

func presentStream(st driver.Store) *stream {
	s := st.(*store)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stream
}
