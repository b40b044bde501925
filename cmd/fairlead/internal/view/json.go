package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/watch"
)

// A Queue is a queue as JSON has it. The names of its fields, and those of Entry and
// Leadership, are part of the command's interface: docs/command-line.md lists them.
type Queue struct {
	Time    time.Time `json:"time"`
	Name    string    `json:"name"`
	Kind    string    `json:"kind"`
	Limit   int64     `json:"limit,omitempty"`
	Holders []Entry   `json:"holders"`
	Waiters []Entry   `json:"waiters"`
}

// An Entry is a holder or a waiter.
type Entry struct {
	Token    uint64    `json:"token"`
	Identity string    `json:"identity"`
	Kind     string    `json:"kind"`
	Mode     string    `json:"mode"`
	Permits  int64     `json:"permits,omitempty"`
	Note     string    `json:"note"`
	Value    string    `json:"value"`
	Key      string    `json:"key"`
	Joined   time.Time `json:"joined,omitzero"`
	Age      *float64  `json:"age_seconds,omitempty"`
	TTLLeft  float64   `json:"ttl_left_seconds,omitempty"`
	WaitsFor []uint64  `json:"waits_for,omitempty"`
}

// Leadership is who leads, or nobody.
type Leadership struct {
	Time   time.Time `json:"time"`
	Name   string    `json:"name"`
	Leader *Leader   `json:"leader"`
}

// A Leader of an election.
type Leader struct {
	Value    string `json:"value"`
	Identity string `json:"identity"`
	Token    uint64 `json:"token"`
}

// QueueOf returns a queue as read at that time.
func QueueOf(q watch.Snapshot, now time.Time) Queue {
	return Queue{
		Time: instant(now), Name: q.Name, Kind: q.Kind, Limit: q.Limit,
		Holders: entriesOf(q.Holders, now), Waiters: entriesOf(q.Waiters, now),
	}
}

func entriesOf(entries []watch.Entry, now time.Time) []Entry {
	all := make([]Entry, 0, len(entries)) // [] and not null
	for _, e := range entries {
		shown := Entry{
			Token: e.Token, Identity: e.Identity, Kind: e.Kind, Mode: e.Mode, Permits: e.Weight, Note: e.Note, Value: e.Value, Key: e.Key,
			TTLLeft: seconds(e.TTLLeft), WaitsFor: e.WaitsFor,
		}
		if d, ok := age(e.Since, now); ok {
			s := seconds(d)
			shown.Joined, shown.Age = instant(e.Since), &s
		}
		all = append(all, shown)
	}
	return all
}

// LeadershipOf returns who leads as seen at that time; a leader with the token 0 is
// nobody.
func LeadershipOf(name string, l election.Leader, now time.Time) Leadership {
	shown := Leadership{Time: instant(now), Name: name}
	if l.Token != 0 {
		shown.Leader = &Leader{Value: l.Value, Identity: l.Identity, Token: l.Token}
	}
	return shown
}

func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

func seconds(d time.Duration) float64 { return d.Truncate(time.Millisecond).Seconds() }

// Write writes v as JSON, in one line or indented.
func Write(w io.Writer, v any, indent bool) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if indent {
		enc.SetIndent("", "  ")
	}
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(harmless(b.Bytes()))
	return err
}

// harmless escapes what a terminal may obey and package json leaves as it is. Outside
// of ASCII there is nothing but strings in JSON, so everywhere an escape may stand.
func harmless(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r == '\n' || printable(r) || r == utf8.RuneError:
			out = append(out, text[:n]...)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		text = text[n:]
	}
	return out
}
