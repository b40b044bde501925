package zkserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/fairlead-go/fairlead/internal/process"
)

// An Ensemble is several servers that elect a leader among themselves.
type Ensemble struct {
	servers []*Server
}

// StartEnsemble starts an ensemble of n servers, of which three are the least
// that bear the loss of one, and waits until all of them answer. With Config.Dir
// each has a directory of its own inside it.
func StartEnsemble(n int, c Config) (*Ensemble, error) {
	if n < 2 {
		return nil, fmt.Errorf("start an ensemble: %d servers are none", n)
	}
	servers, err := launch(&c, n, process.Reserve)
	if err != nil {
		return nil, err
	}
	return &Ensemble{servers: servers}, nil
}

// Servers returns all servers, dead ones too, in the order of their ids.
func (e *Ensemble) Servers() []*Server { return append([]*Server(nil), e.servers...) }

// ConnectString is what clients are given: the addresses of all servers, with
// commas between.
func (e *Ensemble) ConnectString() string {
	addrs := make([]string, len(e.servers))
	for i, s := range e.servers {
		addrs[i] = s.Addr()
	}
	return strings.Join(addrs, ",")
}

// Leader returns the server that leads. It blocks until exactly one server says
// that it does, or ctx is done. A leader that was frozen long enough to be
// replaced may say so for a moment after Cont.
func (e *Ensemble) Leader(ctx context.Context) (*Server, error) {
	leader, _, err := e.roles(ctx)
	return leader, err
}

// Followers returns the servers that follow, which leaves out dead and frozen
// ones. It blocks as Leader does.
func (e *Ensemble) Followers(ctx context.Context) ([]*Server, error) {
	_, followers, err := e.roles(ctx)
	return followers, err
}

func (e *Ensemble) roles(ctx context.Context) (leader *Server, followers []*Server, err error) {
	tick := time.NewTicker(process.Poll)
	defer tick.Stop()
	for {
		by, err := e.ask(ctx)
		if len(by[Leader]) == 1 {
			return by[Leader][0], by[Follower], nil
		}
		select {
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("wait for the leader of %s: %w; at last: %d lead, %d follow, %w",
				e.ConnectString(), context.Cause(ctx), len(by[Leader]), len(by[Follower]), err)
		case <-tick.C:
		}
	}
}

// ask asks all servers for their roles. The error is of those that do not tell.
func (e *Ensemble) ask(ctx context.Context) (map[string][]*Server, error) {
	modes := make([]string, len(e.servers))
	errs := make([]error, len(e.servers))
	var wg sync.WaitGroup
	for i, s := range e.servers {
		wg.Go(func() { modes[i], errs[i] = s.askMode(ctx) })
	}
	wg.Wait()
	by := make(map[string][]*Server)
	for i, s := range e.servers {
		by[modes[i]] = append(by[modes[i]], s)
	}
	return by, errors.Join(errs...)
}

// Close closes all servers.
func (e *Ensemble) Close() { closeAll(e.servers) }
