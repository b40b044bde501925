package main

import (
	"context"
	"errors"
	"path/filepath"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	_ "github.com/fairlead-go/fairlead/session/redis"
)

func redisStore() store {
	return store{name: "redis", start: startRedis, subjects: []subject{
		{name: "fairlead mutex", excludes: true, join: joinOurs("redis://")},
		{name: "rueidislock", excludes: true, join: joinRueidislock},
		{name: "redislock", excludes: true, join: joinRedislock},
		{name: "redsync", excludes: true, join: joinRedsync},
		{name: "raw SET+DEL", join: joinRedisRaw},
	}}
}

type redisServer struct{ *redisserver.Server }

func startRedis(_ context.Context, dir string) (server, error) {
	s, err := redisserver.Start(redisserver.Config{Dir: filepath.Join(dir, "redis")})
	if err != nil {
		return nil, err
	}
	return redisServer{s}, nil
}

func (s redisServer) addr() string { return s.Addr() }

func (s redisServer) stop() error {
	s.Close()
	return nil
}

// rueidisLock is a contender that uses rueidislock, which waits for invalidations of
// the key and then tries.
type rueidisLock struct {
	locker rueidislock.Locker
	name   string
	cancel context.CancelFunc
}

func joinRueidislock(_ context.Context, addr string) (contender, error) {
	l, err := rueidislock.NewLocker(rueidislock.LockerOption{
		ClientOption:   rueidis.ClientOption{InitAddress: []string{addr}},
		KeyMajority:    1,
		NoLoopTracking: true,
	})
	if err != nil {
		return nil, err
	}
	return &rueidisLock{locker: l}, nil
}

func (l *rueidisLock) prepare(name string) { l.name = name }

// patience is after how long a wait begins anew: with 16 contenders, some are never
// told that the lock is free.
const patience = time.Second

func (l *rueidisLock) lock(ctx context.Context) (err error) {
	for {
		limited, cancel := context.WithTimeout(ctx, patience)
		_, l.cancel, err = l.locker.WithContext(limited, l.name)
		if err == nil {
			unlock := l.cancel
			l.cancel = func() { unlock(); cancel() }
			return nil
		}
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (l *rueidisLock) unlock(context.Context) error {
	l.cancel()
	return nil
}

func (l *rueidisLock) close(context.Context) error {
	l.locker.Close()
	return nil
}

// pollInterval is how often those try that can only try: as often as they would in
// production, or rather oftener.
const pollInterval = 10 * time.Millisecond

// redisLock is a contender that uses redislock, which polls.
type redisLock struct {
	client *redis.Client
	locker *redislock.Client
	name   string
	held   *redislock.Lock
}

func joinRedislock(_ context.Context, addr string) (contender, error) {
	c := redis.NewClient(&redis.Options{Addr: addr})
	return &redisLock{client: c, locker: redislock.New(c)}, nil
}

func (l *redisLock) prepare(name string) { l.name = name }

func (l *redisLock) lock(ctx context.Context) (err error) {
	l.held, err = l.locker.Obtain(ctx, l.name, sessionTTL*time.Second, &redislock.Options{
		RetryStrategy: redislock.LinearBackoff(pollInterval),
	})
	return err
}

func (l *redisLock) unlock(ctx context.Context) error { return l.held.Release(ctx) }

func (l *redisLock) close(context.Context) error { return l.client.Close() }

// redsyncMutex is a contender that uses redsync on one server; it polls.
type redsyncMutex struct {
	client *redis.Client
	mutex  *redsync.Mutex
}

func joinRedsync(_ context.Context, addr string) (contender, error) {
	return &redsyncMutex{client: redis.NewClient(&redis.Options{Addr: addr})}, nil
}

func (m *redsyncMutex) prepare(name string) {
	m.mutex = redsync.New(goredis.NewPool(m.client)).NewMutex(name,
		redsync.WithExpiry(sessionTTL*time.Second), redsync.WithTries(1<<20), redsync.WithRetryDelay(pollInterval))
}

func (m *redsyncMutex) lock(ctx context.Context) error { return m.mutex.LockContext(ctx) }

func (m *redsyncMutex) unlock(ctx context.Context) error {
	ok, err := m.mutex.UnlockContext(ctx)
	if err == nil && !ok {
		err = errors.New("redsync did not unlock")
	}
	return err
}

func (m *redsyncMutex) close(context.Context) error { return m.client.Close() }

// redisRaw sets a key and deletes it, and excludes nobody.
type redisRaw struct {
	client rueidis.Client
	key    string
}

func joinRedisRaw(_ context.Context, addr string) (contender, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true})
	if err != nil {
		return nil, err
	}
	return &redisRaw{client: c}, nil
}

func (r *redisRaw) prepare(name string) { r.key = name }

func (r *redisRaw) lock(ctx context.Context) error {
	return r.client.Do(ctx, r.client.B().Set().Key(r.key).Value("").Px(sessionTTL*time.Second).Build()).Error()
}

func (r *redisRaw) unlock(ctx context.Context) error {
	return r.client.Do(ctx, r.client.B().Del().Key(r.key).Build()).Error()
}

func (r *redisRaw) close(context.Context) error {
	r.client.Close()
	return nil
}
