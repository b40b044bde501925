package redis

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/internal/traceparent"
	"github.com/fairlead-go/fairlead/session/driver"
)

// layout is the version of what we write about entries, and the newest that we read.
const layout = 1

// A record is what the second line of an entry's record says, in JSON.
type record struct {
	Layout   int    `json:"layout"`
	Kind     string `json:"kind"`
	Identity string `json:"identity,omitempty"` // of the owner
	Since    int64  `json:"since,omitempty"`    // milliseconds since 1970
	Note     string `json:"note,omitempty"`
	Trace    string `json:"trace,omitempty"` // as in the header traceparent
}

func encodeInfo(identity string, c driver.Claim) string {
	r := record{Layout: layout, Kind: c.Kind, Identity: identity, Note: c.Info.Note, Trace: traceparent.Format(c.Info.Trace)}
	if !c.Info.Since.IsZero() {
		r.Since = c.Info.Since.UnixMilli()
	}
	b, err := json.Marshal(r)
	if err != nil { // strings and numbers always can be
		panic("redis: encode entry: " + err.Error())
	}
	return string(b)
}

// decodeEntry reads the record of an entry:
//
//	token version session inbox mode
//	{"layout":1, …}
//	the value, which may have further lines
func (s *store) decodeEntry(name, id, text, left string) (driver.Entry, error) {
	e := driver.Entry{Name: name, ID: id, Key: s.prefix + "d:" + name + "#" + id}
	garbled := driver.Permanent(fmt.Errorf("the record of an entry of queue %q is garbled: remove the field %s of the key %q when nobody uses the queue",
		name, id, s.prefix+"d:"+name))
	head, rest, ok1 := strings.Cut(text, "\n")
	info, value, ok2 := strings.Cut(rest, "\n")
	words := strings.Fields(head)
	if !ok1 || !ok2 || len(words) != 5 {
		return e, garbled
	}
	token, err1 := strconv.ParseUint(words[0], 10, 64)
	version, err2 := strconv.ParseUint(words[1], 10, 64)
	ms, err3 := strconv.ParseInt(left, 10, 64)
	var r record
	err4 := json.Unmarshal([]byte(info), &r)
	if r.Layout > layout { // whatever else it says, which may have other types
		return e, driver.LayoutError(e.Key, r.Layout, layout)
	}
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil || r.Layout < 1 {
		return e, garbled
	}
	// The scripts take any other spelling for garbled, and would never see it expire.
	if fmt.Sprintf("%d %d %s %s %s", token, version, words[2], words[3], words[4]) != head {
		return e, garbled
	}
	e.Token, e.Version, e.Lease, e.Mode, e.Value = token, version, words[2], driver.Mode(words[4]), value
	e.Kind, e.Identity, e.Info = r.Kind, r.Identity, driver.Info{Note: r.Note, Trace: traceparent.Parse(r.Trace)}
	e.TTLLeft = duration(ms)
	if r.Since != 0 {
		e.Info.Since = time.UnixMilli(r.Since)
	}
	return e, nil
}

// decodeEntries reads what the scripts append: ID, record and milliseconds of each.
func (s *store) decodeEntries(name string, words []string) ([]driver.Entry, error) {
	if len(words)%3 != 0 {
		return nil, fmt.Errorf("the entries of queue %q are told in %d words", name, len(words))
	}
	var entries []driver.Entry
	for ; len(words) > 0; words = words[3:] {
		e, err := s.decodeEntry(name, words[0], words[1], words[2])
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// decodeLimit reads "N through stamp version"; "" is no limit.
func decodeLimit(name, text string) (driver.Limit, error) {
	var l driver.Limit
	if text == "" {
		return l, nil
	}
	var stamp int
	_, err := fmt.Sscanf(text, "%d %d %d %d", &l.N, &l.Through, &stamp, &l.Version)
	l.Stamp = stamp == 1
	if err != nil || l.N < 1 || encodeLimit(l) != text {
		return driver.Limit{}, driver.Permanent(fmt.Errorf("the limit of queue %q is garbled: %q", name, text))
	}
	return l, nil
}

// encodeLimit is how the scripts write a limit.
func encodeLimit(l driver.Limit) string {
	stamp := 0
	if l.Stamp {
		stamp = 1
	}
	return fmt.Sprintf("%d %d %d %d", l.N, l.Through, stamp, l.Version)
}

// duration is that of some milliseconds, or the longest there is: somebody may have told a
// key to expire later than that.
func duration(ms int64) time.Duration {
	return time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

// decodeView reads what a script tells as a view: limit, entry, and who is ahead.
func (s *store) decodeView(name string, words []string) (driver.View, error) {
	if len(words) < 4 {
		return driver.View{}, fmt.Errorf("the view of queue %q is told in %d words", name, len(words))
	}
	limit, err := decodeLimit(name, words[0])
	if err != nil {
		return driver.View{}, err
	}
	all, err := s.decodeEntries(name, words[1:])
	if err != nil {
		return driver.View{}, err
	}
	return driver.View{Me: all[0], Ahead: all[1:], Limit: limit}, nil
}
