package dashboard

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/view"
	"github.com/fairlead-go/fairlead/watch"
)

// maxListed bounds the holders and the waiters on the page of a name.
const maxListed = 200

// A row is a name in a list. Rows are compared to find out what has changed, so nothing
// in them depends on when they are made.
type row struct {
	ID      string // of the element
	Name    string
	Kind    string
	Owner   string // of the first holder
	More    int    // other holders
	Waiters int
	Permits string // in use, of a semaphore
	Since   int64  // Unix milliseconds; 0 when unknown
	Token   uint64
	Note    string
	Value   string

	Swap bool // it takes the place of the one with its ID
}

// rows returns the names of a kind, or all.
func rows(queues []watch.Snapshot, kind string) (all []row) {
	for _, q := range queues {
		if kind != "" && q.Kind != kind {
			continue
		}
		r := row{ID: rowID(q.Name), Name: q.Name, Kind: q.Kind, Waiters: len(q.Waiters)}
		if q.Limit > 0 {
			r.Permits = strconv.FormatInt(view.InUse(q), 10) + "/" + strconv.FormatInt(q.Limit, 10)
		}
		if len(q.Holders) > 0 {
			h := q.Holders[0]
			r.Owner, r.More, r.Token, r.Note, r.Value = view.Owner(h), len(q.Holders)-1, h.Token, clip(h.Note), clip(h.Value)
			r.Since = millis(h.Since)
		}
		all = append(all, r)
	}
	return all
}

func rowID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "r" + hex.EncodeToString(sum[:8])
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// A tally is what the list says of itself.
type tally struct {
	Read                 bool
	Names, Held, Waiting int
	Prefix, Kind         string
}

func tallyOf(queues []watch.Snapshot, kind, prefix string, read bool) tally {
	t := tally{Kind: kind, Prefix: prefix, Read: read}
	for _, q := range queues {
		if kind != "" && q.Kind != kind {
			continue
		}
		t.Names++
		if len(q.Holders) > 0 {
			t.Held++
		}
		t.Waiting += len(q.Waiters)
	}
	return t
}

// An entry is a holder or a waiter on the page of a name.
type entry struct {
	ID       string
	Place    int
	Owner    string
	Token    uint64
	Mode     string
	Permits  int64
	Since    int64
	Until    int64 // when the lease runs out unless it is renewed; 0 when unknown
	Full     int64 // milliseconds that it had left at most
	WaitsFor string
	Note     string
	Value    string
	Trace    string // address of the trace
	Release  string // address of the form that breaks it
}

// A standing is the page of a name, as it stands.
type standing struct {
	Headline         string
	Read             bool
	Trouble          string
	Holders, Waiters []entry
	MoreHolders      int
	MoreWaiters      int
	Modes, Permits   bool // columns that are of use
}

func (h *Handler) standing(d dossier) standing {
	q := d.queue
	s := standing{Headline: view.Counts(q), Read: d.read, Permits: q.Limit > 0}
	switch {
	case len(q.Holders)+len(q.Waiters) == 0:
		s.Headline = "free, nobody waits"
	case q.Limit > 0:
		s.Headline += ", " + strconv.FormatInt(view.InUse(q), 10) + " of " + strconv.FormatInt(q.Limit, 10) + " permits in use"
	}
	if d.trouble != nil {
		s.Trouble = d.trouble.Error()
	}
	places := view.Places(q)
	for i, e := range q.Holders {
		if i == maxListed {
			s.MoreHolders = len(q.Holders) - i
			break
		}
		shown := h.entry(q, e)
		if l := d.leases[e.Token]; !l.until.IsZero() {
			shown.Until, shown.Full = l.until.UnixMilli(), l.full.Milliseconds()
		}
		s.Modes = s.Modes || view.Mode(q, e) != ""
		s.Holders = append(s.Holders, shown)
	}
	for i, e := range q.Waiters {
		if i == maxListed {
			s.MoreWaiters = len(q.Waiters) - i
			break
		}
		shown := h.entry(q, e)
		shown.Place, shown.WaitsFor = i+1, view.WaitsFor(q, e, places)
		s.Modes = s.Modes || view.Mode(q, e) != ""
		s.Waiters = append(s.Waiters, shown)
	}
	return s
}

