package main

import (
	"context"
	"time"

	"github.com/fairlead-go/fairlead/integration/bench/report"
)

// A store is a kind of server and what is measured on it.
type store struct {
	name     string
	start    func(ctx context.Context, dir string) (server, error)
	subjects []subject // ours first: ratios are taken of it

	// expiring is a TTL for what waits until a lease runs out: short, but one that
	// the store accepts.
	expiring time.Duration
}

// A server is a process of its own.
type server interface {
	addr() string     // what a subject's open takes
	endpoint() string // the host:port in it
	version(ctx context.Context) (string, error)
	stop() error
}

// A counting server counts what it does.
type counting interface {
	// counters returns counts that only ever grow, by the metric of what one
	// operation adds to them.
	counters(ctx context.Context) (map[report.Metric]float64, error)
}

// A weighed server tells its memory in use.
type weighed interface {
	memory(ctx context.Context) (bytes float64, err error)
}

// A watched server tells how many watches it keeps.
type watched interface {
	watchers(ctx context.Context) (float64, error)
}

func stores() []store {
	return []store{etcdStore(), zookeeperStore(), redisStore(), postgresStore()}
}
