package semaphore_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/fairlead-go/fairlead/semaphore"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/memory"
)

func ExampleSemaphore_Do() {
	ctx := context.Background()
	s, err := session.Open(ctx, "memory://example", nil) // etcd://127.0.0.1:2379 in earnest
	if err != nil {
		panic(err)
	}
	defer s.Close(ctx)

	rendering := semaphore.New(s, "reports/rendering", 8) // 8 for the whole fleet
	err = rendering.Do(ctx, 2, func(ctx context.Context) error {
		fmt.Println("rendering with 2 of 8 permits")
		return nil
	})
	fmt.Println(err)
	// Output:
	// rendering with 2 of 8 permits
	// <nil>
}

func ExampleSemaphore_Resize() {
	ctx := context.Background()
	st := memory.NewStore()
	s, _ := st.Session(ctx, &session.Options{Identity: "web-1"})
	defer s.Close(ctx)
	m := semaphore.New(s, "reports/rendering", 1)

	first, _ := m.Acquire(ctx, 1)
	_, err := m.TryAcquire(ctx, 1)
	fmt.Println(errors.Is(err, session.ErrHeld))
	if err := m.Resize(ctx, 2); err != nil { // for everybody
		panic(err)
	}
	second, err := m.TryAcquire(ctx, 1)
	fmt.Println(err)
	_ = first.Release(ctx)
	_ = second.Release(ctx)
	// Output:
	// true
	// <nil>
}
