package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
)

// A Kind of event in a replica's journal.
type Kind string

// What replicas write down.
const (
	Asked     Kind = "asked"     // about to call Lock or Campaign
	Queued    Kind = "queued"    // saw its own entry, with Token, in the queue
	Granted   Kind = "granted"   // the call has returned
	Releasing Kind = "releasing" // about to call Release or Resign
	Lost      Kind = "lost"      // the grant's context is done; trust ended at Until
	GaveUp    Kind = "gave up"   // the call ended without a grant, as the demo ends
	Expired   Kind = "expired"   // the session's lease ran out
	Wrote     Kind = "wrote"     // the register accepted the write
	Refused   Kind = "refused"   // the register refused it
)

// An Event is a line of a journal.
type Event struct {
	At     int64  `json:"at"` // on the machine's monotonic clock, in nanoseconds
	Kind   Kind   `json:"kind"`
	Name   string `json:"name,omitempty"`   // of the lock or the election
	Token  uint64 `json:"token,omitempty"`  // of the entry, the grant, or the write
	Until  int64  `json:"until,omitempty"`  // Lost: when trust in the lease ended
	Serial uint64 `json:"serial,omitempty"` // Wrote, Refused: the register's count of writes
	Newest uint64 `json:"newest,omitempty"` // Refused: the newest token that the register has seen
}

// A journal is what one replica writes down. Each event is one write to a file
// opened for appending, so what is in it stays when the replica is killed.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

func openJournal(path string) (*journal, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &journal{file: f}, nil
}

// note appends an event; its time is now.
func (j *journal) note(e Event) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	e.At = monotonic()
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	_, err = j.file.Write(append(line, '\n'))
	return err
}

func (j *journal) close() error { return j.file.Close() }

// A reader follows a journal while it is being written.
type reader struct {
	file *os.File
	rest []byte // the beginning of a line whose end is not there yet
}

func openReader(path string) (*reader, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &reader{file: f}, nil
}

// next returns the events that were appended since the last call.
func (r *reader) next() ([]Event, error) {
	more, err := io.ReadAll(r.file)
	if err != nil {
		return nil, err
	}
	r.rest = append(r.rest, more...)
	var events []Event
	for {
		line, rest, whole := bytes.Cut(r.rest, []byte("\n"))
		if !whole {
			return events, nil
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return events, fmt.Errorf("journal %s: line %q: %w", r.file.Name(), line, err)
		}
		events = append(events, e)
		r.rest = rest
	}
}

func (r *reader) close() error { return r.file.Close() }
