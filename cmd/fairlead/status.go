package main

import "syscall"

// Exit statuses of lock, semaphore and elect, beside those of the command that they run and
// 126 and 127 for one that cannot be run. Those of release mean the like.
const (
	statusConflict = 1   // --nonblock, and it is held; --conflict-exit-code changes it. Nothing to release
	statusLost     = 123 // the grant was lost and the command was ended, or somebody broke the wait for it
	statusTimeout  = 124 // as timeout(1) has it
	statusFailure  = 125 // fairlead's own failure, wrong usage included
)

// Those of ls, show, watch, leader, top and doctor.
const (
	statusNoLeader = 1                          // leader: nobody leads
	statusUnfit    = 1                          // doctor: something failed
	statusPipe     = 128 + int(syscall.SIGPIPE) // whoever read what we print has gone
)

const statusHelp = `Exit status: that of CMD (128+n when signal n ended it), 126 or 127 when CMD
cannot be run, 123 when the lease was lost, or somebody broke it with "fairlead
release", and CMD was ended for it or never ran, 125 when fairlead itself failed,
128+n when signal n came before CMD ran`

const lookStatusHelp = `Exit status: 0 when it could be shown, 125 when fairlead failed, 128+n when
signal n ended it`

// An exitError ends the program with a status. Without err it says nothing.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// exit returns nil for status 0, and otherwise an error that ends the program
// with it, without a word: the command has said what there was to say.
func exit(status int) error {
	if status == 0 {
		return nil
	}
	return &exitError{status: status}
}
