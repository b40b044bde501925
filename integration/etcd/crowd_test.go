package etcd_test

import (
	"testing"

	"github.com/fairlead-go/fairlead/integration/internal/crowd"
)

func TestCrowdIsServedInOrder(t *testing.T) {
	t.Parallel()
	crowd.Serve(t, 1000, "etcd://"+shared.Addr())
}

func TestCrowdOnThreeMembersIsServedInOrder(t *testing.T) {
	c := startCluster(t)
	var urls []string
	for _, m := range c.Members {
		urls = append(urls, "etcd://"+addrOf(m))
	}
	crowd.Serve(t, 500, urls...)
}
