package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	fairleadredis "github.com/fairlead-go/fairlead/session/redis"
	"github.com/fairlead-go/fairlead/watch"
)

const (
	redisServers   = 2
	redisSentinels = 3
	redisSpace     = "{fairlead}:"
)

// A redis is a primary, a replica and sentinels. A primary that has no replica takes
// no writes, so that one that was replaced while it was frozen cannot go on to serve;
// the documentation of package session/redis recommends it.
type redis struct {
	*redisserver.Replicated
	*network
	unlimited
	diskless
	selfreliant
	user   user
	clocks *clocks // of the servers that have data
	ttl    time.Duration
	all    []*redisserver.Server
}

func startRedis(ctx context.Context, dir string, ttl time.Duration) (_ Cluster, err error) {
	c := &redis{ttl: ttl}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	if c.clocks, err = newClocks(dir, redisServers); err != nil {
		return nil, err
	}
	if c.network, err = newNetwork(ctx, redisServers+redisSentinels); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	hosts := c.network.all(redisServers + redisSentinels)
	for i := range redisServers {
		hosts[i].Through = slices.Concat(hosts[i].Through, c.clocks.through(i))
	}
	c.Replicated, err = redisserver.StartReplicated(redisserver.Config{Dir: dir, Hosts: hosts, Settings: map[string]string{
		"min-replicas-to-write": "1",
		"min-replicas-max-lag":  "2",
	}}, redisSentinels)
	if err != nil {
		return nil, err
	}
	c.all = slices.Concat(c.Servers(), c.Sentinels())
	return c, c.ChangePassword(ctx)
}

func (c *redis) URL() string      { return c.url(userName + ":" + c.user.get() + "@") }
func (c *redis) AdminURL() string { return c.url("") }

func (c *redis) url(user string) string {
	return "redis://" + user + strings.Join(c.SentinelAddrs(), ",") + "?sentinel=" + c.Name()
}