func (h *Handler) entry(q watch.Snapshot, e watch.Entry) entry {
	token := strconv.FormatUint(e.Token, 10)
	shown := entry{
		ID: "e" + token, Owner: view.Owner(e), Token: e.Token, Mode: e.Mode, Permits: e.Weight, Since: millis(e.Since), Note: clip(e.Note), Value: clip(e.Value),
	}
	if e.Trace.HasTraceID() {
		shown.Trace = h.traceURL(e.Trace.TraceID().String())
	}
	if h.opts.AllowRelease {
		shown.Release = "/release?" + url.Values{"name": {q.Name}, "token": {token}}.Encode()
	}
	return shown
}

func (h *Handler) traceURL(id string) string {
	if id == "" || h.opts.TraceURL == "" {
		return ""
	}
	return strings.ReplaceAll(h.opts.TraceURL, traceID, id)
}

// A past is the grants of a name that were seen.
type past struct {
	Grants   []seenGrant
	Election bool
}

// A seenGrant is one as it is shown.
type seenGrant struct {
	Grant
	Trace string
	From  int64
	To    int64
	Held  string // when it has ended
	Wait  string
}

func (h *Handler) past(d dossier) past {
	p := past{Election: d.queue.Kind == "election"}
	for _, g := range d.grants {
		s := seenGrant{Grant: g, Trace: h.traceURL(g.TraceID), From: millis(g.Granted), To: millis(g.Ended), Wait: span(g.Waited)}
		if !g.Waits {
			s.Wait = "≥ " + s.Wait
		}
		if !g.Ended.IsZero() {
			s.Held = span(g.Ended.Sub(g.Granted))
			if !g.Timed {
				s.Held = "≥ " + s.Held
			}
		}
		p.Grants = append(p.Grants, s)
	}
	return p
}

// A figure is a histogram as it is drawn.
type figure struct {
	ID, Title, Text string
	Labels, Counts  string // JSON
}

func figures(d dossier) []figure {
	return []figure{
		figureOf("waits", "Time waited", d.waits),
		figureOf("holds", "Time held", d.held),
	}
}

func figureOf(id, title string, h histogram) figure {
	text := "none seen yet"
	if h.n > 0 {
		text = strconv.FormatInt(h.n, 10) + " seen, mean " + span(h.mean()) + ", longest " + span(h.longest)
	}
	return figure{ID: id, Title: title, Text: text, Labels: jsonText(labels), Counts: jsonText(h.counts)}
}

func jsonText(v any) string {
	text, _ := json.Marshal(v) // of numbers and strings: never fails
	return string(text)
}

// span shows short times with a fraction.
func span(d time.Duration) string {
	switch {
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Truncate(100*time.Millisecond).Seconds(), 'f', 1, 64) + "s"
	}
	return view.Span(d)
}

// Health is what is known of the store.
type health struct {
	Backend  string
	Asked    bool // and it has answered, or not
	OK       bool
	Latency  string // of the last answer
	LastOK   int64  // when it answered last; 0 if never
	Trouble  string
	Times    string // JSON: when it was asked, in Unix seconds
	Took     string // JSON: milliseconds, null where it did not answer
	Slowest  string
	Failures int
	Answers  int
	Interval string
}

func (h *Handler) health() health {
	s := health{Backend: h.board.s.Backend(), Interval: h.board.interval.String()}
	var times []float64
	var took []*float64
	var slowest time.Duration
	for _, a := range h.board.store() {
		s.Asked, s.OK, s.Trouble = true, a.err == nil, ""
		times = append(times, float64(a.at.UnixMilli())/1000)
		s.Answers++
		if a.err != nil {
			s.Trouble = a.err.Error()
			s.Failures++
			took = append(took, nil)
			continue
		}
		ms := float64(a.took.Microseconds()) / 1000
		took = append(took, &ms)
		s.Latency, s.LastOK = latency(a.took), a.at.UnixMilli()
		slowest = max(slowest, a.took)
	}
	s.Times, s.Took, s.Slowest = jsonText(times), jsonText(took), latency(slowest)
	return s
}

// latency is given in steps that do not change with every answer.
func latency(d time.Duration) string {
	if d < 10*time.Millisecond {
		return strconv.FormatFloat(d.Round(100*time.Microsecond).Seconds()*1000, 'f', 1, 64) + " ms"
	}
	return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
}

// kindOf names a kind for people.
func kindOf(kind string) string { return cmp.Or(view.Escape(kind), "other library") }
