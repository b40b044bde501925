package plant

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/fairlead-go/fairlead/internal/mutant"
	"github.com/fairlead-go/fairlead/session/driver"
)

// givesUpOnCompaction waits as a user of etcd does who has read half of its
// documentation: by a watch that begins with the revision of the view, and ends with
// an error when the store has compacted that revision by the time that the client has
// to begin the watch again.
func givesUpOnCompaction(url string, s driver.Store) driver.Store {
	w := &watcher{url: url}
	return &closing{mutant.Mutation{Lease: mutant.Lies{
		Wait: func(ctx context.Context, l *mutant.Lease, v driver.View, on driver.Obstacles) (driver.View, error) {
			if len(on.Entries) != 1 || on.Limit {
				return l.Lease.Wait(ctx, v, on)
			}
			if err := w.wait(ctx, on.Entries[0].Key, int64(v.At)); err != nil {
				return driver.View{}, err
			}
			return l.Lease.Look(ctx, v.Me)
		},
	}}.Plant(s), w}
}

// A watcher has a connection of its own to etcd.
type watcher struct {
	url string

	mu     sync.Mutex
	client *clientv3.Client
}

func (w *watcher) dial() (*clientv3.Client, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.client != nil {
		return w.client, nil
	}
	_, rest, _ := strings.Cut(w.url, "://")
	hosts, _, _ := strings.Cut(rest, "/")
	var err error
	w.client, err = clientv3.New(clientv3.Config{Endpoints: strings.Split(hosts, ","), DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	return w.client, err
}

// wait returns when something happens to the key after the revision.
func (w *watcher) wait(ctx context.Context, key string, rev int64) error {
	client, err := w.dial()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range client.Watch(ctx, key, clientv3.WithRev(rev+1)) {
		if err := resp.Err(); err != nil {
			return driver.Permanent(fmt.Errorf("wait for %s: %w", key, err))
		}
		for _, ev := range resp.Events {
			if ev.Type == mvccpb.DELETE || ev.IsModify() {
				return nil
			}
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return errors.New("the watch has ended")
}

// A closing store closes the watcher with it.
type closing struct {
	driver.Store
	watcher *watcher
}

func (s *closing) Close() error {
	s.watcher.mu.Lock()
	defer s.watcher.mu.Unlock()
	var err error
	if s.watcher.client != nil {
		err = s.watcher.client.Close()
	}
	return errors.Join(err, s.Store.Close())
}
