package mutex_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
)

func ExampleMutex_Do() {
	ctx := context.Background()
	s, err := session.Open(ctx, "memory://example", nil) // etcd://127.0.0.1:2379 in earnest
	if err != nil {
		panic(err)
	}
	defer s.Close(ctx)

	err = mutex.New(s, "billing/nightly").Do(ctx, func(ctx context.Context) error {
		g, _ := session.GrantFrom(ctx)
		fmt.Println("billing, token", g.Token()) // send the token with each write
		return nil
	})
	fmt.Println(err)
	// Output:
	// billing, token 1
	// <nil>
}

func ExampleMutex_TryLock() {
	ctx := context.Background()
	st := memory.NewStore()
	a, _ := st.Session(ctx, &session.Options{Identity: "web-1"})
	b, _ := st.Session(ctx, &session.Options{Identity: "web-2"})
	defer a.Close(ctx)
	defer b.Close(ctx)

	g, _ := mutex.New(a, "deploy").Lock(ctx)
	defer g.Release(ctx)
	_, err := mutex.New(b, "deploy").TryLock(ctx)
	fmt.Println(errors.Is(err, session.ErrHeld))
	fmt.Println(err)
	// Output:
	// true
	// try to lock mutex "deploy": held by another (ahead: web-1, token 1)
}

// A lease that ends takes along what is held under it; the session goes on.
func ExampleMutex_Lock_lostLease() {
	ctx := context.Background()
	st := memory.NewStore()
	s, _ := st.Session(ctx, nil)
	defer s.Close(ctx)
	m := mutex.NewWith(s, "billing/nightly", &mutex.Options{MaxWait: time.Minute})

	g, _ := m.Lock(ctx)
	st.Expire(s) // as after a partition of more than the TTL
	<-g.Context().Done()
	fmt.Println(errors.Is(context.Cause(g.Context()), session.ErrLost))
	fmt.Println(errors.Is(g.Release(ctx), session.ErrLost))

	next, err := m.Lock(ctx)
	fmt.Println(err, next.Token() > g.Token())
	_ = next.Release(ctx)
	// Output:
	// true
	// true
	// <nil> true
}

// Many goroutines of a process that want one lock share a Mutex, and pass the lock on
// among themselves; other processes have their turn after four of these passes.
func ExampleNewWith_localHandoff() {
	ctx := context.Background()
	s, _ := memory.NewStore().Session(ctx, nil)
	defer s.Close(ctx)
	m := mutex.NewWith(s, "cache/warm-up", &mutex.Options{LocalHandoff: 4})

	var wg sync.WaitGroup
	warm := 0
	for range 10 {
		wg.Go(func() {
			_ = m.Do(ctx, func(context.Context) error {
				warm++ // nobody else is here
				return nil
			})
		})
	}
	wg.Wait()
	fmt.Println(warm)
	// Output: 10
}
