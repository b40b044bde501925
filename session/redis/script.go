package redis

import (
	"context"
	"crypto/sha1"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

//go:embed lua/*.lua
var sources embed.FS

// A script is one that the server runs as a single step. Each has a shebang, so that a
// replica refuses it: what it could answer would be old.
type script struct{ text, sha string }

// load reads a script. Those that give something back, or only look, run also where the
// server is out of memory.
func load(name string, flags string) script {
	prelude, err := sources.ReadFile("lua/prelude.lua")
	if err == nil {
		var body []byte
		body, err = sources.ReadFile("lua/" + name + ".lua")
		prelude = append(prelude, body...)
	}
	if err != nil {
		panic("redis: " + err.Error()) // embedded, so it is there
	}
	text := "#!lua" + flags + "\n" + string(prelude)
	sum := sha1.Sum([]byte(text)) // how Redis names scripts
	return script{text, hex.EncodeToString(sum[:])}
}

const frugal = " flags=allow-oom"

// harmless is for what runs also where the server takes no writes, as it cannot store
// them. A replica would run it as well.
const harmless = " flags=no-writes,allow-oom"

var (
	probeScript   = load("probe", frugal)
	examineScript = load("examine", harmless)
	grantScript   = load("grant", "")
	renewScript   = load("renew", frugal)
	revokeScript  = load("revoke", frugal)
	joinScript    = load("join", "")
	resolveScript = load("resolve", frugal)
	lookScript    = load("look", frugal)
	updateScript  = load("update", "")
	leaveScript   = load("leave", frugal)
	readScript    = load("read", frugal)
	resizeScript  = load("resize", "")
	namesScript   = load("names", frugal)
	entriesScript = load("entries", frugal)
	breakScript   = load("break", frugal)
	marksScript   = load("marks", frugal)
)

// build makes the command, with the script's text if the server does not know it.
func (s *store) build(sc script, whole bool, args []string) rueidis.Completed {
	if whole {
		return s.client.B().Eval().Script(sc.text).Numkeys(1).Key(s.guard).Arg(args...).Build()
	}
	return s.client.B().Evalsha().Sha1(sc.sha).Numkeys(1).Key(s.guard).Arg(args...).Build()
}

// run runs a script. Its errors are raw: see failed.
func (s *store) run(ctx context.Context, sc script, args ...string) (reply, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errOverdue)
	defer cancel()
	r, err := s.prompt(ctx, func(ctx context.Context) (reply, error) {
		r, err := parse(s.client.Do(ctx, s.build(sc, false, args)))
		if isNoScript(err) {
			r, err = parse(s.client.Do(ctx, s.build(sc, true, args)))
		}
		return r, err
	})
	return r, s.heed(ctx, err)
}

// heed does what an error of the server's calls for, and returns the one to report.
func (s *store) heed(ctx context.Context, err error) error {
	if isDemoted(err) {
		s.reconnect()
	}
	return overdue(ctx, err)
}

// reconnect leaves a server that is a replica now, where nobody else ends the connections to it:
// the address may lead to the primary by now. It may also not do so yet, hence the pause.
func (s *store) reconnect() {
	s.mu.Lock()
	due := time.Since(s.reconnected) >= reconnectInterval
	if due {
		s.reconnected = time.Now()
	}
	s.mu.Unlock()
	switch {
	case !due:
	case s.conns != nil:
		s.conns.hangUp() // all, as a burst of requests on them would be refused alike
	default:
		s.inbox.reconnect() // the client's other connections are not ours
	}
}

// A request is something to ask the server, for as long as ctx lasts.
type request func(ctx context.Context) (reply, error)

// maxQueued bounds the requests that queue on a connection in their callers' goroutines. The
// library has room for 1,024.
const maxQueued = 512

// prompt returns when ctx ends, at the latest. While the library makes a connection, or its
// queue is full, it does not look at contexts, and goes on for as long as its timeouts allow; so
// f has a goroutine of its own, except where there are few others, and all connections are up
// and nobody was left without an answer since one came on them.
func (s *store) prompt(ctx context.Context, f request) (reply, error) {
	if s.conns == nil {
		return s.apart(ctx, f)
	}
	doubts := s.conns.doubts.Load()
	queued := s.queued.Add(1)
	defer s.queued.Add(-1)
	if doubts == s.conns.settled.Load() && queued <= maxQueued {
		r, err := f(context.WithValue(ctx, connected{}, true))
		if err != nil && ctx.Err() != nil {
			s.conns.doubts.Add(1) // it stays in the queue, and perhaps others with it
		}
		if !errors.Is(err, errConnecting) {
			return r, err
		}
		s.conns.doubts.Add(1) // others would wait for the connection, whatever their contexts
	}
	for {
		r, err := s.apart(ctx, f)
		switch {
		case err == nil:
			s.conns.settled.Store(doubts)
		case ctx.Err() != nil:
			s.conns.doubts.Add(1) // it stays in the queue
		}
		if !errors.Is(err, errConnecting) { // of somebody else's attempt, which it has joined
			return r, err
		}
	}
}