// ChangePassword also has the servers write it down, or a restart would undo it.
func (c *redis) ChangePassword(ctx context.Context) error {
	return c.user.change(ctx, c.URL, func(password string) error {
		for _, s := range c.Servers() {
			for _, command := range [][]string{
				slices.Concat([]string{"ACL", "SETUSER", userName, "reset", "on", ">" + password}, strings.Fields(fairleadredis.Rules(""))),
				{"CONFIG", "REWRITE"},
				{"CLIENT", "KILL", "USER", userName},
			} {
				if _, err := s.Do(ctx, command...); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (c *redis) Addrs() (addrs []string) {
	for _, s := range c.all {
		addrs = append(addrs, s.Addr())
	}
	return addrs
}

func (c *redis) Members() (names []string) {
	for i := range c.Servers() {
		names = append(names, fmt.Sprint("server", i+1))
	}
	for i := range c.Sentinels() {
		names = append(names, fmt.Sprint("sentinel", i+1))
	}
	return names
}

func (c *redis) Leader(ctx context.Context) (int, error) {
	primary, err := c.Primary(ctx)
	return slices.Index(c.all, primary), err
}

func (c *redis) Kill(i int) error                         { return c.all[i].Kill() }
func (c *redis) Restart(ctx context.Context, i int) error { return c.all[i].Restart(ctx) }
func (c *redis) Freeze(i int) error                       { return c.all[i].Stop() }
func (c *redis) Thaw(i int) error                         { return c.all[i].Cont() }
func (c *redis) Log(i int) string                         { return c.all[i].Log() }
func (c *redis) Transfer(ctx context.Context) error       { return c.Failover(ctx) }

// Maintain drops the scripts that the primary has cached, and all connections.
func (c *redis) Maintain(ctx context.Context) error {
	if _, err := c.do(ctx, "SCRIPT", "FLUSH"); err != nil {
		return err
	}
	_, err := c.do(ctx, "CLIENT", "KILL", "TYPE", "normal")
	return err
}

// do asks the primary.
func (c *redis) do(ctx context.Context, args ...string) (any, error) {
	primary, err := c.Primary(ctx)
	if err != nil {
		return nil, err
	}
	return primary.Do(ctx, args...)
}

func (c *redis) keys(ctx context.Context, pattern string) ([]string, error) {
	answer, err := c.do(ctx, "KEYS", redisSpace+pattern)
	list, _ := answer.([]any)
	var keys []string
	for _, k := range list {
		key, _ := k.(string)
		keys = append(keys, key)
	}
	return keys, err
}

// EndSession deletes the session's key, as if it had expired.
func (c *redis) EndSession(ctx context.Context, identity string) error {
	keys, err := c.keys(ctx, "s:*")
	if err != nil {
		return err
	}
	for _, key := range keys {
		of, err := c.do(ctx, "HGET", key, "identity")
		if err != nil {
			return err
		}
		if of == identity {
			_, err := c.do(ctx, "DEL", key)
			return err
		}
	}
	return fmt.Errorf("%s has no session", identity)
}

// DeleteEntry removes an entry from the order and its record.
func (c *redis) DeleteEntry(ctx context.Context, name string, e watch.Entry) error {
	_, id, ok := strings.Cut(e.Key, "#")
	if !ok {
		return fmt.Errorf("the entry's key %q has no ID", e.Key)
	}
	_, err := c.do(ctx, "ZREM", redisSpace+"q:"+name, id)
	if err == nil {
		_, err = c.do(ctx, "HDEL", redisSpace+"d:"+name, id)
	}
	return err
}

// Recovered returns when one replicates from the other and all sentinels know them.
// Each question is bounded: a primary that was just started again is one only until a
// sentinel tells it otherwise.
func (c *redis) Recovered(ctx context.Context) error {
	return until(ctx, "the servers and sentinels", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*askTimeout)
		defer cancel()
		err := c.WaitReplicated(ctx)
		for _, s := range c.Sentinels() {
			if err == nil {
				_, err = s.Do(ctx, "SENTINEL", "CKQUORUM", c.Name())
			}
		}
		return err
	})
}

// Deposed returns when the server, cut off, takes no writes.
func (c *redis) Deposed(ctx context.Context, i int) error {
	return until(ctx, "the primary to have no replica", func(ctx context.Context) error {
		info, err := c.all[i].Info(ctx, "replication")
		if err == nil && (info["role"] != "master" || info["min_slaves_good_slaves"] != "0") {
			err = fmt.Errorf("it is a %s with %q replicas", info["role"], info["min_slaves_good_slaves"])
		}
		return err
	})
}

func (c *redis) Close() {
	if c.Replicated != nil {
		c.Replicated.Close()
	}
	c.network.close()
	c.clocks.close()
}

func (c *redis) SetClock(ctx context.Context, i int, ahead time.Duration) error {
	return c.clocks.step(ctx, i, ahead, func(ctx context.Context) (time.Time, error) {
		answer, err := c.all[i].Do(ctx, "TIME")
		if err != nil {
			return time.Time{}, err
		}
		parts, _ := answer.([]any)
		var seconds, micros int64
		if _, err := fmt.Sscan(strings.Trim(fmt.Sprint(parts), "[]"), &seconds, &micros); err != nil {
			return time.Time{}, fmt.Errorf("the time is %v: %w", answer, err)
		}
		return time.UnixMicro(seconds*1e6 + micros), nil
	})
}

func (c *redis) Settled(ctx context.Context) error {
	return until(ctx, "sessions to last no longer than a TTL", func(ctx context.Context) error {
		keys, err := c.keys(ctx, "s:*")
		for _, key := range keys {
			if err != nil {
				return err
			}
			var left any
			left, err = c.do(ctx, "PTTL", key)
			if ms, ok := left.(int64); ok && time.Duration(ms)*time.Millisecond > c.ttl {
				return fmt.Errorf("%s is to last %d ms", key, ms)
			}
		}
		return err
	})
}

// Watchers counts the channels that somebody listens to.
func (c *redis) Watchers(ctx context.Context) (int, error) {
	answer, err := c.do(ctx, "PUBSUB", "SHARDCHANNELS", redisSpace+"*")
	channels, ok := answer.([]any)
	if err == nil && !ok {
		err = errors.New("the primary does not tell its channels")
	}
	return len(channels), err
}

// Leftovers leaves out what outlives all sessions: the guard, and the last token.
func (c *redis) Leftovers(ctx context.Context) ([]string, error) {
	keys, err := c.keys(ctx, "*")
	return slices.DeleteFunc(keys, func(key string) bool {
		return key == redisSpace+"guard" || key == redisSpace+"token"
	}), err
}
