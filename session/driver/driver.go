package driver

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// A Store is a connection to a store, shared by the leases granted through it.
// Its methods are safe for concurrent use.
type Store interface {
	// Backend names the kind of store, "etcd" say, for telemetry and errors.
	Backend() string

	// Grant obtains a lease of about spec.TTL; the store may round it, and
	// [Lease.TTL] tells what it granted. It returns the local time at which the
	// request that started the lease's life, or last prolonged it, was sent.
	Grant(ctx context.Context, spec Spec) (Lease, time.Time, error)

	// Read returns a queue, with its first n entries; n = 0 means all. It is
	// linearizable. Whoever joined under an earlier limit than it shows, and is
	// still there, is among the entries.
	Read(ctx context.Context, name string, n int) (Queue, error)

	// Watch calls f with the queue, at once and then after each change of its
	// entries or of its limit, until ctx ends, f fails, or there is trouble; it
	// returns that error. Several changes may be reported as one.
	Watch(ctx context.Context, name string, f func(Queue) error) error

	// SetLimit changes the limit of a queue that has entries from one that was
	// seen to another, whose version does not matter. It fails with ErrConflict
	// and does nothing if the queue has no longer that limit, by its version. No
	// Join that began under it takes effect any more.
	SetLimit(ctx context.Context, name string, from, to Limit) error

	// List returns the queues whose name starts with prefix and that have
	// entries, by name.
	List(ctx context.Context, prefix string) ([]Queue, error)

	// Identify returns the identity of the session that owns e, and "" when
	// nobody knows it, as for an entry of another library. Where the answer
	// needs no I/O it is given even if ctx is done.
	Identify(ctx context.Context, e Entry) (string, error)

	// Break leaves the mark m for the owner of the entry e, which Read or Watch
	// has shown, and with force removes the entry in the same step: whoever learns
	// that it is gone finds the mark. It fails with ErrEntryGone, and does nothing,
	// when that very entry, by its identity, is not there any more. To leave a mark
	// twice is to leave it once. An entry without an ID is removed without a mark;
	// without force, Break of such an entry fails for good.
	//
	// The mark goes with the owner's lease or, where the store cannot tie it to
	// that, is swept after the lease's end.
	Break(ctx context.Context, e Entry, m Mark, force bool) error

	// Close ends the connection. Leases that were not revoked expire.
	Close() error
}

// A Remainer is a Store that can be asked how long an owner's lease has left, where
// it does not tell along with the entry, as that costs a request.
type Remainer interface {
	// Remaining returns what the lease of the owner of e has left, and 0 when
	// nobody knows it.
	Remaining(ctx context.Context, e Entry) (time.Duration, error)
}

// A Lease is what a session's entries hang on. Its methods are safe for
// concurrent use.
type Lease interface {
	// ID is the lease's name in the store, as Entry.Lease has it.
	ID() string

	// TTL is the time to live as the store granted it.
	TTL() time.Duration

	// Renew prolongs the lease to TTL from now, on the store's clock.
	Renew(ctx context.Context) error

	// Lag is by how much the news of a renewal may be late where the lease's end
	// is decided: one that was acknowledged proves that those sent at least Lag
	// before it count. It is 0 where a renewal is acknowledged when it counts.
	Lag() time.Duration

	// Check asks the store, linearizably, whether the lease is alive.
	Check(ctx context.Context) error

	// Watch blocks until ctx ends, there is trouble, or the store shows that
	// the lease is gone (ErrLeaseGone). It spares a holder whose lease was
	// revoked the wait until its next renewal. Meanwhile it calls marked, which
	// returns at once, when a mark for one of the lease's entries was left, or was
	// there when the watch began. It may call it for nothing, and it may miss a
	// mark: whoever waits for one asks Marks now and then.
	Watch(ctx context.Context, marked func()) error

	// Marks lists the marks that were left for entries of this lease and not
	// cleared since, also of entries that are gone. It may lag behind other calls, but
	// shows what Watch has told of, and the mark of an entry that the lease's other
	// methods have shown to be gone.
	Marks(ctx context.Context) ([]Mark, error)

	// Clear removes a mark that was obeyed. It returns nil when the mark is known
	// to be gone.
	Clear(ctx context.Context, m Mark) error

	// Revoke ends the lease and removes its entries. It returns nil when the
	// lease is known to be gone, whoever ended it.
	Revoke(ctx context.Context) error

	// Join appends an entry to the queue c.Name and returns the queue as seen
	// from it, in the moment in which it was made or, with Followed, later. The
	// claim's ID must not be in use.
	//
	// With c.Admit, it appends only if Admit accepts the view that the entry
	// would have, as one atomic step, and otherwise fails with a *Refused; nobody
	// behind is delayed by an entry that was refused. Where others join so often that
	// this step would be put off again and again, the entry may be made first, and
	// taken back before Join, or Resolve, returns: who comes in between waits for that.
	//
	// With c.Limit, it gives that limit to a queue that has no entries, and
	// fails with a *LimitError if the queue has some and another limit, or none.
	// The view shows the limit as it is in the moment in which the entry is made.
	// Without c.Limit it does not look.
	Join(ctx context.Context, c Claim) (View, error)

	// Resolve settles a Join of the claim whose outcome is unknown. It returns
	// the view from the entry when it was made. When it was not, Resolve fails
	// with ErrEntryGone, and then the Join can never take effect any more:
	// "not found" alone would not do, as the request may still be in flight.
	// Nor does it return an entry that the Join has refused and begun to take
	// back: that request may still be in flight, too, and would take the entry away
	// from who holds by it.
	Resolve(ctx context.Context, c Claim) (View, error)

	// Withdraw settles such a Join for a caller that wants the entry no more. It
	// returns nil when the entry is known to be gone and the Join can never
	// take effect any more.
	Withdraw(ctx context.Context, c Claim) error

	// Wait blocks until one of the obstacles, which v shows, has left the queue or
	// has changed, and returns a later view. To wait for one entry costs the
	// store the same whatever the length of the queue; no event that concerns
	// other entries alone wakes it. It fails with ErrEntryGone when v.Me is no
	// longer there.
	Wait(ctx context.Context, v View, on Obstacles) (View, error)

	// Look returns the present view from the entry, linearizably, or
	// ErrEntryGone. With it a holder confirms that it still holds.
	Look(ctx context.Context, e Entry) (View, error)

	// Update replaces the entry's value and returns the entry as it is then. It
	// fails with ErrEntryGone when the entry is not there. An Update that was
	// overtaken by a later one does not take effect.
	Update(ctx context.Context, e Entry, value string) (Entry, error)

	// Leave removes the entry. It returns nil when the entry is known to be
	// gone, whoever removed it.
	Leave(ctx context.Context, e Entry) error

	// Entries lists the entries of this lease: name, ID and what Leave needs
	// are set, the rest may be missing. It may lag behind other calls.
	Entries(ctx context.Context) ([]Entry, error)
}

