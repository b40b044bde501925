package top

import (
	"context"
	"iter"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

// A Source is where queues come from.
type Source interface {
	List(ctx context.Context, prefix string) ([]watch.Snapshot, error)
	Queue(ctx context.Context, name string) iter.Seq2[watch.Snapshot, error]
}

// Of returns the queues of a session's store.
func Of(s *session.Session) Source { return store{s} }

type store struct{ s *session.Session }

func (st store) List(ctx context.Context, prefix string) ([]watch.Snapshot, error) {
	return watch.List(ctx, st.s, prefix)
}

func (st store) Queue(ctx context.Context, name string) iter.Seq2[watch.Snapshot, error] {
	return watch.Queue(ctx, st.s, name)
}

const (
	listTimeout  = 10 * time.Second
	listInterval = time.Second // from one list to the next, at least
	listShare    = 4           // and so many times what reading one takes
)

// Messages.
type (
	// listed is the list of queues, or why it could not be read.
	listed struct {
		queues []watch.Snapshot
		err    error
		took   time.Duration
	}

	// due says that it is time for the next list.
	due struct{}

	// ticked says that a second has passed, and that what is shown has aged.
	ticked struct{}

	// seen is a state of the queue that is open.
	seen struct {
		from  *following
		queue watch.Snapshot
		err   error
	}
)

// list reads the list once.
func (m *Model) list() tea.Msg {
	ctx, cancel := context.WithTimeout(m.ctx, listTimeout)
	defer cancel()
	begin := time.Now()
	queues, err := m.source.List(ctx, m.prefix)
	return listed{queues, err, time.Since(begin)}
}

func tick() tea.Cmd { return tea.Tick(time.Second, func(time.Time) tea.Msg { return ticked{} }) }

// A following hands over the states of one queue, until it is ended.
type following struct {
	states chan seen // closed when there are no more
	end    context.CancelFunc
}

// follow begins to watch a queue. Its goroutine ends with the following, or with the
// model's context, and Wait waits for it.
func (m *Model) follow(name string) *following {
	ctx, cancel := context.WithCancel(m.ctx)
	f := &following{states: make(chan seen), end: cancel}
	m.work.Go(func() {
		defer close(f.states)
		for q, err := range m.source.Queue(ctx, name) {
			select {
			case f.states <- seen{f, q, err}:
			case <-ctx.Done():
				return
			}
		}
	})
	return f
}

// next waits for the next state.
func (f *following) next() tea.Msg {
	s, ok := <-f.states
	if !ok {
		return nil
	}
	return s
}
