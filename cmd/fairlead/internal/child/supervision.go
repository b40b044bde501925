package child

import (
	"os"
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

	phase  phase
	killAt time.Time // while ending, when the grant is lost already; else zero
}

// run returns when the command has ended.
func (s *supervision) run(signals <-chan os.Signal) Outcome {
	timer := time.NewTimer(time.Until(s.due()))
	defer timer.Stop()
	lost := s.g.Context().Done()
	for {
		select {
		case <-s.p.Exited():
			return s.ended()
		case sig := <-signals:
			s.signal(sig)
		case sig := <-s.p.stops:
			s.tty.stopped(s.p, sig)
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
// is not resumed: the next step is to kill it.
func (s *supervision) signal(sig os.Signal) {
	if isResume(sig) {
		if !s.valid() {
			return
		}
		s.tty.resumed(s.p)
	}
	_ = s.p.Signal(sig) // fails if it has just ended
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
	if s.phase == running && time.Now().Before(s.killAt) {
		s.terminate()
	}
}

func (s *supervision) terminate() {
	s.phase = ending
	s.p.terminate()
}

func (s *supervision) kill() {
	s.phase = killed
	s.p.Kill()
}

// ended returns the outcome. Where the grant is lost, what the command has left
// in its group has to go as well; it has got SIGTERM, and may take its time until
// the deadline.
func (s *supervision) ended() Outcome {
	lost := !s.valid() || s.phase != running
	if lost {
		if s.phase == running {
			s.end()
		}
		for s.phase != killed && !s.p.empty() {
			pause := time.NewTimer(min(10*time.Millisecond, max(0, time.Until(s.due()))))
			<-pause.C
			s.advance()
		}
	}
	return Outcome{Status: s.p.Status(), Lost: lost}
}

// valid reports whether the grant still entitles the command to run.
func (s *supervision) valid() bool {
	return s.g.Context().Err() == nil && time.Now().Before(s.g.Deadline())
}
