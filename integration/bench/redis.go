package main

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
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
	return store{name: "redis", start: startRedis, expiring: 3 * time.Second, subjects: append(oursOn("redis://"),
		subject{name: "rueidislock", kind: mutexes, open: openRueidislock},
		subject{name: "redislock", kind: mutexes, open: openRedislock},
		subject{name: "redsync", kind: mutexes, open: openRedsync},
		subject{name: "raw SET+DEL", kind: writes, open: openRedisRaw},
	)}
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

func (s redisServer) endpoint() string { return s.Addr() }

func (s redisServer) version(ctx context.Context) (string, error) {
	info, err := s.Info(ctx, "server")
	return "Redis " + info["redis_version"], err
}

func (s redisServer) stop() error {
	s.Close()
	return nil
}

func (s redisServer) memory(ctx context.Context) (float64, error) {
	info, err := s.Info(ctx, "memory")
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(info["used_memory"], 64)
}

// rueidisLocker is a client of rueidislock, which waits for invalidations of the key and
// then tries.
type rueidisLocker struct{ rueidislock.Locker }

func openRueidislock(_ context.Context, addr string, ttl time.Duration) (client, error) {
	l, err := rueidislock.NewLocker(rueidislock.LockerOption{
		ClientOption:   rueidis.ClientOption{InitAddress: []string{addr}},
		KeyMajority:    1,
		NoLoopTracking: true,
		KeyValidity:    ttl,
	})
	if err != nil {
		return nil, err
	}
	return &rueidisLocker{l}, nil
}

func (l *rueidisLocker) contender(_ context.Context, name string) (contender, error) {
	return &rueidisLock{locker: l.Locker, name: name}, nil
}

func (l *rueidisLocker) close(context.Context) error {
	l.Close()
	return nil
}

type rueidisLock struct {
	locker rueidislock.Locker
	name   string
	cancel context.CancelFunc
}

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

// pollInterval is how often those try that can only try: as often as they would in
// production, or rather oftener.
const pollInterval = 10 * time.Millisecond

// goRedis is a client for the locks that use go-redis.
type goRedis struct {
	conn *redis.Client
	make func(name string) contender
}

func (r *goRedis) contender(_ context.Context, name string) (contender, error) {
	return r.make(name), nil
}

func (r *goRedis) close(context.Context) error { return r.conn.Close() }

// redisLock is a contender that uses redislock, which polls.
type redisLock struct {
	locker *redislock.Client
	name   string
	ttl    time.Duration
	held   *redislock.Lock
}

func openRedislock(_ context.Context, addr string, ttl time.Duration) (client, error) {
	c := redis.NewClient(&redis.Options{Addr: addr})
	locker := redislock.New(c)
	return &goRedis{c, func(name string) contender { return &redisLock{locker: locker, name: name, ttl: ttl} }}, nil
}

func (l *redisLock) lock(ctx context.Context) (err error) {
	l.held, err = l.locker.Obtain(ctx, l.name, l.ttl, &redislock.Options{
		RetryStrategy: redislock.LinearBackoff(pollInterval),
	})
	return err
}

func (l *redisLock) unlock(ctx context.Context) error { return l.held.Release(ctx) }

// redsyncMutex is a contender that uses redsync on one server; it polls.
type redsyncMutex struct{ *redsync.Mutex }

func openRedsync(_ context.Context, addr string, ttl time.Duration) (client, error) {
	c := redis.NewClient(&redis.Options{Addr: addr})
	r := redsync.New(goredis.NewPool(c))
	return &goRedis{c, func(name string) contender {
		return &redsyncMutex{r.NewMutex(name, redsync.WithExpiry(ttl), redsync.WithTries(1<<20), redsync.WithRetryDelay(pollInterval))}
	}}, nil
}

func (m *redsyncMutex) lock(ctx context.Context) error { return m.LockContext(ctx) }

func (m *redsyncMutex) unlock(ctx context.Context) error {
	ok, err := m.UnlockContext(ctx)
	if err == nil && !ok {
		err = errors.New("redsync did not unlock")
	}
	return err
}

// redisRaw sets keys and deletes them, and excludes nobody.
type redisRaw struct {
	client rueidis.Client
	ttl    time.Duration
}

func openRedisRaw(_ context.Context, addr string, ttl time.Duration) (client, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true})
	if err != nil {
		return nil, err
	}
	return &redisRaw{c, ttl}, nil
}

func (r *redisRaw) contender(_ context.Context, name string) (contender, error) {
	return &redisKey{*r, name}, nil
}

func (r *redisRaw) close(context.Context) error {
	r.client.Close()
	return nil
}

type redisKey struct {
	redisRaw
	key string
}

func (k *redisKey) lock(ctx context.Context) error {
	return k.client.Do(ctx, k.client.B().Set().Key(k.key).Value("").Px(k.ttl).Build()).Error()
}

func (k *redisKey) unlock(ctx context.Context) error {
	return k.client.Do(ctx, k.client.B().Del().Key(k.key).Build()).Error()
}
