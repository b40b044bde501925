package postgres

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fairlead-go/fairlead/internal/traceparent"
	"github.com/fairlead-go/fairlead/session/driver"
)

// A row is one of the type answer in functions.sql.
type row struct {
	what, queue    string
	token          int64
	id             string
	session        int64
	kind, mode     string
	version        int64
	value          []byte
	info, identity string
	left           int64 // of the session, in milliseconds; 0: it has expired, -1: it is gone
	n, through     int64
	stamp          bool
	limitVersion   int64
	told           bool
}

// columns of the type answer, in the order in which scan reads them.
const columns = "what, queue, token, id, session, kind, mode, version, value, info, identity, ttl_left, n, through, stamp, limit_version, told"

func (r *row) scan(rows pgx.Rows) error { return rows.Scan(r.fields()...) }

func (r *row) fields() []any {
	return []any{&r.what, &r.queue, &r.token, &r.id, &r.session, &r.kind, &r.mode, &r.version, &r.value, &r.info,
		&r.identity, &r.left, &r.n, &r.through, &r.stamp, &r.limitVersion, &r.told}
}

func (r *row) isEntry() bool { return r.what == "entry" }

// isOver reports an entry whose session has ended or, if that is asked for, may have
// to be ended as it has expired.
func (r *row) isOver(expired bool) bool {
	return r.isEntry() && (r.left < 0 || r.left == 0 && expired)
}

// left is how long a session has left, or the longest time there is: the row may be of
// somebody else's making.
func left(ms int64) time.Duration {
	return time.Duration(min(max(ms, 0), math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

func (r *row) limit() driver.Limit {
	return driver.Limit{N: r.n, Through: uint64(r.through), Stamp: r.stamp, Version: uint64(r.limitVersion)}
}

// entry returns the entry that the row is about, in the queue of that name.
func (s *store) entry(name string, r *row) driver.Entry {
	return driver.Entry{
		Name: name, Key: s.key(r.session, r.id), ID: r.id,
		Token: uint64(r.token), Version: uint64(r.version), Lease: leaseID(r.session),
		Kind: r.kind, Mode: driver.Mode(r.mode), Value: string(r.value), Info: decodeInfo(r.info),
		Identity: r.identity, TTLLeft: left(r.left),
	}
}

// keyPrefix begins the keys of this backend, with the version of their form.
const keyPrefix = "pg1"

// key names an entry: the namespace, the session, and the claim.
func (s *store) key(session int64, claim string) string {
	return keyPrefix + "/" + s.ns + "/" + leaseID(session) + "/" + claim
}

// parseKey returns the namespace and the claim of an entry's key.
func parseKey(key string) (ns, claim string, ok bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 4 || parts[0] != keyPrefix || checkNamespace(parts[1]) != nil {
		return "", "", false
	}
	session, err := strconv.ParseUint(parts[2], 16, 64)
	if err != nil || leaseID(int64(session)) != parts[2] {
		return "", "", false
	}
	return parts[1], parts[3], true
}

// entries returns the entries among the rows, in their order.
func (s *store) entries(name string, rows []row) []driver.Entry {
	var entries []driver.Entry
	for i := range rows {
		if rows[i].isEntry() {
			entries = append(entries, s.entry(name, &rows[i]))
		}
	}
	return entries
}

// inOrder puts rows that are entries in order.
func inOrder(rows []row) []row {
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.token, b.token) })
	return rows
}

// queue returns the queue that consists of the rows.
func (s *store) queue(name string, rows []row) driver.Queue {
	q := driver.Queue{Name: name, Entries: s.entries(name, inOrder(rows))}
	if isLimited(q.Entries) {
		q.Limit = rows[0].limit()
	}
	return q
}

// isLimited reports whether a queue is one of permits. Otherwise a limit that may
// be there is left over.
func isLimited(entries []driver.Entry) bool {
	return len(entries) > 0 && entries[0].Mode == driver.Permit
}

// An infoRecord is how an entry's Info is stored: as JSON, for whoever looks at the
// table. JSON has an escape for what PostgreSQL does not allow in a text.
type infoRecord struct {
	Note  string `json:"note,omitempty"`
	Since int64  `json:"since,omitempty"` // milliseconds since 1970
	Trace string `json:"trace,omitempty"` // as in the header traceparent of W3C
}

func encodeInfo(info driver.Info) string {
	r := infoRecord{Note: info.Note, Trace: traceparent.Format(info.Trace)}
	if !info.Since.IsZero() {
		r.Since = info.Since.UnixMilli()
	}
	b, err := json.Marshal(r)
	if err != nil { // strings and numbers always can be
		panic("postgres: encode info: " + err.Error())
	}
	return string(b)
}

// decodeInfo is the inverse. It is for display, so of what cannot be read nothing
// is shown.
func decodeInfo(s string) (info driver.Info) {
	var r infoRecord
	if json.Unmarshal([]byte(s), &r) != nil {
		return info
	}
	info.Note = r.Note
	if r.Since != 0 {
		info.Since = time.UnixMilli(r.Since)
	}
	info.Trace = traceparent.Parse(r.Trace)
	return info
}

// printable makes a text of a string that PostgreSQL stores.
func printable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
