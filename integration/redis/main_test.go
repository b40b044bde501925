package redis_test

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/fairlead-go/fairlead/internal/redisserver"
	"github.com/fairlead-go/fairlead/session/redis"
)

// user has the least that works.
const (
	user     = "fairlead"
	password = "p@ss/word"
)

// These are for tests that leave the servers alone. Others start servers of their own.
var (
	replicated *redisserver.Replicated
	cluster    *redisserver.Cluster
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	var errs [2]error
	var wg sync.WaitGroup
	wg.Go(func() { replicated, errs[0] = redisserver.StartReplicated(config(), 3) })
	wg.Go(func() { cluster, errs[1] = redisserver.StartCluster(3, config()) })
	wg.Wait()
	code := 1
	if err := errors.Join(errs[:]...); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	if replicated != nil {
		replicated.Close()
	}
	if cluster != nil {
		cluster.Close()
	}
	if err := leaks(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// leaks finds goroutines that stay. Some of the client library's sleep for some seconds,
// whatever becomes of the client, before they do the last that they have to.
func leaks() (err error) {
	for range 20 {
		if err = goleak.Find(); err == nil {
			return nil
		}
	}
	return err
}

func config() redisserver.Config {
	return redisserver.Config{Users: []string{fmt.Sprintf("%s on >%s %s", user, password, redis.Rules(""))}}
}

// at is a URL of some servers; parameters begin with a question mark, or are empty.
func at(addrs []string, parameters string) string {
	return fmt.Sprintf("redis://%s@%s%s", url.UserPassword(user, password), strings.Join(addrs, ","), parameters)
}

// through is the URL of whichever server the sentinels take for the primary.
func through(r *redisserver.Replicated, more string) string {
	return at(r.SentinelAddrs(), "?sentinel="+r.Name()+more)
}
