package client

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-go/fairlead/integration/faults/journal"
	"github.com/fairlead-go/fairlead/integration/faults/plant"
	"github.com/fairlead-go/fairlead/integration/faults/register"
	"github.com/fairlead-go/fairlead/session"
	"github.com/fairlead-go/fairlead/session/driver"
)

// CalmDown is the line on standard input after which a client no longer gives up
// waiting. The end of standard input makes it leave.
const CalmDown = "calm"

const (
	tick      = 20 * time.Millisecond
	stalled   = 150 * time.Millisecond // without a tick: the process did not run
	leakAfter = 5 * time.Second
	openAgain = 100 * time.Millisecond
)

// A Config says who a client is and what it works on.
type Config struct {
	Access
	Plant    string // the bug to have, one of package plant; "": none
	Life     string // the client's name, and which of its lives this is
	Journal  string // a file
	Register string // its address
	Seed     uint64
	TTL      time.Duration
	Vigil    time.Duration // how long a vigil lasts at most; it is a third of that at least
	Start    int64         // when the run began
	Names    Names
}

// Names says which names are in use when: every Epoch others, so that there are new
// ones to begin, old ones to leave behind, and histories short enough to check.
type Names struct {
	Epoch time.Duration
}

// Prefix is what all names begin with.
const Prefix = "torture/"

// At returns the name of that kind that is in use so long after the start.
func (n Names) At(kind string, since time.Duration) string {
	return n.Of(kind, int(since/n.Epoch))
}

// Of returns the name in use in an epoch.
func (n Names) Of(kind string, epoch int) string { return fmt.Sprintf("%s%s/%d", Prefix, kind, epoch) }

// A player is one life of a client.
type player struct {
	Config
	session *session.Session
	journal *journal.Writer
	pen     *register.Pen
	calm    atomic.Bool
}

// Run plays a client until in ends.
func Run(c Config, in io.Reader) error {
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	p := &player{Config: c}
	go func() {
		lines := bufio.NewScanner(in)
		for lines.Scan() {
			if lines.Text() == CalmDown {
				p.calm.Store(true)
			}
		}
		leave()
	}()
	var err error
	if p.journal, err = journal.Create(c.Journal); err != nil {
		return err
	}
	if p.pen, err = register.Dial(c.Register, c.Life); err != nil {
		return err
	}
	stop := p.watchStalls()
	if err = p.open(ctx); err == nil {
		p.work(ctx)
		p.close()
	} else if ctx.Err() != nil {
		err = nil // it was told to leave before it could begin
	}
	stop()
	p.reportLeaks()
	return err
}

// open opens the session, and writes down each lease that it gets.
func (p *player) open(ctx context.Context) (err error) {
	bug, err := plant.Named(p.Plant)
	if err != nil {
		return err
	}
	wrap := func(s driver.Store) driver.Store { return &recorded{bug(p.Access.routed(), s), p.journal} }
	opts := &session.Options{TTL: p.TTL, Identity: p.Life, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*p.TTL)
		p.session, err = Open(attempt, p.Access, opts, wrap)
		cancel()
		if err == nil {
			p.journal.Note(journal.Event{Kind: journal.Opened})
			return nil
		}
		if sleep(ctx, retryAfter); ctx.Err() != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "open:", err)
		sleep(ctx, openAgain)
	}
}

// A recorded store writes down what leases it grants.
type recorded struct {
	driver.Store
	journal *journal.Writer
}

func (s *recorded) Grant(ctx context.Context, spec driver.Spec) (driver.Lease, time.Time, error) {
	l, sent, err := s.Store.Grant(ctx, spec)
	if err == nil {
		s.journal.Note(journal.Event{Kind: journal.Leased})
	}
	return l, sent, err
}

// work returns when ctx has ended and nothing is held any more.
func (p *player) work(ctx context.Context) {
	var all sync.WaitGroup
	for i, do := range []func(*worker, context.Context){
		(*worker).mutex, (*worker).vigil, (*worker).rwmutex, (*worker).semaphore, (*worker).pool, (*worker).election,
	} {
		w := &worker{player: p, rng: rand.New(rand.NewPCG(p.Seed, uint64(i))), limits: map[string]int64{}}
		all.Go(func() {
			for ctx.Err() == nil {
				do(w, ctx)
				sleep(ctx, w.between(2*time.Millisecond, 40*time.Millisecond))
			}
		})
	}
	all.Wait()
}

func (p *player) close() {
	p.journal.Note(journal.Event{Kind: journal.Closing})
	ctx, cancel := context.WithTimeout(context.Background(), 5*p.TTL)
	defer cancel()
	err := p.session.Close(ctx)
	p.journal.Note(journal.Event{Kind: journal.Closed, Error: text(err)})
}

func (p *player) since() time.Duration { return time.Duration(journal.Now() - p.Start) }

// watchStalls writes down when the process did not run: it was stopped, or the
// machine had no time for it. It returns what ends the watch.
func (p *player) watchStalls() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() {
		for last := journal.Now(); ctx.Err() == nil; {
			sleep(ctx, tick)
			now := journal.Now()
			if time.Duration(now-last) > stalled {
				p.journal.Note(journal.Event{At: now, Kind: journal.Stalled, From: last})
			}
			last = now
		}
	})
	return func() {
		cancel()
		watch.Wait()
	}
}

// reportLeaks writes down which goroutines of Fairlead's are left when the session
// is closed.
func (p *player) reportLeaks() {
	var left []string
	for end := time.Now().Add(leakAfter); time.Now().Before(end); time.Sleep(tick) {
		if left = ours(); len(left) == 0 {
			return
		}
	}
	p.journal.Note(journal.Event{Kind: journal.Leaked, Error: strings.Join(left, "\n\n")})
}

// ours returns the stacks that have Fairlead's code in them, but not this package's.
func ours() (left []string) {
	stacks := make([]byte, 4<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for _, g := range strings.Split(string(stacks), "\n\n")[1:] { // the first is this goroutine
		if strings.Contains(g, "fairlead-go/fairlead/") && !strings.Contains(g, "faults/client.Run") {
			left = append(left, g)
		}
	}
	return left
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// sleep lasts d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
