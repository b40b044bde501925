//go:build unix

package child

import (
	"errors"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Process is a running command, the leader of its own process group.
type Process struct {
	pid    int
	exited chan struct{}  // closed after status is set
	status int            // valid when exited is closed
	stops  chan os.Signal // the last signal that stopped it
}

// Start starts the command without supervising it: KillAfter and Signals are
// not looked at. The error is a StartError.
func Start(c *Command) (*Process, error) {
	p := &Process{exited: make(chan struct{}), stops: make(chan os.Signal, 1)}
	started := make(chan error)
	go func() {
		// The kernel sends the parent-death signal when the *thread* that
		// forked ends, and Go ends threads at will. This one is kept until the
		// command has ended, by locking it and waiting on it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		proc, err := os.StartProcess(c.Path, c.Args, &os.ProcAttr{
			Env:   c.Env,
			Files: []*os.File{c.Stdin, c.Stdout, c.Stderr},
			Sys:   processAttributes(),
		})
		if err != nil {
			started <- startError(err)
			return
		}
		p.pid = proc.Pid
		_ = proc.Release() // this goroutine is the one that reaps
		started <- nil
		p.wait()
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// wait reaps the command, and reports each time that it is stopped.
func (p *Process) wait() {
	defer close(p.exited)
	for {
		var status unix.WaitStatus
		_, err := unix.Wait4(p.pid, &status, unix.WUNTRACED, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			p.status = StatusNotExecutable // no such child: it cannot be, or SIGCHLD is ignored
			return
		case status.Stopped():
			select {
			case <-p.stops: // nobody took it
			default:
			}
			p.stops <- status.StopSignal()
		case status.Signaled():
			p.status = 128 + int(status.Signal())
			return
		default:
			p.status = status.ExitStatus()
			return
		}
	}
}

// Pid is the process's id, and that of its group.
func (p *Process) Pid() int { return p.pid }

// Exited is closed when the command has ended. Others of its group may go on.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Status is the command's exit status, once it has ended; 128+n after signal n.
func (p *Process) Status() int { return p.status }

// Signal sends a signal to the whole group.
func (p *Process) Signal(sig os.Signal) error {
	n, ok := sig.(syscall.Signal)
	if !ok {
		return errors.ErrUnsupported
	}
	return unix.Kill(-p.pid, n)
}

// Kill ends the whole group at once.
func (p *Process) Kill() { _ = p.kill() }

func (p *Process) kill() error { return p.Signal(unix.SIGKILL) }

// terminate asks the group to end. A process that is stopped gets to hear it
// too: the signal is taken before anything else when it goes on.
func (p *Process) terminate() error {
	err := p.Signal(unix.SIGTERM)
	p.resume()
	return err
}

// resume lets the group go on, if it is stopped.
func (p *Process) resume() { _ = p.Signal(unix.SIGCONT) }

// empty reports whether nobody is left in the group of a command that has ended.
func (p *Process) empty() bool {
	return errors.Is(unix.Kill(-p.pid, 0), unix.ESRCH) || !p.remains()
}

func isResume(sig os.Signal) bool { return sig == unix.SIGCONT }

// isRequest reports whether a signal asks a command to end, and nothing else.
func isRequest(sig os.Signal) bool { return sig == unix.SIGTERM }

// isEnd reports whether a signal ends most programs.
func isEnd(sig os.Signal) bool {
	return sig == unix.SIGINT || sig == unix.SIGTERM || sig == unix.SIGHUP || sig == unix.SIGQUIT
}