// A Spec says what lease is wanted.
type Spec struct {
	TTL      time.Duration
	Identity string // shown to others as holder or waiter
}

// A Mode is what an entry asks for.
type Mode string

const (
	Exclusive Mode = "exclusive" // excludes every other entry
	Shared    Mode = "shared"    // excludes exclusive entries
	Permit    Mode = "permit"    // counts against the queue's limit
)

// A Claim asks for an entry.
type Claim struct {
	Name  string
	ID    string // 32 hex digits, unique to this acquisition
	Kind  string // the primitive: "mutex", "election", …
	Mode  Mode
	Value string // the proposal of a candidate; see [Lease.Update]
	Info  Info
	Limit int64 // of the queue, for permits; else 0

	// Private says that the value is the primitive's own: the owner of a grant
	// must not replace it.
	Private bool

	// Admit, when not nil, makes Join conditional.
	Admit func(v View) bool
}

// Info tells others about an entry. It is fixed when the entry is made.
type Info struct {
	Note  string            // what the owner is doing, in its own words
	Since time.Time         // by the owner's clock: for display only
	Trace trace.SpanContext // the acquisition's span; need not be valid
}

// An Entry is a place in a queue.
type Entry struct {
	Name    string
	Key     string // the store's own name for it
	ID      string // as in the claim; "" when another library made it
	Token   uint64 // strictly increasing in join order: the fencing token
	Version uint64 // changes with each Update
	Lease   string // the owner's lease, "" when unknown
	Kind    string // "" when another library made it
	Mode    Mode
	Value   string
	Info    Info

	Identity string        // of the owner, where known; see [Store.Identify]
	TTLLeft  time.Duration // of the owner's lease when read; 0 when unknown
}

// A Mark tells the owner of an entry that somebody breaks it: what the entry
// entitles to has to end, and the entry to leave.
//
// Its JSON, without the ID, is what stores may keep of it.
type Mark struct {
	ID     string `json:"-"`                // of the entry
	By     string `json:"by"`               // who breaks it
	Reason string `json:"reason,omitempty"` // in their own words; may be empty
}

// A View is a queue as seen from one entry.
type View struct {
	Me Entry

	// Ahead is who is ahead of Me, nearest last: all of them, except that an
	// exclusive entry may see the nearest alone, or that and the first, or another
	// until that leaves, but none only where there is none; and a shared one need not see those
	// that were made as shared, nor who is ahead of one that was not and has no value.
	// Of those ahead of a permit some may be hidden.
	Ahead []Entry

	// Hidden is how many permits are left out of Ahead, of which each weighs 1 at least. It
	// is 0 with a claim's Admit, and unless the nearest ahead, which then is alone in Ahead,
	// has to wait for sure: those hidden are as many as the limit or more, and it was never
	// updated, nor is its token one of those that the limit says hold.
	Hidden int

	// Followed says that somebody may have come behind Me before this view, and
	// seen what was not Me's turn yet. Join alone has to tell.
	Followed bool

	Limit Limit  // of the queue, where Me is a permit
	At    uint64 // the store's version of this view, for the driver's own use
}

// Obstacles are what stands between an entry and its turn.
type Obstacles struct {
	Entries []Entry // ahead in the queue
	Limit   bool    // the limit that the queue has now
}

// A Limit is how much the permits of a queue may weigh together. It lasts as long
// as the queue has entries.
type Limit struct {
	N       int64  // 0: the queue has none
	Through uint64 // entries with tokens up to this one hold, whatever N is now
	Stamp   bool   // who joins now has to say when it holds: N is about to change
	Version uint64 // changes with each change
}

// A Queue is a name and its entries, in order.
type Queue struct {
	Name    string
	Entries []Entry
	Limit   Limit
}
