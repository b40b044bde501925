package mutex_test

import (
	"testing"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session/memory"
)

// What a lock costs on our side of the store.
func BenchmarkLockUnlock(b *testing.B) {
	s, err := memory.NewStore().Session(b.Context(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close(b.Context())
	m := mutex.New(s, "x")
	b.ReportAllocs()
	for b.Loop() {
		g, err := m.Lock(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if err := g.Release(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
