package process

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const (
	stopTimeout = 10 * time.Second // for SIGSTOP to have reached every thread
	termTimeout = 3 * time.Second  // for SIGTERM, before SIGKILL follows
)

// A life is one process of a child.
type life struct {
	cmd   *exec.Cmd
	born  int64         // where in the log it begins
	ended chan struct{} // closed when the process has ended and was waited for
}

// spawn starts the command, which logs to the end of the file.
func spawn(cmd *exec.Cmd, log string) (*life, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = f, f
	dieWithUs(cmd)

	l := &life{cmd: cmd, born: info.Size(), ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel kills the process when its parent ends, and takes the
		// thread that started it for the parent: keep the thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			defer close(l.ended)
			_ = cmd.Wait() // how it ended is in cmd.ProcessState
		}
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return l, nil
}

func (l *life) running() bool {
	select {
	case <-l.ended:
		return false
	default:
		return true
	}
}

// kill ends the process as a crash would, and waits for the end.
func (l *life) kill() error {
	if err := l.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-l.ended
	return nil
}

// stop returns when no thread of the process runs any more.
func (l *life) stop() error {
	if err := l.cmd.Process.Signal(sigStop); err != nil {
		return err
	}
	return awaitStopped(l.cmd.Process.Pid)
}

func (l *life) cont() error { return l.cmd.Process.Signal(sigCont) }

// end ends the process in the best way that works, and waits for the end.
// Errors of signals mean that it has ended already.
func (l *life) end() {
	_ = l.cmd.Process.Signal(syscall.SIGTERM)
	_ = l.cmd.Process.Signal(sigCont) // it may be stopped, and would not notice
	select {
	case <-l.ended:
	case <-time.After(termTimeout):
		_ = l.cmd.Process.Signal(syscall.SIGKILL)
		<-l.ended
	}
}
