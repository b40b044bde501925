package postgres_test

import (
	"testing"

	"github.com/fairlead-go/fairlead/integration/internal/crowd"
	"github.com/fairlead-go/fairlead/internal/pgserver"
)

// The server is one of its own, as the crowd takes most of its connections.
func TestCrowdIsServedInOrder(t *testing.T) {
	t.Parallel()
	s, err := pgserver.Start(pgserver.Config{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	crowd.Serve(t, 1_000, s.AdminURL("postgres"))
}
