package journal

import "time"

// A Kind of event.
type Kind string

// What clients write down. Those in pairs come before and after a call.
const (
	Opened Kind = "opened" // the session is there
	Leased Kind = "leased" // the session has a lease: at its beginning, and after each loss

	Asked   Kind = "asked"   // about to ask for a turn; ID names the acquisition from here on
	Granted Kind = "granted" // the call has returned a grant
	Barred  Kind = "barred"  // it has returned without, and has certainly had no effect
	GaveUp  Kind = "gave up" // its context has ended, and it has returned without
	Failed  Kind = "failed"  // it has returned without, for a reason that it should not have

	Releasing Kind = "releasing" // at that time the grant was good, and is about to be released
	Released  Kind = "released"  // the release has returned; Error says how
	Lost      Kind = "lost"      // the grant's context is done, or Check says that it is lost

	Downgrading Kind = "downgrading"
	Downgraded  Kind = "downgraded"

	Proclaiming Kind = "proclaiming"
	Proclaimed  Kind = "proclaimed"
	Looking     Kind = "looking" // for the leader
	Saw         Kind = "saw"
	Resizing    Kind = "resizing"
	Resized     Kind = "resized"
	Writing     Kind = "writing" // to the register
	Wrote       Kind = "wrote"   // it has answered; Refused says how

	Stalled Kind = "stalled" // the process did not run between From and At
	Closing Kind = "closing" // the session
	Closed  Kind = "closed"
	Leaked  Kind = "leaked" // goroutines that are left after that: Error has them
)

// An Op is what is asked for.
type Op string

// What clients ask for.
const (
	Lock     Op = "lock"
	RLock    Op = "rlock"
	Acquire  Op = "acquire"
	Campaign Op = "campaign"
)

// An Event is a line of a journal.
type Event struct {
	At   int64 `json:"at"` // see Now
	Kind Kind  `json:"kind"`

	ID   int    `json:"id,omitempty"`   // of the call, unique in this life of the client
	Hold int    `json:"hold,omitempty"` // the ID of the acquisition that the event is about
	Op   Op     `json:"op,omitempty"`
	Try  bool   `json:"try,omitempty"` // Asked: without waiting
	Name string `json:"name,omitempty"`

	Token   uint64 `json:"token,omitempty"`
	N       int64  `json:"n,omitempty"`     // weight, or limit
	Value   string `json:"value,omitempty"` // proposed, proclaimed or seen
	Refused bool   `json:"refused,omitempty"`
	From    int64  `json:"from,omitempty"`
	Error   string `json:"error,omitempty"`
}

// A Strike is a fault, from its beginning to when it was undone.
type Strike struct {
	Kind   string `json:"kind"`
	Text   string `json:"text"` // for people
	From   int64  `json:"from"` // before it was done
	Done   int64  `json:"done"` // when it had been done
	To     int64  `json:"to"`   // when it was undone; Done where there is nothing to undo
	Member int    `json:"member"`
	Leader bool   `json:"leader,omitempty"` // the member led
	Moved  bool   `json:"moved,omitempty"`  // it handed that over in good order

	Crash bool `json:"crash,omitempty"` // the member died, or may have, without notice

	Failed bool `json:"failed,omitempty"` // the operator was told that it did not work, or not told that it did

	Full bool `json:"full,omitempty"` // the store, or the member, had no space left

	Refused bool `json:"refused,omitempty"` // clients with an older password are not let in

	// Clock is by how far the member's clock was stepped, forward if it is positive.
	Clock time.Duration `json:"clock,omitempty"`

	Client int    `json:"client"`           // who was hit, -1 for nobody
	Life   string `json:"life,omitempty"`   // and which life of it
	Death  bool   `json:"death,omitempty"`  // the client died
	Cut    bool   `json:"cut,omitempty"`    // its network was bad
	Frozen bool   `json:"frozen,omitempty"` // the client, or the member, stood still

	Ended bool   `json:"ended,omitempty"` // an operator ended the session of that life
	Name  string `json:"name,omitempty"`  // an operator removed the entry with that token
	Token uint64 `json:"token,omitempty"`
}

// Server tells whether a member, or what it keeps, was hit.
func (s *Strike) Server() bool { return s.Client < 0 }

// Overlaps tells whether the fault lasted some time between from and to.
func (s *Strike) Overlaps(from, to int64) bool { return s.From < to && from < s.To }

// Span is how long it lasted.
func (s *Strike) Span() time.Duration { return time.Duration(s.To - s.From) }
