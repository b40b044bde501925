package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"

	"github.com/fairlead-go/fairlead/cmd/fairlead/internal/view"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/watch"
)

const (
	progressAfter = time.Second      // so long a wait says nothing
	progressFirst = 2 * time.Second  // from one look at the queue to the next, at first
	progressLast  = 30 * time.Second // and after a long wait
	progressEach  = 5 * time.Millisecond
)

// A progress says on standard error how a wait stands that takes longer than a second:
// on a terminal in one line that changes, elsewhere in a line a change.
//
// It reads the queue every so often, and does not watch it: a watch would wake every
// waiter for every change, which is what the queue is there to avoid. The longer the
// wait and the queue, the longer it pauses, so that many who wait long do not
// burden the store.
type progress struct {
	s        *session.Session
	name     string
	inPlace  bool
	shown    string // of what standard error has
	mu       sync.Mutex
	stop     context.CancelFunc // nil while nothing is told
	finished chan struct{}      // closed when nothing is told any more
}

func newProgress(s *session.Session, name string) *progress {
	return &progress{s: s, name: name, inPlace: term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb"}
}

// queued is told when the wait begins, with the token of the entry, and again when it
// begins anew.
func (p *progress) queued(token uint64) {
	p.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx, stop := context.WithCancel(context.Background())
	finished := make(chan struct{})
	p.stop, p.finished = stop, finished
	go func() {
		defer close(finished)
		p.tell(ctx, token)
	}()
}

// end is told when the wait is over. When it returns, nothing more is written.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		p.stop()
		<-p.finished
		p.stop = nil
	}
}

func (p *progress) tell(ctx context.Context, token uint64) {
	begin := time.Now()
	for pause := progressAfter; ; {
		select {
		case <-ctx.Done():
			p.clear()
			return
		case <-time.After(pause):
		}
		q, err := watch.Read(ctx, p.s, p.name)
		if err == nil && ctx.Err() == nil {
			if line, waits := view.Waiting(q, token, time.Now()); waits {
				p.show("fairlead: " + line)
			}
		}
		pause = progressPause(time.Since(begin), len(q.Holders)+len(q.Waiters))
	}
}

// progressPause returns how long to wait before the queue is read again.
func progressPause(waited time.Duration, length int) time.Duration {
	return min(max(waited/10, progressFirst), progressLast) + time.Duration(length)*progressEach
}

func (p *progress) show(line string) {
	if line == p.shown {
		return
	}
	if !p.inPlace {
		fmt.Fprintln(os.Stderr, line)
		p.shown = line
		return
	}
	if width, _, err := term.GetSize(int(os.Stderr.Fd())); err == nil {
		line = view.Fit(line, width-1) // a line that wraps would be two
	}
	rest := max(ansi.StringWidth(p.shown)-ansi.StringWidth(line), 0)
	fmt.Fprint(os.Stderr, "\r"+line+strings.Repeat(" ", rest))
	p.shown = line
}

// clear leaves no trace on a terminal.
func (p *progress) clear() {
	if p.inPlace && p.shown != "" {
		fmt.Fprint(os.Stderr, "\r"+strings.Repeat(" ", ansi.StringWidth(p.shown))+"\r")
	}
	p.shown = ""
}
