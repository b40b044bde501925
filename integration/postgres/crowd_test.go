package postgres_test

import (
	"testing"

	"github.com/fairlead-go/fairlead/integration/internal/crowd"
)

func TestCrowdIsServedInOrder(t *testing.T) {
	t.Parallel()
	crowd.Serve(t, 1_000, at(server.Addr()))
}
