package redis

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/fairlead-go/fairlead/session/driver"
)

// A markRecord is what a mark says, in JSON.
type markRecord struct {
	By     string `json:"by"`
	Reason string `json:"reason,omitempty"`
}

func (r markRecord) encode() string {
	b, err := json.Marshal(r)
	if err != nil { // strings always can be
		panic("redis: encode mark: " + err.Error())
	}
	return string(b)
}

// Break implements driver.Store.
func (s *store) Break(ctx context.Context, e driver.Entry, m driver.Mark, force bool) error {
	op := "break an entry of queue " + quoted(e.Name)
	remove := "0"
	if force {
		remove = "1"
	}
	r, err := s.runSafely(ctx, breakScript, e.Name, m.ID, fmt.Sprint(e.Token), markRecord{m.By, m.Reason}.encode(), remove)
	switch {
	case err != nil:
		return s.failed(ctx, op, err)
	case r.status != "ok":
		return unexpected(op, r)
	}
	return nil
}

// Marks implements driver.Lease.
func (l *lease) Marks(ctx context.Context) ([]driver.Mark, error) {
	const op = "list the session's marks"
	r, err := l.s.run(ctx, marksScript, l.id, "")
	if err != nil {
		return nil, l.s.failed(ctx, op, err)
	}
	if r.status != "ok" {
		return nil, unexpected(op, r)
	}
	var marks []driver.Mark
	for _, line := range r.rest {
		id, text, _ := strings.Cut(line, " ")
		var m markRecord
		_ = json.Unmarshal([]byte(text), &m) // whoever wrote it: then nobody knows who
		marks = append(marks, driver.Mark{ID: id, By: m.By, Reason: m.Reason})
	}
	return marks, nil
}

// Clear implements driver.Lease.
func (l *lease) Clear(ctx context.Context, m driver.Mark) error {
	return l.expect(ctx, "clear a mark", marksScript, m.ID)
}
