package rwmutex_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/fairlead-go/fairlead/rwmutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
)

func ExampleRWMutex() {
	ctx := context.Background()
	st := memory.NewStore()
	a, _ := st.Session(ctx, &session.Options{Identity: "web-1"})
	b, _ := st.Session(ctx, &session.Options{Identity: "web-2"})
	defer a.Close(ctx)
	defer b.Close(ctx)

	r1, _ := rwmutex.New(a, "catalog").RLock(ctx)
	r2, _ := rwmutex.New(b, "catalog").RLock(ctx) // beside the first
	_, err := rwmutex.New(b, "catalog").TryLock(ctx)
	fmt.Println(errors.Is(err, session.ErrHeld))
	_ = r1.Release(ctx)
	_ = r2.Release(ctx)
	err = rwmutex.New(b, "catalog").Do(ctx, func(context.Context) error {
		fmt.Println("writing alone")
		return nil
	})
	fmt.Println(err)
	// Output:
	// true
	// writing alone
	// <nil>
}

// A writer goes on as a reader, and nobody has written in between.
func ExampleRWMutex_Downgrade() {
	ctx := context.Background()
	s, err := session.Open(ctx, "memory://example", nil) // etcd://127.0.0.1:2379 in earnest
	if err != nil {
		panic(err)
	}
	defer s.Close(ctx)
	m := rwmutex.New(s, "catalog")

	w, _ := m.Lock(ctx)
	fmt.Println("write")
	r, err := m.Downgrade(ctx, w) // w is of no more use, whatever the outcome
	if err != nil {
		panic(err)
	}
	fmt.Println("read what was written, beside others:", r.Token() == w.Token())
	_ = r.Release(ctx)
	// Output:
	// write
	// read what was written, beside others: true
}
