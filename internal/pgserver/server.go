package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fairlead-go/fairlead/internal/process"
)

const (
	startTimeout  = time.Minute
	answerTimeout = 2 * time.Second // for one question to a server that starts

	// shutdownTimeout bounds a shutdown that was asked for, in which a server may
	// have a checkpoint to write and standbys to wait for; endTimeout that of Close.
	shutdownTimeout = 30 * time.Second
	endTimeout      = 5 * time.Second
)

// A Server is a PostgreSQL server, which may at times be dead. Its methods may
// be called concurrently.
type Server struct {
	config   Config
	place    *place
	password string // the superuser's
	child    *process.Child

	mu      sync.Mutex // held while several processes get signals
	release func()     // ends the watch over stopped processes; nil if there is none
}

// A Mode is how a server shuts down.
type Mode int

const (
	Fast      Mode = iota // ends sessions, then writes what is to be written (SIGINT)
	Immediate             // ends at once, and recovers at the next start (SIGQUIT)
)

// Start starts a server and waits until it accepts queries.
func Start(c Config) (*Server, error) { return start(c, process.Reserve) }

func start(c Config, reserve process.Reserver) (*Server, error) {
	p, err := newPlace(c.Dir)
	if err != nil {
		return nil, err
	}
	s := newServer(c, p)
	err = s.found()
	if err == nil {
		err = p.launch(reserve, func() error { return c.write(p, nil) }, s.Restart)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func newServer(c Config, p *place) *Server {
	return &Server{config: c, place: p, child: process.New("postgres", p.dir, p.log())}
}

// found makes the server's data, or finds what an earlier one has left. The
// superuser's password is written last: where it is, everything is.
func (s *Server) found() error {
	password, err := os.ReadFile(s.place.password())
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		s.password = string(password)
		return err
	}
	c, err := fresh()
	if err != nil {
		return err
	}
	if err := c.copy(s.place); err != nil {
		return fmt.Errorf("copy a database cluster: %w", err)
	}
	s.password = c.password
	return os.WriteFile(s.place.password(), []byte(s.password), 0o600)
}

// Addr is where clients connect, host:port.
func (s *Server) Addr() string { return s.place.port.Addr() }

// Dir is where the server has its data and log.
func (s *Server) Dir() string { return s.place.dir }

// Pid is the process id of the postmaster, and 0 when there is none.
func (s *Server) Pid() int { return s.child.Pid() }

// Log returns what the server wrote last, in all its lives: some kilobytes. Once
// a temporary directory is gone there is nothing.
func (s *Server) Log() string { return s.child.Log() }

// Restart starts the server again, on the same port and with the same data, and
// waits until it accepts queries, a minute at most. When Restart fails, the
// process is left as it is.
func (s *Server) Restart() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), startTimeout,
		fmt.Errorf("not ready after %v", startTimeout))
	defer cancel()
	tick := time.NewTicker(process.Poll)
	defer tick.Stop()
	for {
		cmd, err := program(s.place, s.config.Through, "postgres", "-D", s.place.data())
		if err != nil {
			return err
		}
		err = s.child.Start(ctx, cmd, s.answers)
		// Processes of a postmaster that was killed alone may still be about to end.
		if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "pre-existing shared memory block") {
			return err
		}
		<-tick.C
	}
}

// answers reports whether the server accepts queries.
func (s *Server) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return s.Exec(ctx, superuser, "select 1") == nil
}

// Kill ends all processes of the server as a crash of the machine would, with
// SIGKILL, and waits until they are gone: they share memory, and while one is
// there Restart could not. Kill and what follows fail when the server does not
// run.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kill()
}

func (s *Server) kill() error {
	if err := killChildren(s.child.Pid()); err != nil {
		return fmt.Errorf("kill postgres in %s: its children: %w", s.place.dir, err)
	}
	err := s.child.Kill()
	s.unwatch()
	return err
}

// Stop freezes all processes of the server with SIGSTOP, and returns when none
// runs any more. Its connections stay, and the system goes on to accept new ones
// in its name. Systems other than Linux cannot Stop.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.child.Stop(); err != nil {
		return err
	}
	release, err := stopChildren(s.child.Pid())
	s.unwatch() // the watch of an earlier Stop
	s.release = release
	if err != nil {
		_ = s.cont() // what can run is better off running
		return fmt.Errorf("stop postgres in %s: its children: %w", s.place.dir, err)
	}
	return nil
}

// Cont lets a stopped server run on.
func (s *Server) Cont() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cont()
}

// cont begins with the children: they are safe to find while their parent is
// stopped.
func (s *Server) cont() error {
	if s.release != nil {
		if err := contChildren(s.child.Pid()); err != nil {
			return fmt.Errorf("continue postgres in %s: its children: %w", s.place.dir, err)
		}
	}
	s.unwatch()
	return s.child.Cont()
}

func (s *Server) unwatch() {
	if s.release != nil {
		s.release()
		s.release = nil
	}
}

// Shutdown has the server shut down in the given mode, and waits until it has,
// half a minute at most. A stopped server runs on to do so. In mode Fast it waits
// for its standbys to have received everything: let none of them be stopped.
func (s *Server) Shutdown(m Mode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.shutdown(m, shutdownTimeout); err != nil {
		return fmt.Errorf("shut down postgres in %s: %w", s.place.dir, err)
	}
	return nil
}

func (s *Server) shutdown(m Mode, timeout time.Duration) error {
	sig := syscall.SIGINT
	if m == Immediate {
		sig = syscall.SIGQUIT
	}
	pid := s.child.Pid()
	if pid == 0 {
		return os.ErrProcessDone
	}
	postmaster, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	defer postmaster.Release()
	if err := postmaster.Signal(sig); err != nil {
		return err
	}
	if s.release != nil {
		_ = s.cont() // stopped, it would not notice
	}
	tick := time.NewTicker(process.Poll)
	defer tick.Stop()
	for start := time.Now(); s.child.Running(); <-tick.C {
		if time.Since(start) > timeout {
			return fmt.Errorf("it still runs after %v", timeout)
		}
	}
	return nil
}

// Close ends the server, waits until it is gone, gives its port back, and removes
// a temporary directory. The server ends in mode Fast, with a temporary directory
// in mode Immediate, and if that is not enough with SIGKILL. No other method may
// be called at the same time or later; a second Close does nothing.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	mode := Fast // who keeps the directory wants it in order
	if s.place.temp {
		mode = Immediate
	}
	if s.child.Running() && s.shutdown(mode, endTimeout) != nil {
		_ = s.kill() // what it could not, is left to End
	}
	s.child.End()
	s.unwatch()
	sweep(s.place.data())
	s.place.leave()
}
