package redis

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/fairlead-go/fairlead/session/driver"
)

// Break implements driver.Store.
func (s *store) Break(ctx context.Context, e driver.Entry, m driver.Mark, force bool) error {
	op := "break an entry of queue " + quoted(e.Name)
	remove := "0"
	if force {
		remove = "1"
	}
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	r, err := s.runSafely(ctx, breakScript, e.Name, m.ID, fmt.Sprint(e.Token), string(text), remove)
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
		m := driver.Mark{ID: id}
		_ = json.Unmarshal([]byte(text), &m) // whoever wrote it: then nobody knows who
		marks = append(marks, m)
	}
	return marks, nil
}

// Clear implements driver.Lease.
func (l *lease) Clear(ctx context.Context, m driver.Mark) error {
	return l.expect(ctx, "clear a mark", marksScript, m.ID)
}
