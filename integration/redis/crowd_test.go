package redis_test

import (
	"testing"

	"github.com/fairlead-go/fairlead/integration/internal/crowd"
)

func TestCrowdIsServedInOrder(t *testing.T) {
	t.Parallel()
	primary, err := replicated.Primary(bounded(t))
	if err != nil {
		t.Fatal(err)
	}
	crowd.Serve(t, 1_000, at([]string{primary.Addr()}, ""))
}
