//go:build unix

package main

import (
	"os"
	"syscall"
)

var (
	endSignals = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}

	// otherSignals are for the command, and nothing while none runs. SIGPIPE is
	// among them so that a closed standard error does not end a supervisor.
	otherSignals = []os.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGPIPE}

	// jobSignals stop and resume. While a command runs, they are for it: a
	// supervisor that is stopped cannot renew the lease, nor end the command.
	jobSignals = []os.Signal{syscall.SIGTSTP, syscall.SIGCONT}
)

// isNoise reports whether a signal concerns fairlead's own output alone.
func isNoise(sig os.Signal) bool { return sig == syscall.SIGPIPE }

// mayMeanOther reports whether programs take a signal that asks most to end for something else.
func mayMeanOther(sig os.Signal) bool { return sig == syscall.SIGHUP || sig == syscall.SIGQUIT }