// apart runs f in a goroutine of its own, and returns when ctx ends, at the latest. f goes
// on then, for as long as the server has to answer: it may be making the connection that
// others wait for, too. What a script does late does no harm: each is guarded, or can be
// repeated.
func (s *store) apart(ctx context.Context, f request) (reply, error) {
	type result struct {
		r   reply
		err error
	}
	done := make(chan result, 1)
	s.background(func() {
		own, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), s.timeout, errOverdue)
		defer cancel()
		defer context.AfterFunc(s.ctx, cancel)()
		r, err := f(own)
		done <- result{r, overdue(own, err)}
	})
	select {
	case x := <-done:
		return x.r, x.err
	case <-ctx.Done():
		return reply{}, ctx.Err()
	case <-s.ctx.Done():
		return reply{}, rueidis.ErrClosing
	}
}

// runSafely is run for what must not be lost with the primary: it waits until enough
// replicas have it, if it is to. What a connection has written, and all before, is
// what WAIT waits for, so the two go through one.
func (s *store) runSafely(ctx context.Context, sc script, args ...string) (reply, error) {
	if s.replicas == 0 {
		return s.run(ctx, sc, args...)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errOverdue)
	defer cancel()
	// It may have to connect, for itself alone, and so gives up with the caller.
	r, err := s.apart(ctx, func(context.Context) (reply, error) { return s.waiting(ctx, sc, args) })
	return r, s.heed(ctx, err)
}

func (s *store) waiting(ctx context.Context, sc script, args []string) (r reply, err error) {
	select {
	case s.turns <- struct{}{}:
		defer func() { <-s.turns }()
	case <-ctx.Done():
		return r, ctx.Err()
	case <-s.ctx.Done():
		return r, rueidis.ErrClosing
	}
	l := s.takeLine()
	defer func() {
		s.giveBack(l, err != nil, err != nil && (ctx.Err() == nil || context.Cause(ctx) == errOverdue))
	}()
	wait := func() rueidis.Completed {
		// Less than what we wait, so that we hear how many there were.
		return l.B().Wait().Numreplicas(int64(s.replicas)).Timeout(s.timeout.Milliseconds() * 3 / 4).Build()
	}
	results := l.DoMulti(ctx, s.build(sc, false, args), wait())
	if r, err = parse(results[0]); isNoScript(err) {
		results = l.DoMulti(ctx, s.build(sc, true, args), wait())
		r, err = parse(results[0])
	}
	if err != nil || r.status != "ok" && r.status != "version" && r.status != "gone" {
		return r, err // nothing was written, now or by an earlier attempt
	}
	n, err := results[1].AsInt64()
	if err == nil && n < int64(s.replicas) {
		err = fmt.Errorf("%d of %d replicas have acknowledged", n, s.replicas)
	}
	return r, err
}

// maxLines bounds the lines of a store. rueidis has room for 1,024 connections of their kind,
// unless a client is configured with less, and makes who wants one more wait without end.
const maxLines = 128

// A line is a connection for what is waited for with WAIT. rueidis' own pool would
// unsubscribe on it between two uses, which is not safe: see inbox.leave.
type line struct {
	rueidis.DedicatedClient
	ended <-chan error
}

// takeLine takes one that is up, as far as is known, or makes one.
func (s *store) takeLine() line {
	for {
		s.mu.Lock()
		n := len(s.lines)
		if n == 0 {
			s.mu.Unlock()
			c, _ := s.client.Dedicate() // Close gives it back
			return line{c, c.SetPubSubHooks(rueidis.PubSubHooks{OnSubscription: func(rueidis.PubSubSubscription) {}})}
		}
		l := s.lines[n-1]
		s.lines = s.lines[:n-1]
		s.mu.Unlock()
		select {
		case <-l.ended:
			l.Close()
		default:
			return l
		}
	}
}

// giveBack keeps it for the next who needs one. One that was given up on is broken; and
// where that is the store's doing none is kept, as all may lead to a server that has become a
// replica, or is cut off.
func (s *store) giveBack(l line, broken, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var drop []line
	switch {
	case all:
		drop, s.lines = append(s.lines, l), nil
	case broken || s.closed:
		drop = []line{l}
	default:
		s.lines = append(s.lines, l)
	}
	if len(drop) > 0 {
		s.work.Go(func() { closeAll(drop) }) // beside who calls, which Close waits for
	}
}

// closeAll closes lines. To close one takes a second where the server does not answer.
func closeAll(lines []line) {
	var work sync.WaitGroup
	for _, l := range lines {
		work.Go(l.Close)
	}
	work.Wait()
}

// A reply is what a script returns: a word, and what depends on it.
type reply struct {
	status string
	rest   []string
}

func parse(result rueidis.RedisResult) (reply, error) {
	values, err := result.ToArray()
	if err != nil {
		return reply{}, err
	}
	words := make([]string, len(values))
	for i, v := range values {
		if v.IsInt64() {
			n, _ := v.AsInt64()
			words[i] = fmt.Sprint(n)
			continue
		}
		if words[i], err = v.ToString(); err != nil {
			return reply{}, err
		}
	}
	if len(words) == 0 {
		return reply{}, nil
	}
	return reply{words[0], words[1:]}, nil
}

// milliseconds writes a duration as Redis takes it, rounded up.
func milliseconds(d time.Duration) string {
	return fmt.Sprint((d + time.Millisecond - 1).Milliseconds())
}
