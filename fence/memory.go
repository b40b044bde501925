package fence

import (
	"context"
	"sync"
)

// Memory is a register in this process: for a resource that the process guards, and
// for tests. Its zero value is ready for use, and its methods are safe for concurrent
// use. It forgets everything with the process, so what it guards must, too, or must
// keep the token itself.
//
// Admit does not block, and looks at ctx once. Let it and the write be one step, under
// a mutex of the resource's own:
//
//	func (a *Account) Set(ctx context.Context, token uint64, balance int64) error {
//		a.mu.Lock()
//		defer a.mu.Unlock()
//		if err := a.fence.Admit(ctx, "balance", token); err != nil {
//			return err
//		}
//		a.balance = balance
//		return nil
//	}
type Memory struct {
	mu     sync.Mutex
	newest map[string]uint64
}

// Admit implements [Register].
func (m *Memory) Admit(ctx context.Context, resource string, token uint64) error {
	if err := check(resource, token); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if newest := m.newest[resource]; token < newest {
		return &StaleError{Resource: resource, Token: token, Newest: newest}
	}
	if m.newest == nil {
		m.newest = map[string]uint64{}
	}
	m.newest[resource] = token
	return nil
}

// Forget deletes what is known of a resource: any token is admitted next. That is safe
// only when nobody is left who was granted the lock before, and may still write: when
// all of them have ended, or their writes reach the resource no more. It is for a lock
// whose tokens start anew, as in another store, and for a resource that is gone.
func (m *Memory) Forget(resource string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.newest, resource)
}
