package journal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// A Writer appends to the journal of one life. It is safe for concurrent use.
type Writer struct {
	mu   sync.Mutex
	file *os.File
	last int // ID given out
}

// Create begins a journal. One that is there already is of an earlier run.
func Create(path string) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	return &Writer{file: f}, nil
}

// NewID returns an ID for a call.
func (w *Writer) NewID() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last++
	return w.last
}

// Note appends an event, whose time is now unless it has one. What cannot be
// written down must not happen: so it panics.
func (w *Writer) Note(e Event) {
	if e.At == 0 {
		e.At = Now()
	}
	line, err := json.Marshal(e)
	if err == nil {
		_, err = w.file.Write(append(line, '\n'))
	}
	if err != nil {
		panic(fmt.Sprintf("journal: write %s: %v", w.file.Name(), err))
	}
}

// Close ends the journal.
func (w *Writer) Close() error { return w.file.Close() }

// Read returns the events of a journal, in the order in which they were written,
// which need not be quite that of their times. The last line of a process that was
// killed may be cut short, and does not count.
func Read(path string) ([]Event, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var events []Event
	for {
		line, rest, whole := bytes.Cut(text, []byte("\n"))
		if !whole {
			return events, nil
		}
		var e Event
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("journal %s: line %q: %w", path, line, err)
		}
		events = append(events, e)
		text = rest
	}
}

// WriteStrikes writes the faults of a run to a file, a line each, for who reads the
// journals later.
func WriteStrikes(path string, strikes []Strike) error {
	var text bytes.Buffer
	for i := range strikes {
		line, err := json.Marshal(&strikes[i])
		if err != nil {
			return err
		}
		text.Write(append(line, '\n'))
	}
	return os.WriteFile(path, text.Bytes(), 0o644)
}
