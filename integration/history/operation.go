package history

import (
	"fmt"
	"time"
)

// An Op is what a client asks for.
type Op struct {
	kind  kind
	token uint64
	n     int64 // weight or limit
	value string
}

type kind uint8

const (
	lock kind = iota
	rlock
	acquire
	downgrade
	release
	lose
	write
	proclaim
	leader
	resize
)

// Lock acquires exclusively: a mutex, a read-write lock as writer.
func Lock() Op { return Op{kind: lock} }

// Campaign is Lock for an election: it acquires leadership with that value.
func Campaign(value string) Op { return Op{kind: lock, value: value} }

// RLock acquires a read-write lock as reader.
func RLock() Op { return Op{kind: rlock} }

// Acquire acquires n permits of a semaphore.
func Acquire(n int64) Op { return Op{kind: acquire, n: n} }

// Downgrade makes a reader of the writer with that token; see [Call.Granted].
func Downgrade(token uint64) Op { return Op{kind: downgrade, token: token} }

// Release gives back what is held with that token, of whatever kind. Releasing
// twice is legal, and so is a success where the hold had been lost: who retries a
// release cannot tell. Where ErrLost is returned for a hold whose loss was
// recorded, the call has [Call.Failed]; where it was not, it is [Call.Unknown].
func Release(token uint64) Op { return Op{kind: release, token: token} }

// Lose ends the hold with that token without a release. The documentation of the
// package says when to begin it. It has no effect on what is no longer held.
func Lose(token uint64) Op { return Op{kind: lose, token: token} }

// Write writes to a register that refuses tokens lower than the highest it has
// seen. It needs no hold: to judge who is late is what the token is for.
func Write(token uint64) Op { return Op{kind: write, token: token} }

// Proclaim changes the value of the leader with that token.
func Proclaim(token uint64, value string) Op {
	return Op{kind: proclaim, token: token, value: value}
}

// Leader asks for the leader; see [Call.Saw]. Record answers that the store gave
// when asked, and not what an observer was told, which may lag behind.
func Leader() Op { return Op{kind: leader} }

// Resize changes the limit of a semaphore.
func Resize(limit int64) Op { return Op{kind: resize, n: limit} }

func (o Op) String() string {
	switch o.kind {
	case lock:
		if o.value != "" {
			return fmt.Sprintf("campaign(%q)", o.value)
		}
		return "lock"
	case rlock:
		return "rlock"
	case acquire:
		return fmt.Sprintf("acquire(%d)", o.n)
	case downgrade:
		return fmt.Sprintf("downgrade(token %d)", o.token)
	case release:
		return fmt.Sprintf("release(token %d)", o.token)
	case lose:
		return fmt.Sprintf("lose(token %d)", o.token)
	case write:
		return fmt.Sprintf("write(token %d)", o.token)
	case proclaim:
		return fmt.Sprintf("proclaim(token %d, %q)", o.token, o.value)
	case leader:
		return "leader"
	case resize:
		return fmt.Sprintf("resize(%d)", o.n)
	}
	return fmt.Sprintf("kind %d", o.kind)
}

// acquires tells whether a grant of this kind is a new one, with a new token.
func (k kind) acquires() bool { return k == lock || k == rlock || k == acquire }

// may tells whether an operation of this kind can end with o.
func (k kind) may(o outcome) bool {
	switch o.status {
	case unknown, failed:
		return true
	case granted:
		return (k.acquires() || k == downgrade) && o.token != 0
	case saw:
		return k == leader
	case refused:
		return k == write
	case done:
		return !k.acquires() && k != downgrade && k != leader
	}
	return false
}

type status uint8

const (
	unknown status = iota // the zero value, for calls that do not end
	done
	failed
	refused
	granted
	saw
)

type outcome struct {
	status status
	token  uint64 // granted or seen
	value  string // seen
}

func (o outcome) String() string {
	switch o.status {
	case done:
		return "done"
	case failed:
		return "failed"
	case refused:
		return "refused"
	case granted:
		return fmt.Sprintf("granted token %d", o.token)
	case saw:
		if o.token == 0 {
			return "nobody"
		}
		return fmt.Sprintf("%q, token %d", o.value, o.token)
	}
	return "unknown"
}

// An operation is a call as a model sees it. With an unknown outcome, it ends
// never.
type operation struct {
	client    int
	op        Op
	out       outcome
	call, end int64
	queued    int64 // when it was seen in the queue, or 0
}

func (o *operation) String() string {
	return fmt.Sprintf("client %d: %v -> %v", o.client, o.op, o.out)
}

// interval says when the operation was, counted from start.
func (o *operation) interval(start int64) string {
	if o.end == never {
		return fmt.Sprintf("[%v, …]", time.Duration(o.call-start))
	}
	return fmt.Sprintf("[%v, %v]", time.Duration(o.call-start), time.Duration(o.end-start))
}
