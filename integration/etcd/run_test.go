package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/fairlead-go/fairlead/election"
	"github.com/fairlead-go/fairlead/integration/proxy"
	"github.com/fairlead-go/fairlead/session"
)

// A candidate is one Run of an election, with a network of its own.
type candidate struct {
	who   string
	proxy *proxy.Proxy
	stage *stage
}

// A stage is where the candidates of one name lead, and where it is seen
// whether they keep to what is promised.
type stage struct {
	mu      sync.Mutex
	leading map[*candidate]context.Context
	tokens  []uint64
	meddled bool // an operator ended the present lease: leads of different candidates may overlap
	faults  []error
	entered chan *candidate
}

func (s *stage) enter(ctx context.Context, c *candidate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	token := uint64(0)
	if term, ok := election.TermFrom(ctx); ok {
		token = term.Token()
	}
	if n := len(s.tokens); token == 0 || n > 0 && s.tokens[n-1] >= token {
		s.faults = append(s.faults, fmt.Errorf("%s leads with token %d after %v", c.who, token, s.tokens))
	}
	s.tokens = append(s.tokens, token)
	for other, its := range s.leading {
		switch {
		case other == c:
			s.faults = append(s.faults, fmt.Errorf("two leads of %s overlap", c.who))
		case its.Err() == nil && !s.meddled:
			s.faults = append(s.faults, fmt.Errorf("%s leads while the context of %s is not done", c.who, other.who))
		}
	}
	s.leading[c] = ctx
}

func (s *stage) leave(c *candidate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.leading, c)
}

// lead is slow to return when its term ends.
func (c *candidate) lead(ctx context.Context) error {
	c.stage.enter(ctx, c)
	c.stage.entered <- c
	<-ctx.Done()
	time.Sleep(50*time.Millisecond + rand.N(500*time.Millisecond))
	c.stage.leave(c)
	return ctx.Err()
}

// Two leads of one Run never overlap, however slowly the first returns and
// however soon the session could lead again. Leads of different candidates may
// overlap only once the older one's context is done; and after an operator
// revoked its lease, which wakes the successor at once, for a moment before.
func TestRunNeverOverlapsItself(t *testing.T) {
	t.Parallel()
	const names, cuts = 10, 5
	ctx := bounded(t)
	var wg sync.WaitGroup
	for i := range names {
		name := fmt.Sprint(nameFor(t), "/", i)
		candidates := 1 + i%2 // alone, its own next campaign is never held up by another leader
		wg.Go(func() {
			if err := cutRepeatedly(ctx, name, candidates, cuts); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	wg.Wait()
}

func cutRepeatedly(ctx context.Context, name string, candidates, cuts int) (err error) {
	running, stop := context.WithCancel(ctx)
	st := &stage{leading: map[*candidate]context.Context{}, entered: make(chan *candidate, 1)}
	var runs sync.WaitGroup
	ended := make([]error, candidates)
	for i := range candidates {
		p, perr := proxy.Listen(shared.Addr())
		if perr != nil {
			err = errors.Join(err, perr)
			break
		}
		defer func() { err = errors.Join(err, p.Close()) }()
		s, serr := session.Open(ctx, "etcd://"+p.Addr(), quiet(fmt.Sprint("candidate ", i), shortTTL))
		if serr != nil {
			err = errors.Join(err, serr)
			break
		}
		defer func() { err = errors.Join(err, s.Close(ctx)) }()
		c := &candidate{who: s.Identity(), proxy: p, stage: st}
		runs.Go(func() { ended[i] = election.New(s, name).Run(running, c.who, c.lead) })
	}
	for cut := 0; cut < cuts && err == nil; cut++ {
		err = st.cut(ctx, name, cut)
	}
	if err == nil {
		err = st.next(ctx, new(*candidate)) // the last cut was survived too
	}
	stop()
	runs.Wait()
	for _, e := range ended {
		if e != nil && !errors.Is(e, context.Canceled) {
			err = errors.Join(err, fmt.Errorf("Run returned %w, want context.Canceled", e))
		}
	}
	return errors.Join(append(st.faults, err)...)
}

// next waits until a candidate leads.
func (s *stage) next(ctx context.Context, c **candidate) error {
	select {
	case *c = <-s.entered:
		return nil
	case <-ctx.Done():
		return errors.New("nobody leads any more")
	}
}

// cut waits for a leader and ends its term: by a network that freezes, or by an
// operator who revokes its lease. It returns when the leader knows.
func (s *stage) cut(ctx context.Context, name string, n int) error {
	var leader *candidate
	if err := s.next(ctx, &leader); err != nil {
		return err
	}
	s.mu.Lock()
	term := s.leading[leader]
	s.meddled = n%2 == 0
	s.mu.Unlock()
	leader.proxy.Cut() // alone, that costs nobody the leadership

	if n%2 == 0 {
		if err := revokeLeader(ctx, name); err != nil {
			return err
		}
	} else {
		leader.proxy.Freeze(proxy.Both)
		defer leader.proxy.Thaw(proxy.Both)
	}
	select {
	case <-term.Done():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s never learned that its term ended", leader.who)
	}
}

// revokeLeader ends the leader's lease, as an operator may.
func revokeLeader(ctx context.Context, name string) error {
	r, err := shared.admin.Get(ctx, name+"/", clientv3.WithFirstCreate()...)
	if err != nil {
		return err
	}
	if len(r.Kvs) == 0 {
		return fmt.Errorf("nobody is in the queue %s", name)
	}
	_, err = shared.admin.Revoke(ctx, clientv3.LeaseID(r.Kvs[0].Lease))
	return err
}
