package zk

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/fairlead-go/fairlead/internal/traceparent"
	"github.com/fairlead-go/fairlead/session/driver"
)

// layout is the version of what we write into nodes, and the newest that we read.
const layout = 1

// header is what the data of our nodes begins with: others write what they like.
const header = "fairlead "

// A record is the data of an entry: the header, this in JSON, a newline and the
// value of the claim.
type record struct {
	Layout int    `json:"layout"`
	Kind   string `json:"kind"`
	Since  int64  `json:"since,omitempty"` // milliseconds since 1970
	Note   string `json:"note,omitempty"`
	Trace  string `json:"trace,omitempty"` // as in the header traceparent
}

func encodeEntry(kind string, info driver.Info, value string) []byte {
	r := record{Layout: layout, Kind: kind, Note: info.Note, Trace: traceparent.Format(info.Trace)}
	if !info.Since.IsZero() {
		r.Since = info.Since.UnixMilli()
	}
	b, err := json.Marshal(r)
	if err != nil { // strings and numbers always can be
		panic("zk: encode entry: " + err.Error())
	}
	return append(append(append([]byte(header), b...), '\n'), value...)
}

// decodeEntry adds to e what its data say. Data that are not ours are a value; a
// newer layout is refused.
func decodeEntry(e *driver.Entry, data []byte) error {
	rest, ok := bytes.CutPrefix(data, []byte(header))
	head, value, found := bytes.Cut(rest, []byte("\n"))
	if !ok || !found {
		e.ID, e.Value = "", string(data)
		return nil
	}
	var r record
	err := json.Unmarshal(head, &r)
	if r.Layout > layout { // whatever else it says, which may have other types
		return driver.LayoutError(e.Key, r.Layout, layout)
	}
	if err != nil || r.Layout < 1 {
		e.ID, e.Value = "", string(data)
		return nil
	}
	e.Kind, e.Value, e.Info = r.Kind, string(value), driver.Info{Note: r.Note, Trace: traceparent.Parse(r.Trace)}
	if r.Since != 0 {
		e.Info.Since = time.UnixMilli(r.Since)
	}
	return nil
}

// A limitRecord is the data of a limit's node.
type limitRecord struct {
	Limit   int64  `json:"limit"`
	Through uint64 `json:"through,omitempty"`
	Stamp   bool   `json:"stamp,omitempty"`
}

func (r limitRecord) encode() []byte {
	b, err := json.Marshal(r)
	if err != nil { // numbers always can be
		panic("zk: encode limit: " + err.Error())
	}
	return b
}

// A sessionRecord is the data of a session's node.
type sessionRecord struct {
	Identity string                 `json:"identity"`
	Marks    map[string]driver.Mark `json:"marks,omitempty"` // by the entry's ID
}

func (r sessionRecord) encode() []byte {
	b, err := json.Marshal(r)
	if err != nil { // a string always can be
		panic("zk: encode session: " + err.Error())
	}
	return b
}
