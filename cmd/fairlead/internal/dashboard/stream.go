package dashboard

import (
	"context"
	"net/http"
	"strings"
	"time"
)

const (
	// streamGap is the least time from one batch of changes to the next: what comes in
	// between is sent as one.
	streamGap = 150 * time.Millisecond

	streamLasts  = time.Hour // then the browser connects again, and is asked who it is
	heartbeat    = 15 * time.Second
	writeTimeout = 20 * time.Second
)

// A stream sends events to one browser.
type stream struct {
	w    http.ResponseWriter
	ctl  *http.ResponseController
	sent map[string]string // the parts as they were sent last
}

// lineEnds makes of all ends of a line that browsers know the one that Go knows.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// send writes an event. The deadline ends streams whose reader has stopped reading.
func (s *stream) send(event, data string) error {
	var b strings.Builder
	b.WriteString("event: " + event + "\n")
	for line := range strings.Lines(lineEnds.Replace(data)) {
		b.WriteString("data: " + strings.TrimSuffix(line, "\n") + "\n")
	}
	b.WriteString("\n")
	_, err := s.w.Write([]byte(b.String()))
	return err
}

// part sends a part of the page if it has changed.
func (s *stream) part(event, html string) error {
	if last, was := s.sent[event]; was && last == html {
		return nil
	}
	s.sent[event] = html
	return s.send(event, html)
}

// stream calls step at once and after changes of the board, until the browser goes.
func (h *Handler) stream(w http.ResponseWriter, r *http.Request, step func(*stream) error) {
	ctx, cancel := context.WithTimeout(r.Context(), streamLasts)
	defer cancel()
	w.Header().Set("Content-Type", "text/event-stream")
	s := &stream{w: w, ctl: http.NewResponseController(w), sent: map[string]string{}}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		changed := h.board.Changed() // before it is looked at, so that nothing is missed
		_ = s.ctl.SetWriteDeadline(time.Now().Add(writeTimeout))
		if step(s) != nil || s.part("health", h.fragment("list", "health", h.health())) != nil || s.ctl.Flush() != nil {
			return
		}
		if !s.await(ctx, changed, beat.C) {
			return
		}
	}
}

// await returns when there may be something to send, and false when the stream ends.
func (s *stream) await(ctx context.Context, changed <-chan struct{}, beat <-chan time.Time) bool {
	select {
	case <-time.After(streamGap):
	case <-ctx.Done():
		return false
	}
	for {
		select {
		case <-changed:
			return true
		case <-beat:
			_ = s.ctl.SetWriteDeadline(time.Now().Add(writeTimeout))
			if _, err := s.w.Write([]byte(": still here\n\n")); err != nil || s.ctl.Flush() != nil {
				return false
			}
		case <-ctx.Done():
			return false
		}
	}
}

func (h *Handler) streamList(w http.ResponseWriter, r *http.Request) {
	kind := r.FormValue("kind")
	var last []row
	first := true
	h.stream(w, r, func(s *stream) error {
		queues := h.board.queues()
		now := rows(queues, kind)
		event, html := "changes", h.changes(last, now, kind)
		if first {
			event, html = "rows", h.fragment("list", "rows", listBody{Kind: kind, Rows: now})
		}
		first, last = false, now
		if html != "" || event == "rows" {
			if err := s.send(event, html); err != nil {
				return err
			}
		}
		return s.part("tally", h.fragment("list", "tally", tallyOf(queues, kind, h.board.prefix, h.read())))
	})
}

// A change of a list, of which htmx makes an out-of-band swap.
type change struct {
	How  string // as hx-swap-oob has it, where the row is new
	Kind string
	Row  row
}

// changes returns what makes of one list of rows, both sorted, the other.
func (h *Handler) changes(from, to []row, kind string) string {
	before := make(map[string]row, len(from))
	for _, r := range from {
		before[r.ID] = r
	}
	after := make(map[string]bool, len(to))
	for _, r := range to {
		after[r.ID] = true
	}
	var b strings.Builder
	for _, r := range from {
		if !after[r.ID] {
			b.WriteString(h.fragment("list", "gone", change{Row: r}))
		}
	}
	place := "afterbegin:#rows"
	for _, r := range to {
		switch was, there := before[r.ID]; {
		case !there:
			b.WriteString(h.fragment("list", "new", change{How: place, Kind: kind, Row: r}))
		case was != r:
			r.Swap = true
			b.WriteString(h.fragment("list", "row", change{Kind: kind, Row: r}))
		}
		place = "afterend:#" + r.ID
	}
	return b.String()
}

func (h *Handler) streamName(w http.ResponseWriter, r *http.Request) {
	name, err := h.nameOf(r)
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	defer h.board.Follow(name)()
	h.stream(w, r, func(s *stream) error {
		d := h.board.dossier(name)
		for _, part := range []struct {
			name string
			data any
		}{{"standing", h.standing(d)}, {"past", h.past(d)}, {"figures", figures(d)}, {"badge", d.queue.Kind}} {
			if err := s.part(part.name, h.fragment("name", part.name, part.data)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (h *Handler) streamStore(w http.ResponseWriter, r *http.Request) {
	h.stream(w, r, func(s *stream) error {
		return s.part("store", h.fragment("store", "store", h.health()))
	})
}
