package session_test

import (
	"context"
	"fmt"

	"github.com/fairlead-go/fairlead/mutex"
	"github.com/fairlead-go/fairlead/session"
	_ "github.com/fairlead-go/fairlead/session/memory"
)

// Names spread over three clusters. The keys are the same in every process.
func ExampleShard() {
	ctx := context.Background()
	clusters := map[string]*session.Session{}
	for key, url := range map[string]string{
		"eu-1": "memory://shard-1", // in earnest etcd://eu-1.example:2379, and so on
		"eu-2": "memory://shard-2",
		"eu-3": "memory://shard-3",
	} {
		s, err := session.Open(ctx, url, nil)
		if err != nil {
			panic(err)
		}
		defer s.Close(ctx)
		clusters[key] = s
	}
	shards := session.Shard(clusters)

	for _, name := range []string{"orders/5", "orders/6", "orders/7"} {
		g, err := mutex.New(shards.For(name), name).Lock(ctx)
		if err != nil {
			panic(err)
		}
		fmt.Println(name, "is locked on", shards.Cluster(name))
		_ = g.Release(ctx)
	}
	// Output:
	// orders/5 is locked on eu-2
	// orders/6 is locked on eu-1
	// orders/7 is locked on eu-1
}
