package fence_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/fairlead-go/fairlead/fence"
	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session/memory"
)

// An account takes no orders from the past.
type account struct {
	mu      sync.Mutex
	fence   fence.Memory
	balance int
}

func (a *account) set(ctx context.Context, token uint64, balance int) error {
	a.mu.Lock() // admission and write are one step
	defer a.mu.Unlock()
	if err := a.fence.Admit(ctx, "balance", token); err != nil {
		return err
	}
	a.balance = balance
	return nil
}

// A holder is paused just before its write, for so long that its lease ends. When it
// goes on, it has not looked at its context yet, and the next one has written.
func Example() {
	ctx := context.Background()
	st := memory.NewStore()
	a, _ := st.Session(ctx, nil)
	b, _ := st.Session(ctx, nil)
	defer a.Close(ctx)
	defer b.Close(ctx)
	var acc account

	paused, _ := mutex.New(a, "account").Lock(ctx)
	fmt.Println("a:", acc.set(ctx, paused.Token(), 10))

	st.Expire(a) // a has been silent for a TTL
	next, _ := mutex.New(b, "account").Lock(ctx)
	fmt.Println("b:", acc.set(ctx, next.Token(), 20))

	err := acc.set(ctx, paused.Token(), 11)
	fmt.Println("a is refused:", errors.Is(err, fence.ErrStale))
	fmt.Println("the balance is", acc.balance)
	// Output:
	// a: <nil>
	// b: <nil>
	// a is refused: true
	// the balance is 20
}
