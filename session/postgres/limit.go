package postgres

import (
	"context"

	"github.com/fairlead-go/fairlead/session/driver"
)

// SetLimit implements driver.Store.
func (s *store) SetLimit(ctx context.Context, name string, from, to driver.Limit) error {
	done, err := value[bool](ctx, s, ordinary, s.sql.limit, name, int64(from.Version), to.N, int64(to.Through), to.Stamp)
	if err == nil && !done {
		err = driver.ErrConflict
	}
	if err != nil {
		return s.failed(ctx, "set the limit of queue "+quoted(name), err)
	}
	// Most often now, as the store may be closed next, and nobody else tells who waits for this.
	if s.run(ctx, ordinary, s.sql.tell, name, ofLimit) != nil {
		s.tell(name, ofLimit)
	}
	return nil
}
