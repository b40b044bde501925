package child

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// A Process is a running command, with all that it starts in a job object.
type Process struct {
	proc   *os.Process
	job    windows.Handle // open until this process ends, and then its processes end too
	exited chan struct{}  // closed after status is set
	status int            // valid when exited is closed
	stops  chan os.Signal // never used: nothing stops a process here
}

// Start starts the command without supervising it: KillAfter and Signals are
// not looked at. The error is a StartError.
func Start(c *Command) (*Process, error) {
	job, err := newJob()
	if err != nil {
		return nil, &StartError{Status: StatusNotExecutable, Err: err}
	}
	proc, err := os.StartProcess(c.Path, c.Args, &os.ProcAttr{
		Env:   c.Env,
		Files: []*os.File{c.Stdin, c.Stdout, c.Stderr},
		Sys:   &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP},
	})
	if err != nil {
		_ = windows.CloseHandle(job)
		return nil, startError(err)
	}
	if err := assign(job, proc.Pid); err != nil {
		_ = proc.Kill()
		_, _ = proc.Wait()
		_ = windows.CloseHandle(job)
		return nil, &StartError{Status: StatusNotExecutable, Err: err}
	}
	p := &Process{proc: proc, job: job, exited: make(chan struct{})}
	go p.wait()
	return p, nil
}

// newJob makes a job whose processes end when its last handle is closed, so
// also when this process is killed.
func newJob() (windows.Handle, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return 0, err
	}
	var limits windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	limits.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	if _, err := windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&limits)), uint32(unsafe.Sizeof(limits))); err != nil {
		_ = windows.CloseHandle(job)
		return 0, err
	}
	return job, nil
}

func assign(job windows.Handle, pid int) error {
	h, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(pid))
	if err != nil {
		return err
	}
	defer func() { _ = windows.CloseHandle(h) }()
	return windows.AssignProcessToJobObject(job, h)
}

func (p *Process) wait() {
	defer close(p.exited)
	state, err := p.proc.Wait()
	if err != nil {
		p.status = StatusNotExecutable
		return
	}
	p.status = state.ExitCode()
}

// Pid is the process's id.
func (p *Process) Pid() int { return p.proc.Pid }

// Exited is closed when the command has ended. Others of its job may go on.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Status is the command's exit status, once it has ended.
func (p *Process) Status() int { return p.status }

// Signal asks the group to end: of all signals, Windows has only Ctrl-Break for
// a process group.
func (p *Process) Signal(sig os.Signal) error {
	if sig == os.Kill {
		p.Kill()
		return nil
	}
	return windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(p.proc.Pid))
}

// Kill ends the whole job at once.
func (p *Process) Kill() { _ = p.kill() }

func (p *Process) kill() error { return windows.TerminateJobObject(p.job, 1) }

func (p *Process) terminate() error { return p.Signal(os.Interrupt) }

func (p *Process) resume() {} // nothing is ever stopped

// accounting is JOBOBJECT_BASIC_ACCOUNTING_INFORMATION.
type accounting struct {
	_               [4]int64 // times
	_               [2]uint32
	activeProcesses uint32
	_               uint32
}

// empty reports whether nobody is left in the job.
func (p *Process) empty() bool {
	var a accounting
	err := windows.QueryInformationJobObject(p.job, windows.JobObjectBasicAccountingInformation,
		uintptr(unsafe.Pointer(&a)), uint32(unsafe.Sizeof(a)), nil)
	return err == nil && a.activeProcesses == 0
}

func isResume(os.Signal) bool { return false }

func isRequest(os.Signal) bool { return true }

func isEnd(os.Signal) bool { return true }

func (p *Process) reap() {} // nobody has to be

func adopts() bool { return false }
