package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/fairlead-go/fairlead/session/driver"
)

// Break implements driver.Store. While a guarded transaction of the owner's is under way,
// its entry is not removed.
func (s *store) Break(ctx context.Context, e driver.Entry, m driver.Mark, force bool) error {
	op := "break an entry of queue " + quoted(e.Name)
	what := ""
	err := s.unlocked(ctx, func() (busy bool, err error) {
		what, err = value[string](ctx, s, ordinary, s.sql.crack, e.Name, int64(e.Token), m.ID, printable(m.By), printable(m.Reason), force)
		return what == "busy", err
	})
	if err == nil && what == "gone" {
		err = driver.ErrEntryGone
	}
	return s.failed(ctx, op, err)
}

// Marks implements driver.Lease.
func (l *lease) Marks(ctx context.Context) ([]driver.Mark, error) {
	var marks []driver.Mark
	err := l.s.query(ctx, ordinary, l.s.sql.marks, []any{l.id}, func(r pgx.Rows) error {
		var m driver.Mark
		err := r.Scan(&m.ID, &m.By, &m.Reason)
		marks = append(marks, m)
		return err
	})
	return marks, l.s.failed(ctx, "list the session's marks", err)
}

// Clear implements driver.Lease.
func (l *lease) Clear(ctx context.Context, m driver.Mark) error {
	return l.s.failed(ctx, "clear a mark", l.s.run(ctx, ordinary, l.s.sql.clear, l.id, m.ID))
}
