package child

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// A phase of a supervision; they only move forward.
type phase int

const (
	running phase = iota
	ending        // asked to end
	killed
)

// A supervision is the watch over one running command.
type supervision struct {
	p         *Process
	g         Grant
	tty       *terminal
	killAfter time.Duration
	warn      func(string)

	phase     phase
	killAt    time.Time // while ending, when the grant is lost already; else zero
	passed    os.Signal // the latest that was handed on
	asked     bool      // one of them asks to end
	unreached bool      // a signal could not be sent
}

// run returns when the command has ended.
func (s *supervision) run(signals <-chan os.Signal) Outcome {
	timer := time.NewTimer(time.Until(s.due()))
	defer timer.Stop()
	lost := s.g.Context().Done()
	var orphans <-chan time.Time
	if adopts() {
		t := time.NewTicker(time.Second)
		defer t.Stop()
		orphans = t.C
	}
	for {
		select {
		case <-orphans:
			s.p.reap()
		case <-s.p.Exited():
			return s.ended(signals)
		case sig := <-signals:
			s.signal(sig)
		case sig := <-s.p.stops:
			if s.tty.stopped(s.p, sig); s.asked && s.valid() { // it may be us who was stopped, for long
				s.p.resume()
			}
		case <-lost:
			lost = nil
			s.end()
		case <-timer.C:
		}
		s.advance()
		timer.Reset(time.Until(s.due()))
	}
}

// signal hands a signal on. A command that was stopped while its grant was lost
// is not resumed: the next step is to kill it. One that is stopped gets to hear that
// it shall end: nobody else might resume it.
func (s *supervision) signal(sig os.Signal) {
	if isResume(sig) {
		if !s.valid() {
			return
		}
		s.tty.resumed(s.p)
	}
	s.sent(s.p.Signal(sig))
	s.passed = sig
	s.asked = s.asked || isRequest(sig)
	if isEnd(sig) && s.valid() {
		s.p.resume()
	}
}

// sent takes the outcome of a signal, which fails if the command has just ended, or
// is not ours to end.
func (s *supervision) sent(err error) {
	if errors.Is(err, fs.ErrPermission) && !s.unreached {
		s.unreached = true
		s.warn("the command runs as another user, so that no signal reaches it: it goes on, whatever becomes of what is held")
	}
}

// due returns when the next step is to be taken, as far as is known now: each
// renewal of the lease moves the deadline, so it is read again every time.
func (s *supervision) due() time.Time {
	switch s.phase {
	case running:
		return s.g.Deadline().Add(-s.killAfter)
	case ending:
		if !s.killAt.IsZero() {
			return s.killAt
		}
		return s.g.Deadline()
	default:
		return time.Now().Add(time.Hour) // nothing is left to do but to wait
	}
}

// advance takes the steps that are due.
func (s *supervision) advance() {
	for s.phase != killed && !time.Now().Before(s.due()) {
		if s.phase == running && s.killAfter > 0 {
			s.terminate()
		} else {
			s.kill()
		}
	}
}

// end begins the end of a command whose grant is lost. At the deadline the time
// to end in peace is over. Before it, somebody took the grant away: the
// command is given as much time as it would have had otherwise.
func (s *supervision) end() {
	s.killAt = time.Now().Add(s.killAfter)
	if d := s.g.Deadline(); d.Before(s.killAt) {
		s.killAt = d
	}
	switch {
	case s.phase != running:
	case time.Now().Before(s.killAt):
		s.terminate()
	default:
		s.phase = ending // what is due is to kill it, wherever renewals move the deadline
	}
}

func (s *supervision) terminate() {
	s.phase = ending
	s.sent(s.p.terminate())
}

func (s *supervision) kill() {
	s.phase = killed
	s.sent(s.p.kill())
}

const (
	look     = 10 * time.Millisecond // when what is left of a group is looked at
	mostLook = time.Second / 4       // to which that grows: it may be for long
	telling  = time.Second           // when a wait for it is told
	lastTime = time.Second           // for what was killed to be gone
)

// ended returns the outcome, once what the command has left in its group may be left
// alone.
//
// Where the grant is lost, it has to go as well; it has got SIGTERM, and may take its
// time until the deadline. Where the command was asked to end, so were all of its group:
// a shell ends at once, and what it was waiting for may still be at it. Another request
// to end ends that wait.
func (s *supervision) ended(signals <-chan os.Signal) Outcome {
	asked := s.asked || s.endedBy(s.passed)
	tell := time.Now().Add(telling)
	next := look
	for s.phase != killed && (asked || s.isLost()) && !s.p.empty() {
		if s.isLost() && s.phase == running {
			s.end()
		}
		if !s.isLost() && !tell.IsZero() && time.Now().After(tell) {
			tell = time.Time{}
			s.warn("the command has ended, and what it has started still runs: what is held is kept until that ends, or another signal comes")
		}
		select {
		case sig := <-signals:
			s.signal(sig)
			asked = asked && !isEnd(sig)
		case <-time.After(min(next, max(0, time.Until(s.due())))):
			next = min(2*next, mostLook)
		}
		s.advance()
	}
	for until := time.Now().Add(lastTime); s.phase == killed && !s.unreached && !s.p.empty() && time.Now().Before(until); {
		time.Sleep(look)
	}
	return Outcome{Status: s.p.Status(), Lost: s.isLost(), Unreached: s.unreached}
}

// endedBy reports whether the command was ended by a signal.
func (s *supervision) endedBy(sig os.Signal) bool {
	n, ok := sig.(syscall.Signal)
	return ok && s.p.Status() == 128+int(n)
}

// isLost reports whether the grant is, or the command was ended as if it were.
func (s *supervision) isLost() bool { return s.phase != running || !s.valid() }

// valid reports whether the grant still entitles the command to run.
func (s *supervision) valid() bool {
	return s.g.Context().Err() == nil && time.Now().Before(s.g.Deadline())
}
